//! Deleted entries in re-creatable form.
//!
//! `RUN.flows` holds netlink messages just as the kernel dumped them, each in a frame: four bytes of
//! length, four of milliseconds since the run began, two of the rule's index (all little-endian;
//! 65,535 while that is open). `RUN.sent` holds the offsets (eight bytes each) of those whose delete
//! was handed to the kernel, with the index of the rule (two bytes). Both grow before the batch that
//! they describe is sent; a message that was written but never sent has no offset and is not put
//! back. `RUN.kept` holds the numbers (eight bytes each, ascending) of those records of `RUN.sent`
//! that deleted nothing by the kernel's answer. It grows after the answer: what a kill keeps out of
//! it may be put back although it was gone before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::ownership;

use super::{RunName, State, StateError};

const FRAME: usize = 10;
const SENT: usize = 10;
const KEPT: usize = 8;
const BUFFER: usize = 256 * 1024;
/// Longer than any message of a dump; a length above this is damage.
const LONGEST: usize = 64 * 1024;

/// Writes the undo files of one run.
#[derive(Debug)]
pub struct UndoWriter {
    flows: BufWriter<File>,
    sent: BufWriter<File>,
    /// `None` once it could not be written: nothing may follow on a torn record.
    kept: Option<BufWriter<File>>,
    end: u64,
    /// Records of `sent`, and how many there were before the last batch.
    marks: u64,
    marks_before: u64,
    scratch: Vec<u8>,
    /// A delete was handed over, or was about to be.
    sends: bool,
    /// Something could not be written: where the next record would begin is not known any more.
    broken: bool,
}

/// The rule of a frame whose claim is not settled yet.
const OPEN: u16 = u16::MAX;

/// Appends a frame to a batch's record; [`UndoWriter::append_sent`] takes it.
///
/// # Panics
/// Never: a netlink message says its length in 32 bits.
pub fn frame(record: &mut Vec<u8>, message: &[u8], at_ms: u32, rule: u16) {
    let length = u32::try_from(message.len()).expect("a netlink message is shorter than 2^32");
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&at_ms.to_le_bytes());
    record.extend_from_slice(&rule.to_le_bytes());
    record.extend_from_slice(message);
}

/// Appends what says that a kept message is about to be sent; [`UndoWriter::mark_sent`] takes it.
pub fn mark(record: &mut Vec<u8>, offset: u64, rule: u16) {
    record.extend_from_slice(&offset.to_le_bytes());
    record.extend_from_slice(&rule.to_le_bytes());
}

impl UndoWriter {
    /// Keeps one message whose delete may still be refused; gives its offset.
    ///
    /// # Errors
    /// Where it cannot be written; then nothing may be deleted.
    pub fn keep(&mut self, message: &[u8], at_ms: u32) -> io::Result<u64> {
        self.unless_broken(|writer| {
            let offset = writer.end;
            writer.scratch.clear();
            frame(&mut writer.scratch, message, at_ms, OPEN);
            writer.flows.write_all(&writer.scratch)?;
            writer.end += writer.scratch.len() as u64;
            Ok(offset)
        })
    }

    /// Writes, unless an earlier write failed: what was written of that stands where the offsets
    /// of later records would point to.
    fn unless_broken<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier undo record could not be written",
            ));
        }
        let written = write(self);
        self.broken = written.is_err();
        written
    }

    /// Keeps the frames of a batch that is about to be sent.
    ///
    /// # Errors
    /// Where they cannot be written; then the batch may not be sent.
    pub fn append_sent(&mut self, frames: &[u8]) -> io::Result<()> {
        self.marks_before = self.marks;
        if frames.is_empty() {
            return Ok(());
        }
        self.unless_broken(|writer| {
            writer.flows.write_all(frames)?;
            let mut rest = frames;
            while let Some((head, after)) = rest.split_first_chunk::<FRAME>() {
                let (length, _, rule) = head_fields(*head);
                writer.scratch.clear();
                mark(&mut writer.scratch, writer.end, rule);
                writer.sends = true;
                writer.sent.write_all(&writer.scratch)?;
                writer.marks += 1;
                writer.end += (FRAME + length) as u64;
                rest = after.get(length..).unwrap_or_default();
            }
            writer.flush()
        })
    }

    /// Says that the deletes of kept messages are about to be sent.
    ///
    /// # Errors
    /// Where that cannot be written; then the batch may not be sent.
    pub fn mark_sent(&mut self, marks: &[u8]) -> io::Result<()> {
        self.marks_before = self.marks;
        // Timers alone need no record, so they go out also where none can be written.
        if marks.is_empty() {
            return Ok(());
        }
        self.unless_broken(|writer| {
            writer.sends = true;
            writer.sent.write_all(marks)?;
            writer.marks += (marks.len() / SENT) as u64;
            writer.flush()
        })
    }

    /// Takes the answers to the deletes of the batch that was told last, in its order: whether each
    /// was made. Where that cannot be written, more will be put back than was deleted, and nothing
    /// less.
    pub fn answered(&mut self, made: impl Iterator<Item = bool>) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        let numbers = (self.marks_before..)
            .zip(made)
            .filter(|(_, made)| !made)
            .map(|(number, _)| number);
        let write = || {
            for number in numbers {
                kept.write_all(&number.to_le_bytes())?;
            }
            kept.flush()
        };
        if write().is_err() {
            self.kept = None;
        }
    }

    /// Gives back the room of kept messages if none of them will be sent; where any delete was
    /// handed over, all are kept.
    ///
    /// # Errors
    /// Where the file cannot be emptied.
    pub fn forget_unsent(&mut self) -> io::Result<()> {
        if self.sends {
            return Ok(());
        }
        let mut file = self.flows.get_ref().try_clone()?;
        file.set_len(0)?;
        file.rewind()?;
        // Taken apart, or what is buffered would still be written.
        let full = std::mem::replace(&mut self.flows, BufWriter::with_capacity(BUFFER, file));
        drop(full.into_parts());
        self.end = 0;
        Ok(())
    }

    /// Hands everything to the kernel: from here on it outlives this process. No fsync, since the
    /// table does not outlive the machine either.
    ///
    /// # Errors
    /// Where that fails; then the batch may not be sent.
    fn flush(&mut self) -> io::Result<()> {
        self.flows.flush()?;
        self.sent.flush()
    }
}

/// One deleted entry.
#[derive(Debug)]
pub struct Deleted<'a> {
    /// The netlink message that showed it, or why that cannot be read.
    pub message: io::Result<&'a [u8]>,
    /// When it was dumped, milliseconds since the run began; 0 where that cannot be read.
    pub at_ms: u32,
    /// Index of the rule that deleted it.
    pub rule: u16,
}

/// Reads the undo files of one run.
#[derive(Debug)]
pub struct UndoReader {
    flows: File,
    flows_end: u64,
    sent: io::BufReader<File>,
    /// Records read of `sent`.
    marks: u64,
    kept: Option<io::BufReader<File>>,
    /// The next record of `sent` that deleted nothing.
    next_kept: Option<u64>,
    buffer: Vec<u8>,
}

impl UndoReader {
    /// The next deleted entry; `None` at the end, or where the last record is torn.
    ///
    /// # Errors
    /// Where it cannot be told which entries were deleted; what follows is not known then.
    ///
    /// # Panics
    /// Never.
    pub fn next_deleted(&mut self) -> io::Result<Option<Deleted<'_>>> {
        let mut entry = [0; SENT];
        loop {
            if !read_whole(&mut self.sent, &mut entry)? {
                return Ok(None);
            }
            let number = self.marks;
            self.marks += 1;
            while self.next_kept.is_some_and(|kept| kept < number) {
                self.read_kept()?;
            }
            if self.next_kept != Some(number) {
                break;
            }
        }
        let (offset, rule) = entry.split_at(8);
        let offset = u64::from_le_bytes(offset.try_into().expect("eight of ten bytes"));
        let rule = u16::from_le_bytes(rule.try_into().expect("two of ten bytes"));
        let (message, at_ms) = match self.read_frame(offset) {
            Ok(at_ms) => (Ok(self.buffer.as_slice()), at_ms),
            Err(error) => (Err(error), 0),
        };
        Ok(Some(Deleted {
            message,
            at_ms,
            rule,
        }))
    }

    /// Reads a message into the buffer; when it was dumped.
    fn read_frame(&mut self, offset: u64) -> io::Result<u32> {
        let damaged = |what: String| {
            let what = format!("undo record at offset {offset} {what}");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        // It was written before what names it, so nothing but damage makes it end too soon.
        let cut_off = || damaged("is cut off".to_owned());
        let begin = offset
            .checked_add(FRAME as u64)
            .filter(|begin| *begin <= self.flows_end)
            .ok_or_else(cut_off)?;
        self.flows.seek(SeekFrom::Start(offset))?;
        let mut head = [0; FRAME];
        self.flows.read_exact(&mut head)?;
        let (length, at_ms, _) = head_fields(head);
        if length > LONGEST {
            return Err(damaged(format!("claims {length} bytes")));
        }
        if begin + length as u64 > self.flows_end {
            return Err(cut_off());
        }
        self.buffer.resize(length, 0);
        self.flows.read_exact(&mut self.buffer)?;
        Ok(at_ms)
    }
}

impl UndoReader {
    fn read_kept(&mut self) -> io::Result<()> {
        let mut number = [0; KEPT];
        let whole = match &mut self.kept {
            Some(kept) => read_whole(kept, &mut number)?,
            None => false,
        };
        self.next_kept = whole.then_some(u64::from_le_bytes(number));
        Ok(())
    }
}

/// Length of the message, milliseconds, rule.
fn head_fields(head: [u8; FRAME]) -> (usize, u32, u16) {
    let [l0, l1, l2, l3, t0, t1, t2, t3, r0, r1] = head;
    (
        u32::from_le_bytes([l0, l1, l2, l3]) as usize,
        u32::from_le_bytes([t0, t1, t2, t3]),
        u16::from_le_bytes([r0, r1]),
    )
}

/// Fills the buffer, or says that the file ended before; a torn end is an end.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl State {
    pub(super) fn undo_flows_path(&self, run: &RunName) -> PathBuf {
        self.undo_directory().join(format!("{run}.flows"))
    }

    pub(super) fn undo_sent_path(&self, run: &RunName) -> PathBuf {
        self.undo_directory().join(format!("{run}.sent"))
    }

    pub(super) fn undo_kept_path(&self, run: &RunName) -> PathBuf {
        self.undo_directory().join(format!("{run}.kept"))
    }

    /// Opens the undo files of a new run.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn undo_writer(&self, run: &RunName) -> Result<UndoWriter, StateError> {
        let create = |path: PathBuf| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(StateError::file("create", &path))?;
            ownership::hand_over(&file, &self.undo_directory())
                .map_err(StateError::file("hand over", &path))?;
            Ok(file)
        };
        Ok(UndoWriter {
            flows: BufWriter::with_capacity(BUFFER, create(self.undo_flows_path(run))?),
            sent: BufWriter::with_capacity(BUFFER, create(self.undo_sent_path(run))?),
            kept: Some(BufWriter::new(create(self.undo_kept_path(run))?)),
            end: 0,
            marks: 0,
            marks_before: 0,
            scratch: Vec::new(),
            sends: false,
            broken: false,
        })
    }

    /// How many entries a run deleted, or may have: its deletes that were handed to the kernel, or
    /// were about to be when it ended, without those that deleted nothing; 0 where it left no undo
    /// files.
    ///
    /// # Errors
    /// Where the files cannot be looked at.
    pub fn may_have_deleted(&self, run: &RunName) -> Result<u64, StateError> {
        let records = |path: PathBuf, size: usize| match fs::metadata(&path) {
            Ok(file) => Ok(file.len() / size as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(StateError::file("read", &path)(source)),
        };
        let kept = records(self.undo_kept_path(run), KEPT)?;
        Ok(records(self.undo_sent_path(run), SENT)?.saturating_sub(kept))
    }

    /// Opens the undo files of an earlier run.
    ///
    /// # Errors
    /// [`StateError::NoRun`] where it left none.
    pub fn undo_reader(&self, run: &RunName) -> Result<UndoReader, StateError> {
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StateError::NoRun {
                run: run.to_string(),
                directory: self.undo_directory(),
            }),
            Err(source) => Err(StateError::file("open", &path)(source)),
        };
        let flows = open(self.undo_flows_path(run))?;
        let path = self.undo_flows_path(run);
        let flows_end = flows
            .metadata()
            .map_err(StateError::file("read", &path))?
            .len();
        let kept = match open(self.undo_kept_path(run)) {
            Ok(kept) => Some(io::BufReader::new(kept)),
            Err(StateError::NoRun { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut reader = UndoReader {
            flows,
            flows_end,
            sent: io::BufReader::new(open(self.undo_sent_path(run))?),
            marks: 0,
            kept,
            next_kept: None,
            buffer: Vec::new(),
        };
        reader
            .read_kept()
            .map_err(StateError::file("read", &self.undo_kept_path(run)))?;
        Ok(reader)
    }
}

#[cfg(test)]
mod tests;
