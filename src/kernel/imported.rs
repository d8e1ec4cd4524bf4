//! What another program printed of a table, in place of the kernel.

use std::io::BufRead;
use std::sync::{Mutex, PoisonError};

use crate::flow::{Flow, OwnedExtra};
use crate::observe::{Dumped, Header, Observe, ObserveError, Record, Visit};
use crate::snapshot::import::{Imported, import};

/// A text that is read once.
pub struct Printed {
    header: Header,
    input: Mutex<Option<Box<dyn BufRead + Send>>>,
    imported: Mutex<Imported>,
}

impl Printed {
    /// A text, and what is known of the table besides.
    #[must_use]
    pub fn new(header: Header, input: Box<dyn BufRead + Send>) -> Self {
        Self {
            header,
            input: Mutex::new(Some(input)),
            imported: Mutex::default(),
        }
    }

    /// What reading came to; nothing before the dump.
    #[must_use]
    pub fn imported(&self) -> Imported {
        let imported = self.imported.lock();
        imported.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observe for Printed {
    fn header(&self) -> Result<Header, ObserveError> {
        Ok(self.header.clone())
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        let input = self.input.lock();
        let Some(input) = input.unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(ObserveError::Absent("the text was read already".to_owned()));
        };
        let mut deliver = |flow: Flow, extra: OwnedExtra| {
            if let [first, ..] = visitors {
                first.visit(&Record {
                    flow,
                    extra: extra.borrow(),
                    message: &[],
                });
            }
        };
        let imported = import(input, &mut deliver).map_err(|source| ObserveError::Failed {
            what: "read the text".to_owned(),
            source: source.into(),
        })?;
        if let (0, [(line, why), ..]) = (imported.flows, imported.unread.as_slice()) {
            return Err(ObserveError::Damaged(format!(
                "nothing in it could be read as an entry of a table; line {line}: {why}"
            )));
        }
        let dumped = Dumped {
            entries: imported.flows,
            undecoded: imported.unread_count,
            resized: false,
        };
        *self.imported.lock().unwrap_or_else(PoisonError::into_inner) = imported;
        Ok(dumped)
    }
}
