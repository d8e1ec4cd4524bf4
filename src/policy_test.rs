//! Policy tests: what rules are to do with a table, written down beside a policy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use crate::flow::{Flow, FlowKey, OwnedExtra, Present, Protocol};
use crate::observe::{Dumped, Header, Observe, ObserveError, Reading, Record, Visit};
use crate::plan::Saved;
use crate::policy::timing::kernel_default;
use crate::snapshot::import::{Imported, import};
use crate::tunable::TUNABLES;

/// A file of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Document {
    /// The policy of tests that name none, relative to the file.
    #[serde(default)]
    pub policy: Option<String>,
    /// The tests by name.
    pub tests: BTreeMap<String, Spanned<Test>>,
}

/// One table, and what is expected of the rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Test {
    /// The policy, relative to the file.
    #[serde(default)]
    pub policy: Option<String>,
    /// A snapshot in place of `flows`, relative to the file.
    #[serde(default)]
    pub snapshot: Option<Spanned<String>>,
    /// Entries as `conntrack -L` prints them.
    #[serde(default)]
    pub flows: Option<Spanned<String>>,
    /// This host's own addresses, beside `flows`.
    #[serde(default)]
    pub local: Vec<IpAddr>,
    /// Present values of tunables that are not the kernel's defaults, beside `flows`.
    #[serde(default)]
    pub tunables: BTreeMap<String, u64>,
    /// What is expected, by rule; for a timeout that is applied to existing entries, by the sysctl's name.
    pub expect: BTreeMap<Spanned<String>, Expected>,
}

/// What is expected of one rule; what is absent is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table, as `{ selected = 1 }`"
)]
pub struct Expected {
    /// Flows that it claims, or counts.
    #[serde(default)]
    pub matched: Option<u64>,
    /// Flows that it would change.
    #[serde(default)]
    pub selected: Option<u64>,
    /// Whether a rail refuses it.
    #[serde(default)]
    pub refused: Option<bool>,
    /// The very flows that it would change, as `tcp 10.0.0.5:40112 10.0.9.5:5432`.
    #[serde(default)]
    pub flows: Option<Vec<Spanned<String>>>,
}

/// A table that a test lists.
pub struct Listed {
    header: Header,
    flows: Vec<(Flow, OwnedExtra)>,
    /// What reading the text came to.
    pub imported: Imported,
}

/// Long enough that the history of an invented table covers every idle time.
const UPTIME_NS: u64 = 400 * 86_400 * 1_000_000_000;

impl Listed {
    /// A table of these entries, on a kernel with default timeouts that nobody has changed for a year.
    ///
    /// # Errors
    /// Never for a text in memory.
    pub fn new(test: &Test, entries: &str) -> std::io::Result<Self> {
        let mut flows = Vec::new();
        let imported = import(entries.as_bytes(), |mut flow, extra| {
            // A rule takes no flow without one.
            flow.id = u32::try_from(flows.len()).unwrap_or(u32::MAX);
            flow.present |= Present::ID | Present::MARK;
            // Nothing is under way on a table that stands still.
            if flow.protocol == Protocol::TCP {
                flow.present |= Present::TCP_FLAGS;
            }
            flows.push((flow, extra));
        })?;
        let mut header = Header {
            host: "test".to_owned(),
            conntrack: true,
            cores: 4,
            memory: 8 << 30,
            count: Some(flows.len() as u64),
            addresses: Some(test.local.clone()),
            ct_timeout_protocols: Some(Vec::new()),
            ..Header::default()
        };
        let defaults = TUNABLES.iter().map(|tunable| tunable.name);
        for name in defaults.chain(test.tunables.keys().map(String::as_str)) {
            let value = test.tunables.get(name).copied();
            let value = value
                .or_else(|| kernel_default(name))
                .or((name == "nf_conntrack_max").then_some(262_144))
                .or((name == "nf_conntrack_buckets").then_some(262_144));
            if let Some(value) = value {
                let reading = Reading {
                    value: Some(value.to_string()),
                    writable: true,
                    error: None,
                };
                header.tunables.insert(name.to_owned(), reading);
            }
        }
        let mut history = std::mem::take(&mut header.history);
        history.record(&header);
        header.history = history;
        header.uptime_ns = UPTIME_NS;
        header.time_ns = UPTIME_NS;
        Ok(Self {
            header,
            flows,
            imported,
        })
    }
}

impl Observe for Listed {
    fn header(&self) -> Result<Header, ObserveError> {
        Ok(self.header.clone())
    }

    fn dump(&self, visitors: &mut [&mut dyn Visit]) -> Result<Dumped, ObserveError> {
        if let [first, ..] = visitors {
            for (flow, extra) in &self.flows {
                first.visit(&Record {
                    flow: *flow,
                    extra: extra.borrow(),
                    message: &[],
                });
            }
        }
        Ok(Dumped {
            entries: self.flows.len() as u64,
            ..Dumped::default()
        })
    }
}

/// What of a plan is not as expected of one rule; `None` where there is no such rule.
#[must_use]
pub fn differences(saved: &Saved, name: &str, expected: &Expected) -> Option<Vec<String>> {
    let plan = &saved.plan;
    let own = plan.rules.iter().find(|rule| rule.name == name);
    let existing = plan.existing.iter().find(|rule| rule.name == name);
    let (rule, flows) = match (own, existing) {
        (Some(rule), _) => (rule, saved.rules.get(name)),
        (None, Some(rule)) => (rule, saved.existing.get(name)),
        (None, None) => return None,
    };
    let mut found = Vec::new();
    let mut count = |what: &str, wanted: Option<u64>, is: u64| {
        if let Some(wanted) = wanted
            && wanted != is
        {
            found.push(format!("{what} {is}, expected {wanted}"));
        }
    };
    count("matched", expected.matched, rule.matched);
    count("selected", expected.selected, rule.selected);
    let is_refused = rule.refused.is_some();
    if expected.refused.is_some_and(|wanted| wanted != is_refused) {
        found.push(if is_refused {
            "refused, and was not to be".to_owned()
        } else {
            "not refused, and was to be".to_owned()
        });
    }
    if let Some(wanted) = &expected.flows {
        let is: Vec<FlowKey> = flows.into_iter().flatten().map(|one| one.key).collect();
        let wanted: Vec<FlowKey> = wanted
            .iter()
            .filter_map(|text| text.get_ref().parse().ok())
            .collect();
        let mut told = |what: &str, these: &[FlowKey], those: &[FlowKey]| {
            let only = these.iter().filter(|key| !those.contains(key));
            found.extend(only.take(10).map(|key| format!("{what} {key}")));
        };
        told("does not take", &wanted, &is);
        told("also takes", &is, &wanted);
    }
    Some(found)
}
