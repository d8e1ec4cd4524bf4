//! The network namespaces that a command looks at, one after the other.

use clap::Args;

use super::args::{Common, NetnsArg};
use super::terminal::say;
use super::{CliError, Outcome, complete, live};
use crate::kernel::{Live, namespace};

/// All namespaces that have a name.
const ALL: &str = "all";

/// Where a command looks.
#[derive(Args, Clone, Debug)]
pub struct NamespacesArg {
    /// Look in this network namespace: a name under /run/netns, or a path; repeatable. `all` is every
    /// one with a name, those with an empty table aside
    #[arg(long, value_name = "NAME|PATH|all", add = complete::several_namespaces())]
    pub netns: Vec<String>,
}

impl NamespacesArg {
    /// Whether there are several, each of which is named in the output.
    pub(super) fn are_several(&self) -> bool {
        self.netns.len() > 1 || self.has_all()
    }

    fn has_all(&self) -> bool {
        self.netns.iter().any(|name| name == ALL)
    }

    /// The only one; `None` where there are several.
    pub(super) fn one(&self) -> Option<NetnsArg> {
        (!self.are_several()).then(|| NetnsArg {
            netns: self.netns.first().cloned(),
        })
    }

    /// Does the work in each. It is told the name where there are several.
    pub(super) fn each(
        &self,
        common: &Common,
        mut work: impl FnMut(Option<&str>, Live) -> Result<Outcome, CliError> + Send,
    ) -> Result<Outcome, CliError> {
        if let Some(one) = self.one() {
            return live::within(&one, |live| work(None, live));
        }
        let mut empty = Vec::new();
        let mut outcome = Outcome::default();
        let names = self.names()?;
        for name in &names {
            let netns = NetnsArg {
                netns: Some(name.clone()),
            };
            let one = live::within(&netns, |live| {
                if !self.netns.contains(name) && is_empty(&live)? {
                    empty.push(name.as_str());
                    return Ok(Outcome::default());
                }
                work(Some(name), live)
            });
            outcome = outcome.and(one.map_err(|error| error.in_namespace(name))?);
        }
        if !empty.is_empty() && !common.quiet {
            say!(
                "note: skipped, since the table is empty: {}",
                empty.join(", ")
            );
        }
        Ok(outcome)
    }

    /// As named, then those of `all`.
    pub(super) fn names(&self) -> Result<Vec<String>, CliError> {
        let mut names: Vec<String> = Vec::new();
        let mut add = |name: &String| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        let given = self.netns.iter().filter(|name| *name != ALL);
        given.for_each(&mut add);
        if self.has_all() {
            namespace::named()?.iter().for_each(add);
        }
        if names.is_empty() {
            return Err(CliError::failed("no network namespace has a name")
                .hint("without `--netns`, the present one is looked at"));
        }
        Ok(names)
    }
}

/// No entry, or no connection tracking at all.
fn is_empty(live: &Live) -> Result<bool, CliError> {
    Ok(!live.has_conntrack() || live.count()? == 0)
}
