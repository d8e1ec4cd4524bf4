//! Which program has a netlink port: who changed an entry from user space.

use std::fs;

/// Remembers the last answer: events of one program come in numbers.
#[derive(Debug, Default)]
pub(super) struct Owners {
    last: Option<(u32, u64, Option<String>)>,
}

/// `NETLINK_NETFILTER`.
const NETFILTER: &str = "12";

impl Owners {
    /// The name of the program, as `/proc/PID/stat` has it; `None` where it is gone or out of sight.
    pub(super) fn name(&mut self, port: u32) -> Option<String> {
        let inode = inode(port)?;
        match &self.last {
            Some((known, of, name)) if (*known, *of) == (port, inode) => name.clone(),
            _ => {
                let name = find(port, inode);
                self.last = Some((port, inode, name.clone()));
                name
            }
        }
    }
}

/// The inode of a netfilter socket with this port.
fn inode(port: u32) -> Option<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    let port = port.to_string();
    table.lines().find_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let is_ours = cells.get(1) == Some(&NETFILTER) && cells.get(2) == Some(&port.as_str());
        is_ours.then(|| cells.last()?.parse().ok())?
    })
}

fn find(port: u32, inode: u64) -> Option<String> {
    // The first port that a program gets is most often its process's number.
    of_process(&port.to_string(), inode).or_else(|| {
        fs::read_dir("/proc")
            .ok()?
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
            .find_map(|process| of_process(&process, inode))
    })
}

fn of_process(process: &str, inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let mut files = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let has_it = files.any(|file| {
        file.ok()
            .and_then(|file| fs::read_link(file.path()).ok())
            .is_some_and(|target| target.as_os_str() == wanted.as_str())
    });
    if !has_it {
        return None;
    }
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, name) = stat.split_once('(')?;
    Some(name.split(')').next().unwrap_or_default().to_owned())
}
