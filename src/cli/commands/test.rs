//! `conntidy test`: policy tests. Needs no root, no kernel and no network.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::args::Common;
use crate::cli::render::ci::Spot;
use crate::cli::render::ci::junit::{self, Case, Suite, Went};
use crate::cli::render::{self, diagnostics};
use crate::cli::{CliError, Outcome, shown, terminal};
use crate::config::{self, Loaded, Source};
use crate::flow::FlowKey;
use crate::kernel::Recorded;
use crate::observe::Observe;
use crate::plan::{self, Judge, Options, Saved};
use crate::policy::diagnostic::{Code, Diagnostic, Place};
use crate::policy::{KeyPath, Text};
use crate::policy_test::{Document, Listed, Test, differences};

/// Arguments of `conntidy test`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    conntidy test                          every *.test.toml of this directory\n  \
    conntidy test gw.test.toml -o junit    for a test report\n\n\
A test is a table and what the rules are to do with it:\n\n  \
    policy = \"gw.toml\"\n\n  \
    [tests.closed-connections-go]\n  \
    flows = \"\"\"\n  \
    tcp 6 5 TIME_WAIT src=10.0.16.5 dst=192.0.2.1 sport=40112 dport=443 \\\n      \
    src=192.0.2.1 dst=10.0.16.5 sport=443 dport=40112\n  \
    \"\"\"\n  \
    expect.closed = { selected = 1 }\n\n\
Exit codes: 0 all pass, 1 a test fails, 78 a file of tests or a policy is invalid.")]
pub struct TestArgs {
    /// Files of tests [default: *.test.toml in this directory]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: TestOutput,
}

/// Formats of `test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit XML.
    Junit,
}

/// What `test -o json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "conntidy test")]
pub(in crate::cli) struct TestJson {
    /// `conntidy.test/1`.
    pub schema: &'static str,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Every test, by file and name.
    pub tests: Vec<Tested>,
}

/// How one test went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Tested {
    /// The file.
    pub file: String,
    /// Line of the test in it.
    pub line: usize,
    /// The test.
    pub name: String,
    /// What is not as expected; none where it passed.
    pub failures: Vec<String>,
}

/// Runs the tests and prints how they went.
pub(super) fn run(common: &Common, args: &TestArgs) -> Result<Outcome, CliError> {
    let files = if args.files.is_empty() {
        beside()?
    } else {
        args.files.clone()
    };
    let mut tests = Vec::new();
    let mut is_invalid = false;
    for file in &files {
        match File::read(file)? {
            Ok(file) => match file.run(common) {
                Ok(done) => tests.extend(done),
                Err(Stopped::Mistakes(mistakes)) => {
                    is_invalid = true;
                    tell(&mistakes, &[file.text]);
                }
                Err(Stopped::Policy(loaded)) => {
                    is_invalid = true;
                    tell(&loaded.diagnostics, &loaded.texts);
                }
                Err(Stopped::Failed(error)) => return Err(error),
            },
            Err((mistake, text)) => {
                is_invalid = true;
                tell(&[mistake], &[text]);
            }
        }
    }
    let failed = tests
        .iter()
        .filter(|test| !test.failures.is_empty())
        .count();
    let document = TestJson {
        schema: "conntidy.test/1",
        passed: tests.len() - failed,
        failed,
        tests,
    };
    shown(print(args.output, &document))?;
    if is_invalid {
        return Err(CliError::policy("not all tests could be run"));
    }
    if failed > 0 {
        return Err(CliError::failed(""));
    }
    Ok(Outcome::default())
}

/// The files of tests in this directory.
fn beside() -> Result<Vec<PathBuf>, CliError> {
    let failed = |error| CliError::failed("this directory cannot be read").because(error);
    let mut files = Vec::new();
    for entry in fs::read_dir(".").map_err(failed)? {
        let name = PathBuf::from(entry.map_err(failed)?.file_name());
        if name.to_string_lossy().ends_with(".test.toml") {
            files.push(name);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CliError::usage("there is no *.test.toml in this directory")
            .hint("name a file of tests: `conntidy test FILE`"));
    }
    Ok(files)
}

fn tell(mistakes: &[Diagnostic], texts: &[Text]) {
    anstream::eprint!("{}", diagnostics::text(mistakes, texts, terminal::width()));
}

/// A file of tests that could be read.
struct File {
    path: PathBuf,
    text: Text,
    document: Document,
}

/// Why tests of a file were not run.
enum Stopped {
    Mistakes(Vec<Diagnostic>),
    Policy(Box<Loaded>),
    Failed(CliError),
}

fn mistake(key: &[&str], message: String, span: Range<usize>) -> Diagnostic {
    let key = KeyPath::of(key.iter().copied());
    Diagnostic::error(Code::InvalidValue, key, message).at(Place { text: 0, span })
}

/// An error and what brought it about, on one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl File {
    fn read(path: &Path) -> Result<Result<Self, (Diagnostic, Text)>, CliError> {
        let name = path.display().to_string();
        let content = fs::read_to_string(path)
            .map_err(|error| CliError::policy(format!("{name} cannot be read")).because(error))?;
        let text = Text::file(name, content);
        Ok(match toml::from_str::<Document>(&text.content) {
            Ok(document) => Ok(Self {
                path: path.to_owned(),
                text,
                document,
            }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let told = mistake(&[], error.message().trim_end().to_owned(), span);
                Err((told, text))
            }
        })
    }

    /// A file that is named in this one.
    fn named(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }

    fn run(&self, common: &Common) -> Result<Vec<Tested>, Stopped> {
        let mut mistakes = Vec::new();
        let mut done = Vec::new();
        for (name, spanned) in &self.document.tests {
            let test = spanned.get_ref();
            let whole =
                |message: &str| mistake(&["tests", name], message.to_owned(), spanned.span());
            let Some(policy) = test.policy.as_ref().or(self.document.policy.as_ref()) else {
                mistakes.push(whole("no `policy` is named, neither here nor at the top"));
                continue;
            };
            let before = mistakes.len();
            for text in test
                .expect
                .values()
                .filter_map(|one| one.flows.as_ref())
                .flatten()
            {
                if let Err(error) = text.get_ref().parse::<FlowKey>() {
                    mistakes.push(mistake(&["tests", name], error.to_string(), text.span()));
                }
            }
            if mistakes.len() > before {
                continue;
            }
            let saved = match (&test.snapshot, &test.flows) {
                (Some(snapshot), None) => match Recorded::open(self.named(snapshot.get_ref())) {
                    Ok(recorded) => self.plan(policy, &recorded)?,
                    Err(error) => {
                        let key = ["tests", name, "snapshot"];
                        mistakes.push(mistake(&key, causes(&error), snapshot.span()));
                        continue;
                    }
                },
                (None, Some(flows)) => {
                    let listed = listed(name, test, flows.get_ref(), flows.span());
                    match listed.map_err(Stopped::Failed)? {
                        Ok(listed) => self.plan(policy, &listed)?,
                        Err(unread) => {
                            mistakes.extend(unread);
                            continue;
                        }
                    }
                }
                _ => {
                    mistakes.push(whole("a test has either `flows` or a `snapshot`"));
                    continue;
                }
            };
            let mut failures = Vec::new();
            for (rule, expected) in &test.expect {
                let told = differences(&saved, rule.get_ref(), expected);
                match told {
                    Some(told) => failures.extend(
                        told.into_iter()
                            .map(|told| format!("{}: {told}", rule.get_ref())),
                    ),
                    None => mistakes.push(
                        mistake(
                            &["tests", name, "expect", rule.get_ref()],
                            format!("the policy has no rule `{}`", rule.get_ref()),
                            rule.span(),
                        )
                        .did_you_mean(
                            rule.get_ref(),
                            saved.plan.rules.iter().map(|rule| rule.name.as_str()),
                        ),
                    ),
                }
            }
            if common.verbose > 0 && !failures.is_empty() {
                failures.push(render::plan::summary(&saved.plan));
            }
            done.push(Tested {
                file: self.text.name.clone(),
                line: self.text.line_and_column(spanned.span().start).0,
                name: name.clone(),
                failures,
            });
        }
        if mistakes.is_empty() {
            Ok(done)
        } else {
            Err(Stopped::Mistakes(mistakes))
        }
    }

    fn plan(&self, policy: &str, table: &dyn Observe) -> Result<Saved, Stopped> {
        let loaded = config::load(&Source {
            file: Some(self.named(policy)),
            assignments: Vec::new(),
            root: PathBuf::from("/"),
        });
        let loaded = loaded.map_err(|error| Stopped::Failed(error.into()))?;
        let Some(policy) = &loaded.policy else {
            return Err(Stopped::Policy(Box::new(loaded)));
        };
        let header = table
            .header()
            .map_err(|error| Stopped::Failed(error.into()))?;
        let options = Options::timeless(policy, &header);
        let members = plan::members(policy, &loaded.members, &header);
        let judge = Judge::new(policy, &members, &header, &options);
        plan::save(table, &judge, &options, &|_| {}).map_err(|error| Stopped::Failed(error.into()))
    }
}

/// The table that a test lists, or what of it could not be read.
fn listed(
    name: &str,
    test: &Test,
    flows: &str,
    span: Range<usize>,
) -> Result<Result<Listed, Vec<Diagnostic>>, CliError> {
    let listed = Listed::new(test, flows)
        .map_err(|error| CliError::failed("the flows cannot be read").because(error))?;
    let unread: Vec<Diagnostic> = listed
        .imported
        .unread
        .iter()
        .map(|(line, why)| {
            let message = format!("entry in line {line} of `flows` could not be read: {why}");
            mistake(&["tests", name, "flows"], message, span.clone())
        })
        .collect();
    Ok(if unread.is_empty() {
        Ok(listed)
    } else {
        Err(unread)
    })
}

fn print(output: TestOutput, document: &TestJson) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match output {
        TestOutput::Json => {
            drop(stdout);
            return render::json(document);
        }
        TestOutput::Junit => {
            let cases = document.tests.iter().map(|test| Case {
                name: test.name.clone(),
                went: if test.failures.is_empty() {
                    Went::Well
                } else {
                    Went::Failed("expectation", test.failures.join("; "))
                },
                spot: Some(Spot {
                    file: test.file.clone(),
                    line: test.line,
                    column: 1,
                    end_line: test.line,
                    end_column: 1,
                }),
            });
            let suite = Suite {
                name: "conntidy.tests".to_owned(),
                host: String::new(),
                time: "1970-01-01T00:00:00Z".to_owned(),
                cases: cases.collect(),
            };
            junit::write(&mut stdout, &[suite])?;
        }
        TestOutput::Text => {
            for test in &document.tests {
                let word = if test.failures.is_empty() {
                    "ok"
                } else {
                    "FAILED"
                };
                writeln!(stdout, "{}:{} {}: {word}", test.file, test.line, test.name)?;
                for failure in &test.failures {
                    writeln!(stdout, "    {failure}")?;
                }
            }
            writeln!(
                stdout,
                "{} passed, {} failed.",
                document.passed, document.failed
            )?;
        }
    }
    Ok(stdout.flush()?)
}
