//! The JSON contract of a diff.

use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Table;
use super::relation::Relation;
use super::statistics::Statistics;
use super::tunables::TunableChange;
use crate::flow::Class;
use crate::group::Cell;
use crate::observe::Header;
use crate::plan::rfc3339;

/// The `schema` of a diff.
pub const SCHEMA: &str = "conntidy.diff/1";

/// What lies between two tables.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "conntidy diff")]
pub struct Diff {
    /// `conntidy.diff/1`.
    pub schema: &'static str,
    /// The first table.
    pub before: Side,
    /// The second table.
    pub after: Side,
    /// What the two have to do with each other.
    pub relation: Relation,
    /// Seconds from the first to the second; negative where the second is the older one.
    pub seconds: f64,
    /// What to know before the numbers: doubts, and what cannot be compared.
    pub notes: Vec<String>,
    /// Flows, by what happened to them.
    pub flows: FlowCounts,
    /// Of those that lived on; absent where flows are counted and not paired.
    #[serde(flatten)]
    pub lived_on: Option<LivedOn>,
    /// The tables by class.
    pub fill: Fill,
    /// The tables by protocol and state, the most frequent first.
    pub composition: Vec<Composition>,
    /// The groups that grew and shrank, a grouping each.
    pub groupings: Vec<Grouping>,
    /// Tunables that differ.
    pub tunables: Vec<TunableChange>,
    /// What the kernel's counters did meanwhile.
    pub statistics: Statistics,
}

impl Diff {
    /// Whether the tables, or what they are kept with, differ. Counters, timers, ids and
    /// statistics never stand still and do not count. Where flows are not paired, it goes by how
    /// many there are of each class, protocol, state and group.
    #[must_use]
    pub fn differs(&self) -> bool {
        let flows = match &self.flows.fates {
            Some(fates) => fates.new + fates.gone + fates.recreated + fates.changed > 0,
            None => self.counts_differ(),
        };
        flows || !self.tunables.is_empty()
    }

    fn counts_differ(&self) -> bool {
        let fill = &self.fill;
        fill.before.classes() != fill.after.classes()
            || (self.composition.iter()).any(|one| one.before != one.after)
            || (self.groupings.iter()).any(|one| one.growth > 0 || one.shrinkage > 0)
    }
}

/// One of the two tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// The file, or `live`.
    pub name: String,
    /// Host name.
    pub host: String,
    /// Network namespace.
    pub netns: String,
    /// Kernel release.
    pub kernel: String,
    /// The boot.
    pub boot_id: String,
    /// When it was observed, RFC 3339.
    pub time: String,
    /// Entries as the kernel counted them; null where it was not asked.
    pub count: Option<u64>,
    /// Flows that were read.
    pub flows: u64,
}

impl Side {
    pub(super) fn of(table: &Table<'_>, flows: u64) -> Self {
        let header = table.header;
        Self {
            name: table.name.clone(),
            host: header.host.clone(),
            netns: header.netns.name.clone(),
            kernel: header.kernel.clone(),
            boot_id: header.boot_id.clone(),
            time: rfc3339(header.time_ns),
            count: header.count,
            flows,
        }
    }
}

/// Flows by what happened to them: `before` is gone, recreated, changed and unchanged together,
/// `after` is new, recreated, changed and unchanged. `before` and `after` are all there is where
/// flows are counted and not paired: of aggregates, and of addresses that are cut or of several
/// keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FlowCounts {
    /// Flows of the first table.
    pub before: u64,
    /// Flows of the second table.
    pub after: u64,
    /// What became of each.
    #[serde(flatten)]
    pub fates: Option<Fates>,
}

/// What became of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fates {
    /// The second table alone has them.
    pub new: u64,
    /// The first table alone has them.
    pub gone: u64,
    /// Another flow has the same tuple.
    pub recreated: u64,
    /// Lived on, in another state or otherwise not the same.
    pub changed: u64,
    /// Lived on as they were; counters and timers do not count.
    pub unchanged: u64,
    /// Of those that lived on, how many without a proof.
    pub presumed: u64,
}

/// What flows that lived on did meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LivedOn {
    /// What changed of them; a flow may be in several.
    pub changed: Changed,
    /// From state to state, the most frequent first.
    pub transitions: Vec<Transition>,
    /// What they moved; null without counters.
    pub traffic: Option<Traffic>,
}

/// What changed of flows that lived on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Changed {
    /// Protocol state.
    pub state: u64,
    /// Status bits that have a word.
    pub status: u64,
    /// Reply tuple; between two tables alone, since an entry never changes its own.
    pub reply: u64,
    /// Mark.
    pub mark: u64,
    /// Zone of the reply direction.
    pub zone: u64,
    /// Helper.
    pub helper: u64,
    /// Labels.
    pub label: u64,
    /// Security context.
    pub secctx: u64,
}

/// Flows that went from one state to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Transition {
    /// Protocol.
    pub protocol: String,
    /// State before.
    pub from: String,
    /// State after.
    pub to: String,
    /// Flows.
    pub flows: u64,
}

/// What flows that lived on moved meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Traffic {
    /// Flows that have counters in both.
    pub flows: u64,
    /// Of these, how many moved no packet.
    pub silent: u64,
    /// Packets of both directions.
    pub packets: u64,
    /// Bytes of both directions.
    pub bytes: u64,
}

/// Both tables by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fill {
    /// The first table.
    pub before: Split,
    /// The second table.
    pub after: Split,
}

/// A table by class; each flow is in one, the first that holds of offloaded, closing, unreplied,
/// assured, other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Split {
    /// Packets went both ways; not dropped early.
    pub assured: u64,
    /// No packet came back.
    pub unreplied: u64,
    /// At least one end has said goodbye; the kernel drops these early when the table is full.
    pub closing: u64,
    /// In a flowtable.
    pub offloaded: u64,
    /// Answered and not assured, or of unknown status.
    pub other: u64,
    /// `nf_conntrack_max`; null where it is not known, or there is no limit.
    pub max: Option<u64>,
}

impl Split {
    /// Of the flows of each class.
    pub(in crate::snapshot) fn of(flows: impl Fn(Class) -> u64, header: &Header) -> Self {
        Self {
            assured: flows(Class::Assured),
            unreplied: flows(Class::Unreplied),
            closing: flows(Class::Closing),
            offloaded: flows(Class::Offloaded),
            other: flows(Class::Other),
            // 0 is no limit.
            max: header.number("nf_conntrack_max").filter(|max| *max > 0),
        }
    }

    /// The classes with their names, in the order of listings.
    #[must_use]
    pub fn classes(&self) -> [(&'static str, u64); 5] {
        [
            ("assured", self.assured),
            ("unreplied", self.unreplied),
            ("closing", self.closing),
            ("offloaded", self.offloaded),
            ("other", self.other),
        ]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.classes().iter().map(|(_, flows)| flows).sum()
    }
}

/// Flows of one protocol in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Composition {
    /// Protocol by name, or its number.
    pub protocol: String,
    /// State by name, or its number; null for protocols without states and for offloaded flows.
    pub state: Option<String>,
    /// Flows before.
    pub before: u64,
    /// Flows after.
    pub after: u64,
}

/// The groups of one grouping.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Grouping {
    /// The fields, as `--by` takes them.
    pub by: String,
    /// The fields, one by one, as they are written.
    pub fields: Vec<String>,
    /// How many groups there are.
    pub groups: u64,
    /// How many of them grew.
    pub growing: u64,
    /// How many of them shrank.
    pub shrinking: u64,
    /// By how many flows the growing ones grew together.
    pub growth: u64,
    /// By how many flows the shrinking ones shrank together.
    pub shrinkage: u64,
    /// The groups that grew most, the first of them first.
    pub growers: Vec<Group>,
    /// The groups that shrank most, the first of them first.
    pub shrinkers: Vec<Group>,
    /// All groups that are not listed, together.
    pub rest: Rest,
    /// There were too many groups to keep apart, and the smallest were counted together: a listed
    /// group may have at most so many flows more than is told. 0 in almost all cases.
    pub short_by: u64,
}

/// Flows that have the grouping's fields in common.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Group {
    /// The fields.
    pub key: GroupKey,
    /// Flows before.
    pub before: u64,
    /// Flows after.
    pub after: u64,
    /// After less before.
    pub change: i64,
    /// Which of them are the same; absent where flows are counted and not paired.
    #[serde(flatten)]
    pub fates: Option<GroupFates>,
    /// Part of the growth of all growing groups, from 0 to 1; null where it did not grow.
    pub share: Option<f64>,
}

/// What became of the flows of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupFates {
    /// Flows that the second table alone has.
    pub new: u64,
    /// Flows that the first table alone has.
    pub gone: u64,
    /// Flows of the second table whose tuple another flow had before.
    pub recreated: u64,
}

/// All groups that are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rest {
    /// How many.
    pub groups: u64,
    /// Flows before.
    pub before: u64,
    /// Flows after.
    pub after: u64,
}

/// The fields of a group by name, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey(pub Vec<(&'static str, Cell)>);

impl Serialize for GroupKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, cell) in &self.0 {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}

impl JsonSchema for GroupKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GroupKey".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let cell = generator.subschema_for::<Cell>();
        schemars::json_schema!({
            "type": "object",
            "description": "The fields of a group by name.",
            "additionalProperties": cell,
        })
    }
}
