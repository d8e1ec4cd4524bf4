//! `match` and `not`.

use super::Validation;
use crate::flow::{Protocol, protocol};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::key::KeyPath;
use crate::policy::match_table::{Fields, Match, OverTable};
use crate::policy::shape::OneOrMany;
use crate::policy::term::{AddressText, StateName};
use crate::policy::{AddressField, AddressTerm, GroupField, Over, PortField, Predicate, Test};

impl Validation<'_> {
    pub(super) fn predicate(&mut self, table: &Match, path: &KeyPath) -> Predicate {
        let fields = table.fields();
        let protocols = fields.protocol.as_ref().map(|list| list.0.clone());
        let tests = self.tests(&fields, protocols.as_deref(), path);
        let not_path = path.child("not");
        let not = match &table.not {
            Some(not) => {
                let tests = self.tests(not, protocols.as_deref(), &not_path);
                if tests.is_empty() && !self.lacks(&not_path) {
                    let diagnostic = Diagnostic::error(
                        Code::EmptyMatch,
                        not_path,
                        "`not` without fields excludes nothing",
                    );
                    self.found.push(diagnostic.at_key());
                }
                tests
            }
            None => Vec::new(),
        };
        Predicate { tests, not }
    }

    fn tests(
        &mut self,
        fields: &Fields,
        protocols: Option<&[Protocol]>,
        path: &KeyPath,
    ) -> Vec<Test> {
        let mut tests = Vec::new();
        macro_rules! many {
            ($field:ident, $test:expr, $one:pat => $value:expr) => {
                if let Some(OneOrMany(list)) = &fields.$field {
                    tests.push($test(list.iter().map(|$one| $value).collect()));
                }
            };
        }
        macro_rules! addresses {
            ($field:ident, $key:literal, $which:expr) => {
                if let Some(OneOrMany(list)) = &fields.$field {
                    let terms = self.addresses(list, &path.child($key));
                    if !terms.is_empty() {
                        tests.push(Test::Address($which, terms));
                    }
                }
            };
        }
        macro_rules! ports {
            ($field:ident, $which:expr) => {
                many!($field, |ranges| Test::Port($which, ranges), range => (range.0, range.1));
            };
        }
        macro_rules! one {
            ($field:ident, $test:expr) => {
                if let Some(value) = &fields.$field {
                    tests.push($test(*value));
                }
            };
        }
        many!(family, Test::Family, family => *family);
        many!(protocol, Test::Protocol, protocol => *protocol);
        if let Some(OneOrMany(names)) = &fields.state {
            let states = self.states(names, protocols, &path.child("state"));
            tests.push(Test::State(states));
        }
        many!(status, Test::Status, word => *word);
        addresses!(src, "src", AddressField::Src);
        addresses!(dst, "dst", AddressField::Dst);
        addresses!(reply_src, "reply-src", AddressField::ReplySrc);
        addresses!(reply_dst, "reply-dst", AddressField::ReplyDst);
        addresses!(address, "address", AddressField::Any);
        ports!(sport, PortField::Src);
        ports!(dport, PortField::Dst);
        ports!(reply_sport, PortField::ReplySrc);
        ports!(reply_dport, PortField::ReplyDst);
        ports!(port, PortField::Either);
        many!(icmp_type, Test::IcmpType, range => (range.0, range.1));
        many!(icmp_code, Test::IcmpCode, range => (range.0, range.1));
        many!(gre_key, Test::GreKey, range => (range.0, range.1));
        many!(nat, Test::Nat, word => *word);
        addresses!(nat_src, "nat-src", AddressField::NatSrc);
        addresses!(nat_dst, "nat-dst", AddressField::NatDst);
        many!(path, Test::Path, word => *word);
        many!(mark, Test::Mark, mark => (mark.value, mark.mask));
        many!(zone, Test::Zone, zone => zone.0);
        many!(orig_zone, Test::OrigZone, zone => zone.0);
        many!(reply_zone, Test::ReplyZone, zone => zone.0);
        many!(label, Test::Label, label => label.0);
        many!(helper, Test::Helper, helper => helper.0.clone());
        if let Some(seconds) = fields.idle_for {
            self.positive(seconds, &path.child("idle-for"));
        }
        one!(idle_for, Test::IdleFor);
        one!(age_above, Test::AgeAbove);
        one!(remaining_above, Test::RemainingAbove);
        one!(remaining_below, Test::RemainingBelow);
        tests.extend(fields.bytes_above.map(|bytes| Test::BytesAbove(bytes.0)));
        tests.extend(fields.bytes_below.map(|bytes| Test::BytesBelow(bytes.0)));
        tests.extend(
            fields
                .packets_above
                .map(|count| Test::PacketsAbove(count.0)),
        );
        tests.extend(
            fields
                .packets_below
                .map(|count| Test::PacketsBelow(count.0)),
        );
        tests
    }

    /// The states with these names, of the protocols that the match names.
    fn states(
        &mut self,
        names: &[StateName],
        protocols: Option<&[Protocol]>,
        path: &KeyPath,
    ) -> Vec<(Protocol, u8)> {
        let mut states = Vec::new();
        for name in names {
            let before = states.len();
            states.extend(name.states.iter().copied().filter(|(protocol, _)| {
                protocols.is_none_or(|protocols| protocols.contains(protocol))
            }));
            let Some(protocols) = protocols.filter(|_| states.len() == before) else {
                continue;
            };
            let shown: Vec<_> = protocols.iter().map(ToString::to_string).collect();
            let shown = shown.join(" and ");
            let known = protocols
                .iter()
                .flat_map(|protocol| protocol::state_names(*protocol).iter().copied());
            let message = if known.clone().next().is_none() {
                format!("{shown} has no states")
            } else {
                format!("{shown} has no state `{}`", name.name)
            };
            self.found.push(
                Diagnostic::error(Code::InvalidValue, path.clone(), message)
                    .did_you_mean(name.name, known),
            );
        }
        states
    }

    fn addresses(&mut self, list: &[AddressText], path: &KeyPath) -> Vec<AddressTerm> {
        let mut terms = Vec::new();
        for (index, text) in list.iter().enumerate() {
            let name = match text {
                AddressText::Prefix(prefix) => {
                    terms.push(AddressTerm::Prefix(*prefix));
                    continue;
                }
                AddressText::Set(name) => name,
            };
            if let Some(index) = self.sets.iter().position(|set| set.name == *name) {
                terms.push(AddressTerm::Set(index));
                continue;
            }
            if self.lacks(&KeyPath::of(["sets", name])) {
                continue;
            }
            let path = if list.len() == 1 {
                path.clone()
            } else {
                path.child(index)
            };
            let diagnostic = if self.disabled_sets.contains(name) {
                Diagnostic::error(
                    Code::UnknownSet,
                    path,
                    format!("the set `@{name}` is switched off"),
                )
            } else {
                let names: Vec<_> = self
                    .sets
                    .iter()
                    .map(|set| format!("@{}", set.name))
                    .collect();
                Diagnostic::error(Code::UnknownSet, path, format!("there is no set `@{name}`"))
                    .did_you_mean(&format!("@{name}"), names.iter().map(String::as_str))
                    .help(format!("declare it: `[sets.{name}]`"))
            };
            self.found.push(diagnostic);
        }
        terms
    }

    pub(super) fn over(&mut self, table: &OverTable, path: &KeyPath) -> Option<Over> {
        if table.per.is_none() {
            self.missing(
                path,
                "per",
                "`over` does not say what makes a group",
                "add `per = \"src\"`",
            );
        }
        if table.count.is_none() {
            self.missing(
                path,
                "count",
                "`over` does not say how many are too many",
                "add `count = 1000`",
            );
        }
        let prefix4 = table.prefix4.map_or(32, |length| length.0);
        let prefix6 = table.prefix6.map_or(128, |length| length.0);
        if prefix4 > 32 {
            self.found.push(
                Diagnostic::error(
                    Code::OutOfRange,
                    path.child("prefix4"),
                    format!("{prefix4} is out of range"),
                )
                .expected("0 to 32"),
            );
        }
        let per = table.per?;
        let has_prefix = table.prefix4.is_some() || table.prefix6.is_some();
        let is_address = matches!(
            per,
            GroupField::Src | GroupField::Dst | GroupField::ReplySrc | GroupField::ReplyDst
        );
        if has_prefix && !is_address {
            let key = if table.prefix4.is_some() {
                "prefix4"
            } else {
                "prefix6"
            };
            self.found.push(
                Diagnostic::error(
                    Code::Conflict,
                    path.child(key),
                    format!("groups by `{}` have no addresses to cut", per.word()),
                )
                .at_key(),
            );
        }
        Some(Over {
            per,
            prefix4,
            prefix6,
            count: table.count?.0,
        })
    }
}
