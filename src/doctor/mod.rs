//! What this kernel and these privileges allow, what is missing, and how to get it: the document of
//! `doctor -o json`.
//!
//! Looking sends nothing but questions, and only where no module is loaded by them.

mod access;
pub mod probe;
mod sight;
mod state;
mod table;
mod tunables;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::capability::{self, Access, Capabilities};
use crate::kernel::{Live, links, nft};
use crate::observe::{Header, Netns, Observe, ObserveError};
use tunables::TunableAccess;

/// `schema` of a diagnosis.
pub const SCHEMA: &str = "conntidy.doctor/1";

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "conntidy diagnosis")]
pub struct Diagnosis {
    /// `conntidy.doctor/1`; minor versions only add fields.
    pub schema: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// conntidy's version.
    pub conntidy: String,
    /// The network namespace.
    pub netns: Netns,
    /// Whether all that `apply` needs is here.
    pub ready: bool,
    /// Names of the findings that keep it from being ready.
    pub lacks: Vec<String>,
    /// What was found, by section.
    pub findings: Vec<Finding>,
    /// Every tunable of connection tracking that this kernel has.
    pub tunables: Vec<TunableAccess>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// `kernel`, `namespace`, `table`, `tunables`, `sight`, `safety`, `state`, `rehearse`, `probe`.
    pub section: String,
    /// What was looked at; stable.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found and what follows from it.
    pub says: String,
    /// How to change it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way_out: Vec<String>,
}

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Worth a look.
    Warning,
    /// `apply` needs it, and it is not there.
    Missing,
}

impl Finding {
    fn new(
        (section, name): (&str, &str),
        verdict: Verdict,
        says: impl Into<String>,
        way_out: &[&str],
    ) -> Self {
        Self {
            section: section.to_owned(),
            name: name.to_owned(),
            verdict,
            says: says.into(),
            way_out: way_out.iter().map(|&way| way.to_owned()).collect(),
        }
    }
}

/// What is looked at, before anything is made of it.
#[derive(Clone, Debug)]
struct Seen {
    capabilities: Capabilities,
    /// Without what ctnetlink tells, where it does not answer.
    header: Header,
    /// Names of the interfaces of this namespace.
    links: Option<Vec<String>>,
    /// Where `nft` is.
    nft: Option<PathBuf>,
    /// Whether `/proc/sys/net` is there at all.
    proc_sys: bool,
}

impl Seen {
    fn answered(&self) -> bool {
        self.capabilities.ctnetlink == Access::Granted
    }
}

/// Looks at everything. `state_root` is where state between runs is kept, if there is a place.
///
/// # Errors
/// Where `/proc` is not mounted.
pub fn examine(live: &Live, state_root: Option<PathBuf>) -> Result<Diagnosis, ObserveError> {
    let capabilities = capability::look();
    let header = match live.header() {
        Ok(header) => header,
        Err(_) => live.surroundings()?,
    };
    let seen = Seen {
        capabilities,
        header,
        links: links::names(),
        nft: nft::program(),
        proc_sys: std::path::Path::new("/proc/sys/net").is_dir(),
    };
    let mut findings = access::findings(&seen);
    findings.extend(table::findings(&seen.header));
    let (finding, tunables) = tunables::findings(&seen);
    findings.extend(finding);
    findings.extend(sight::findings(&seen));
    findings.extend(state::findings(&seen.header, state_root));
    findings.push(access::rehearse(&seen.capabilities));
    let mut diagnosis = Diagnosis {
        schema: SCHEMA.to_owned(),
        host: seen.header.host,
        kernel: seen.header.kernel,
        conntidy: seen.header.conntidy,
        netns: seen.header.netns,
        ready: false,
        lacks: Vec::new(),
        findings: Vec::new(),
        tunables,
    };
    diagnosis.add(findings);
    Ok(diagnosis)
}

impl Diagnosis {
    /// Adds findings, and draws the conclusion anew.
    pub fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.lacks = self
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Missing)
            .map(|finding| finding.name.clone())
            .collect();
        self.ready = self.lacks.is_empty();
    }
}
