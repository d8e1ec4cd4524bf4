//! Deleting and expiring from the view: what `conntidy delete` and `conntidy expire` do, with all
//! that they show, ask and protect, on the terminal as it was before.

use std::io;
use std::path::PathBuf;

use super::model::Target;
use crate::cli::args::{Common, NetnsArg, Output};
use crate::cli::change::{AgreeArgs, Change};
use crate::cli::filter::FilterArgs;
use crate::cli::select::SelectArgs;
use crate::cli::terminal::say;
use crate::policy::Action;

/// What a change needs to know besides.
pub(in crate::cli) struct Hand {
    pub(in crate::cli) common: Common,
    pub(in crate::cli) policy: Option<PathBuf>,
    pub(in crate::cli) netns: NetnsArg,
}

impl Hand {
    /// Shows what would be changed, asks, changes it, and waits for Enter.
    pub(super) fn change(&self, target: &Target, action: Action) {
        let (flow, id, filter) = match target {
            Target::Flow { key, id } => (vec![key.to_string()], *id, FilterArgs::default()),
            Target::Group(filter) => (Vec::new(), None, filter.clone()),
        };
        let select = SelectArgs {
            flow,
            filter,
            id,
            rule: None,
            policy: self.policy.clone(),
        };
        let agree = AgreeArgs {
            yes: false,
            max: None,
            dry_run: false,
            include_protected: false,
            output: Output::Text,
        };
        let change = Change {
            common: &self.common,
            command: action.word(),
            select: &select,
            netns: &self.netns,
            agree: &agree,
            action,
        };
        if let Err(error) = change.run() {
            error.print();
        }
        say!("Enter goes back to the view.");
        let _ = io::stdin().read_line(&mut String::new());
    }
}
