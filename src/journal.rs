//! Records for the journal, in its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a datagram
//! a record, a line a field.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// A journal that takes nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a stream leads to the journal: `JOURNAL_STREAM` holds its device and inode, as
/// systemd.exec(5) says. A stream that was redirected since has another one.
#[must_use]
pub fn is_connected(journal_stream: Option<&str>, stream: impl AsFd) -> bool {
    let told = journal_stream.and_then(|text| text.split_once(':'));
    let told = told.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let is = rustix::fs::fstat(stream).map(|stat| (stat.st_dev, stat.st_ino));
    told.is_some_and(|told: (u64, u64)| is == Ok(told))
}

/// A connection to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Connects to a socket, which is [`SOCKET`] but in tests.
    ///
    /// # Errors
    /// Where nobody listens there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(path)?;
        Ok(Self { socket })
    }

    /// Sends one record.
    ///
    /// # Errors
    /// Where the journal does not take it.
    pub fn send(&self, record: &[(&str, String)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (name, value) in record {
            field(&mut bytes, name, value);
        }
        self.socket.send(&bytes).map(drop)
    }
}

/// `NAME=value`, or with the length before the value where that has a line end.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_datagram_of_lines_and_of_counted_values() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&path).unwrap();
        journal
            .send(&[("MESSAGE", "one".into()), ("TEXT", "a\nb".into())])
            .unwrap();
        let mut bytes = [0; 64];
        let length = journald.recv(&mut bytes).unwrap();
        assert_eq!(
            &bytes[..length],
            b"MESSAGE=one\nTEXT\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
    }

    #[test]
    fn a_stream_is_the_journals_by_its_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let told = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_connected(Some(&told), &file));
        for other in [None, Some(""), Some("1"), Some("a:b"), Some("8:1")] {
            assert!(!is_connected(other, &file), "{other:?}");
        }
        assert!(!is_connected(Some(&told), tempfile::tempfile().unwrap()));
    }

    #[test]
    fn where_nobody_listens_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(&directory.path().join("socket")).is_err());
    }
}
