//! The groups of an aggregate, in their order.

use std::io::{Read, Seek};

use super::SnapshotError;
use super::lines::Lines;
use super::record::{Common, Group, read_group};
use super::trailer::RunIndex;
use crate::policy::Compression;

/// Reads the groups one by one; the runs of an aggregate follow each other in order.
pub struct Groups<'a, R> {
    input: &'a mut R,
    runs: std::vec::IntoIter<Lines>,
    run: Option<Lines>,
    before: Option<Common>,
    /// Flows of all groups so far.
    flows: u64,
}

/// The kernel counts entries in 32 bits.
const MOST_FLOWS: u64 = u32::MAX as u64;

impl<'a, R: Read + Seek> Groups<'a, R> {
    pub(super) fn new(
        input: &'a mut R,
        compression: Compression,
        places: &[(u64, u64)],
        index: &[RunIndex],
    ) -> Result<Self, SnapshotError> {
        let mut line = 2;
        let mut runs = Vec::with_capacity(places.len());
        for (number, (place, run)) in (1..).zip(places.iter().zip(index)) {
            runs.push(Lines::new(compression, *place, number, line, *run)?);
            line += run.flows;
        }
        let mut runs = runs.into_iter();
        Ok(Self {
            input,
            run: runs.next(),
            runs,
            before: None,
            flows: 0,
        })
    }

    /// The next group; `None` after the last one, when every run has matched its checksum.
    ///
    /// # Errors
    /// Where a run is damaged; what was handed out before is then worth nothing.
    pub fn next_group(&mut self) -> Result<Option<Group>, SnapshotError> {
        while let Some(run) = &mut self.run {
            let (before, flows) = (self.before, self.flows);
            let next = run.next(self.input, |line| {
                let group = read_group(line).map_err(|error| error.to_string())?;
                if before.is_some_and(|before| before >= group.common) {
                    return Err("out of order".to_owned());
                }
                if group.totals.flows > MOST_FLOWS - flows {
                    return Err("more flows than a table can have".to_owned());
                }
                Ok(group)
            })?;
            if let Some(group) = next {
                self.before = Some(group.common);
                self.flows += group.totals.flows;
                return Ok(Some(group));
            }
            self.run = self.runs.next();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::record::{Totals, write_group};
    use super::super::run::encode_lines;
    use super::super::{EncodedRun, Snapshot, Writer};
    use super::*;
    use crate::flow::{Family, Protocol};
    use crate::observe::{Dumped, Header};
    use crate::policy::Detail;

    #[test]
    fn more_flows_than_a_table_can_have_are_damage() {
        let group = |port, flows| Group {
            common: Common {
                family: Family::Ipv4,
                zone: 0,
                protocol: Protocol::TCP,
                src: None,
                dst: None,
                dport: Some(port),
                icmp_type: None,
                state: None,
                status: None,
                mark: None,
            },
            totals: Totals {
                flows,
                ..Totals::default()
            },
        };
        let read = |flows: [u64; 2]| {
            let packed = Compression::None;
            let header = Header::default();
            let mut writer = Writer::start(Vec::new(), &header, packed, Detail::Aggregate).unwrap();
            let groups = [group(1, flows[0]), group(2, flows[1])];
            let append = |group: &Group, text: &mut Vec<u8>| write_group(group, text);
            let run = encode_lines(groups.iter(), append, packed, EncodedRun::default());
            writer.run(&run.unwrap()).unwrap();
            let (file, _) = writer.finish(Dumped::default()).unwrap();
            let mut snapshot = Snapshot::open(Cursor::new(file)).unwrap();
            let mut groups = snapshot.groups().unwrap();
            while groups.next_group()?.is_some() {}
            Ok::<_, SnapshotError>(())
        };
        assert!(read([MOST_FLOWS - 1, 1]).is_ok());
        for flows in [[MOST_FLOWS, 1], [1, u64::MAX]] {
            let error = read(flows).unwrap_err().to_string();
            assert!(
                error.contains("more flows than a table can have"),
                "{error}"
            );
        }
    }
}
