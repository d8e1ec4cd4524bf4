//! A plan as JUnit XML: a test case a rule and tunable, failed where it is refused or cannot be met.
//!
//! Attributes and elements are those that the schemas of Jenkins and of the Ant task both know.

use std::io::{self, Write};

use quick_xml::escape::escape;

use super::{About, Finding, Level, Spot, of_rule, of_tunable, spot, tunable_key};
use crate::config::Loaded;
use crate::plan::{Plan, TunableState};
use crate::policy::KeyPath;

/// How a case went.
pub(crate) enum Went {
    /// As it should.
    Well,
    /// It did not run, for this reason.
    Skipped(String),
    /// Kind, and what is wrong.
    Failed(&'static str, String),
}

/// One test case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) went: Went,
    /// What is told beside the failure.
    pub(crate) spot: Option<Spot>,
}

/// Cases of one class.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) host: String,
    /// RFC 3339 in UTC.
    pub(crate) time: String,
    pub(crate) cases: Vec<Case>,
}

/// The suites of a plan, and of what `findings` say about its policy.
pub(crate) fn suites(loaded: &Loaded, findings: &[Finding], plan: Option<&Plan>) -> Vec<Suite> {
    let host = plan.map_or("", |plan| &plan.host);
    let time = plan.map_or("1970-01-01T00:00:00Z", |plan| &plan.generated);
    let suite = |name: &str, cases| Suite {
        name: format!("conntidy.{name}"),
        host: host.to_owned(),
        time: time.to_owned(),
        cases,
    };
    let mut policy: Vec<Case> = findings
        .iter()
        .filter(|finding| finding.about == About::Policy)
        .map(|finding| Case {
            name: finding.name.clone(),
            went: match finding.level {
                Level::Error => Went::Failed("invalid", finding.message.clone()),
                _ => Went::Skipped(format!("warning: {}", finding.message)),
            },
            spot: finding.spot.clone(),
        })
        .collect();
    if policy.is_empty() {
        policy.push(Case {
            name: "valid".to_owned(),
            went: Went::Well,
            spot: None,
        });
    }
    let mut suites = vec![suite("policy", policy)];
    let Some(plan) = plan else {
        return suites;
    };
    let tunables = plan.sysctl.iter().map(|step| Case {
        name: step.name.clone(),
        went: match of_tunable(step) {
            Some((Level::Error, why)) => Went::Failed("refused", why),
            Some((Level::Warning, why)) => Went::Failed("unmet", why),
            Some((Level::Notice, why)) if step.state != TunableState::Change => Went::Skipped(why),
            _ => Went::Well,
        },
        spot: spot(loaded, &tunable_key(step)),
    });
    suites.push(suite("tunables", tunables.collect()));
    let existing = plan.existing.iter().map(|rule| {
        let step = plan.sysctl.iter().find(|step| step.name == rule.name);
        (
            format!("{} on existing entries", rule.name),
            rule,
            step.map(tunable_key),
        )
    });
    let rules = plan.rules.iter().map(|rule| {
        let key = KeyPath::of(["rules", &rule.name]);
        (rule.name.clone(), rule, Some(key))
    });
    let rules = rules.chain(existing).map(|(name, rule, key)| Case {
        name,
        went: match of_rule(rule) {
            Some((Level::Error, why)) => Went::Failed("refused", why),
            Some((_, why)) if rule.waiting.is_some() => Went::Skipped(why),
            _ => Went::Well,
        },
        spot: key.and_then(|key| spot(loaded, &key)),
    });
    suites.push(suite("rules", rules.collect()));
    suites
}

/// Writes suites as one document.
pub(crate) fn write(out: &mut impl Write, suites: &[Suite]) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, "<testsuites>")?;
    for (id, suite) in suites.iter().enumerate() {
        let count = |is: fn(&Went) -> bool| suite.cases.iter().filter(|c| is(&c.went)).count();
        writeln!(
            out,
            r#"  <testsuite name="{}" id="{id}" package="conntidy" hostname="{}" timestamp="{}" tests="{}" failures="{}" errors="0" skipped="{}" time="0">"#,
            attribute(&suite.name),
            attribute(if suite.host.is_empty() {
                "localhost"
            } else {
                &suite.host
            }),
            // The schemas know no zone.
            attribute(suite.time.trim_end_matches('Z')),
            suite.cases.len(),
            count(|went| matches!(went, Went::Failed(..))),
            count(|went| matches!(went, Went::Skipped(_))),
        )?;
        writeln!(out, "    <properties/>")?;
        for case in &suite.cases {
            write!(
                out,
                r#"    <testcase classname="{}" name="{}" time="0""#,
                attribute(&suite.name),
                attribute(&case.name)
            )?;
            let place = case.spot.as_ref().map_or_else(String::new, |spot| {
                format!("{}:{}:{}: ", spot.file, spot.line, spot.column)
            });
            match &case.went {
                Went::Well => writeln!(out, "/>")?,
                Went::Skipped(why) => {
                    writeln!(
                        out,
                        r#"><skipped message="{}"/></testcase>"#,
                        attribute(why)
                    )?;
                }
                Went::Failed(kind, why) => writeln!(
                    out,
                    r#"><failure type="{kind}" message="{}">{}{}</failure></testcase>"#,
                    attribute(why),
                    attribute(&place),
                    attribute(why)
                )?,
            }
        }
        writeln!(out, "    <system-out/>\n    <system-err/>\n  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// Text without what XML 1.0 cannot hold, and with line ends that attributes keep.
fn attribute(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect();
    escape(text.as_str()).into_owned()
}
