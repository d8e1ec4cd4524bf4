//! How many events of each kind came, by group.

use std::io::{self, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::render::number::{counted, grouped};
use crate::cli::render::sheet::{Kind as Align, Sheet};
use crate::group::{By, Cell, PerGroup};
use crate::kernel::event::Kind;
use crate::observe::Record;

/// Groups that are shown to people.
const SHOWN: usize = 20;

/// Events of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::cli) struct Counts {
    /// Entries made.
    pub(super) new: u64,
    /// Entries changed.
    pub(super) update: u64,
    /// Entries that went.
    pub(super) destroy: u64,
}

impl Counts {
    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::New => self.new += 1,
            Kind::Update => self.update += 1,
            Kind::Destroy => self.destroy += 1,
        }
    }

    fn add_all(&mut self, other: Self) {
        self.new += other.new;
        self.update += other.update;
        self.destroy += other.destroy;
    }

    pub(super) fn total(self) -> u64 {
        self.new + self.update + self.destroy
    }
}

/// Counts since they were taken last.
#[derive(Debug)]
pub(super) struct Rates {
    by: By,
    groups: PerGroup<Counts>,
    key: Vec<u8>,
    /// Events that were lost; `None` where one gap does not tell how many.
    pub(super) lost: Option<u64>,
}

/// What came in some time.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Summary {
    /// Whether it is of all the time that was listened, and not of the interval that ended here.
    whole: bool,
    /// Seconds that it is of.
    seconds: f64,
    /// Events that passed the filter.
    #[serde(flatten)]
    counts: Counts,
    /// The same a second, all kinds together.
    per_second: f64,
    /// Events that were lost, whether or not they would have passed; null where that cannot be told.
    lost: Option<u64>,
    /// Fields of the groups.
    by: Vec<String>,
    /// Groups, that with the most events first.
    groups: Vec<Group>,
}

/// Events of entries that have the same fields.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventGroup")]
struct Group {
    /// The fields, in the order of `by`; null where the event does not tell.
    key: Vec<Cell>,
    /// Events.
    #[serde(flatten)]
    counts: Counts,
    /// The same a second, all kinds together.
    per_second: f64,
}

impl Rates {
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            groups: PerGroup::default(),
            key: Vec::new(),
            lost: Some(0),
        }
    }

    /// Counts an event. Allocates only for groups not seen before.
    pub(super) fn add(&mut self, kind: Kind, record: &Record<'_>) {
        self.by.encode(record, &mut self.key);
        self.groups.of(&self.key).add(kind);
    }

    pub(super) fn lose(&mut self, lost: Option<u64>) {
        self.lost = self.lost.zip(lost).map(|(known, more)| known + more);
    }

    /// Adds these to others, and begins anew.
    pub(super) fn pour_into(&mut self, other: &mut Self) {
        for (key, counts) in std::mem::take(&mut self.groups).iter() {
            other.groups.of(key).add_all(*counts);
        }
        other.lose(self.lost.replace(0));
    }

    pub(super) fn summary(&self, time: Duration, whole: bool) -> Summary {
        let mut all = Counts::default();
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_unstable_by(|(a, x), (b, y)| y.total().cmp(&x.total()).then_with(|| a.cmp(b)));
        for (_, counts) in &groups {
            all.add_all(**counts);
        }
        Summary {
            whole,
            seconds: round(time.as_secs_f64()),
            counts: all,
            per_second: rate(all.total(), time),
            lost: self.lost,
            by: self.by.heads().collect(),
            groups: groups
                .into_iter()
                .map(|(key, counts)| Group {
                    key: self.by.decode(key),
                    counts: *counts,
                    per_second: rate(counts.total(), time),
                })
                .collect(),
        }
    }
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Events a second.
#[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
fn rate(events: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    round(events as f64 / time.as_secs_f64())
}

impl Summary {
    /// Writes it for people, after a moment that is written already.
    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let Counts {
            new,
            update,
            destroy,
        } = self.counts;
        write!(
            out,
            " {}{} in {:.1} s ({:.1}/s): {} new, {} update, {} destroy",
            if self.whole { "all: " } else { "" },
            counted(self.counts.total(), "event", "events"),
            self.seconds,
            self.per_second,
            grouped(new),
            grouped(update),
            grouped(destroy)
        )?;
        match self.lost {
            Some(0) => writeln!(out)?,
            Some(lost) => writeln!(out, "; {} lost", grouped(lost))?,
            None => writeln!(out, "; some lost")?,
        }
        if self.groups.is_empty() {
            return Ok(());
        }
        let fields = self.by.iter().map(|head| (head.clone(), Align::Words));
        let numbers = ["new", "update", "destroy", "per second"];
        let numbers = numbers.map(|head| (head.to_owned(), Align::Number));
        let mut sheet = Sheet::new(fields.chain(numbers));
        for group in self.groups.iter().take(SHOWN) {
            let cells = group.key.iter().map(ToString::to_string);
            let Counts {
                new,
                update,
                destroy,
            } = group.counts;
            let numbers = [new, update, destroy].map(grouped);
            let rate = format!("{:.1}", group.per_second);
            sheet.row(cells.chain(numbers).chain([rate]).collect());
        }
        sheet.text(out, "  ")?;
        match self.groups.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(out, "  and {more} smaller groups"),
        }
    }
}
