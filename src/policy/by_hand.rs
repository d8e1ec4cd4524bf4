//! One change that a person asks for, as a policy of a single rule: what protects flows from the
//! policy's own rules protects them from this one too.

use super::{
    Action, Budget, Limits, Percent, Policy, Predicate, Rule, RunMode, Seconds, SnapshotSettings,
};

impl Rule {
    /// Somebody looks at these flows, not at whole classes of them at any time to come: assured, half-closed and
    /// the host's own ones are taken where the predicate takes them. `most` is how many it may change.
    #[must_use]
    pub fn by_hand(predicate: Predicate, action: Action, most: Option<u64>) -> Self {
        Self {
            name: action.word().to_owned(),
            description: None,
            narrowed: Predicate::default(),
            everything: predicate == Predicate::default(),
            predicate,
            action,
            order: 0,
            budget: Some(Budget {
                count: most,
                percent: Some(Percent::ALL),
            }),
            allow_assured: true,
            allow_half_closed: true,
            by_hand: true,
            only_claims: false,
            include_host: true,
            ignore_ct_timeout: false,
            accept_risk: Some("asked for by hand".to_owned()),
            over: None,
            persisted: None,
            every: None,
            when: None,
        }
    }
}

impl Rule {
    /// The flows that a rule of the policy would take, with the leave that it has and no more, of which only
    /// those are meant that this one takes as well.
    #[must_use]
    pub fn by_hand_as(self, rule: &Rule) -> Self {
        let deletes = rule.action == Action::Delete;
        Self {
            name: rule.name.clone(),
            everything: rule.everything,
            predicate: rule.predicate.clone(),
            // Narrowed first, groups would be smaller than the rule finds them.
            narrowed: self.predicate,
            over: rule.over,
            persisted: rule.persisted,
            every: rule.every,
            ignore_ct_timeout: rule.ignore_ct_timeout,
            include_host: rule.include_host,
            allow_assured: rule.allow_assured || !deletes,
            allow_half_closed: !deletes,
            ..self
        }
    }
}

impl Policy {
    /// The same protect rules, sets and pace, with this one rule in place of everything that the policy
    /// wishes. What the first `earlier` rules of the policy take stays theirs.
    #[must_use]
    pub fn by_hand(mut self, rule: Rule, earlier: usize) -> Self {
        self.rules.truncate(earlier);
        self.rules.retain(|rule| rule.action != Action::Report);
        for rule in &mut self.rules {
            rule.only_claims = true;
        }
        self.rules.push(rule);
        Self {
            mode: RunMode::Act,
            boot_grace: Seconds(0),
            limits: Limits {
                delete: Percent::ALL,
                expire: Percent::ALL,
                ..self.limits
            },
            goals: Vec::new(),
            apply_to_existing: Vec::new(),
            snapshot: SnapshotSettings::default(),
            ..self
        }
    }
}
