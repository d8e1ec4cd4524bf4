//! A line together with the names of labels that it and its output need.

use std::fs;

use super::stop::Stop;
use crate::cli::terminal::say;
use crate::conntrack::labels::LabelMap;
use crate::conntrack::line::{Line, Output};
use crate::conntrack::options::{Given, Verb};

/// Where names of labels are kept.
const LABEL_MAP: &str = "/etc/xtables/connlabel.conf";

/// What a run is about.
#[derive(Debug)]
pub(super) struct Chosen<'l> {
    /// What was asked for.
    pub(super) line: &'l Line,
    /// Names of labels; `None` where nothing needs them or there are none.
    pub(super) map: Option<LabelMap>,
    /// Labels that entries are to have.
    pub(super) labels: u128,
    /// Labels to be set.
    pub(super) add: u128,
    /// Labels to be taken away; without a name, all.
    pub(super) remove: u128,
}

impl<'l> Chosen<'l> {
    pub(super) fn new(line: &'l Line) -> Result<Self, Stop> {
        let asks = line
            .given
            .intersects(Given::LABEL | Given::LABEL_ADD | Given::LABEL_DEL);
        let map = if asks || line.output.contains(Output::LABELS) {
            let path = line.labelmap.as_deref().unwrap_or(LABEL_MAP);
            fs::read_to_string(path)
                .map(|text| LabelMap::parse(&text))
                .inspect_err(|error| say!("no names of labels: {path}: {error}"))
                .ok()
        } else {
            None
        };
        let bits = |names: &[String]| -> Result<u128, Stop> {
            let mut bits = 0;
            for name in names {
                let number = map.as_ref().and_then(|map| map.number(name));
                let bit = number.and_then(|number| 1_u128.checked_shl(number.into()));
                bits |= bit.ok_or_else(|| Stop::usage(format!("unknown label '{name}'")))?;
            }
            Ok(bits)
        };
        let (labels, add) = (bits(&line.labels)?, bits(&line.label_add)?);
        let remove = if line.label_del.is_empty() {
            u128::MAX
        } else {
            bits(&line.label_del)?
        };
        // A delete prints no labels, whatever is asked.
        let shown = !matches!(line.verb(), Verb::Delete | Verb::Flush);
        Ok(Self {
            line,
            labels,
            add,
            remove,
            map: map.filter(|_| shown),
        })
    }
}
