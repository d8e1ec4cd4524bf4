//! Random command lines, to `conntidy conntrack` and to the real tool: no panic, and never an entry
//! gone that the tool with the same line keeps.
//!
//! `CONNTIDY_LINES` says how many, `CONNTIDY_LINES_SEED` which.

use std::collections::BTreeSet;

use conntidy::flow::FlowKey;
use libtest_mimic::Failed;

use crate::fixture;
use crate::front::{ours, refill, theirs};
use crate::gateway::Gateway;

crate::trials!(no_line_deletes_what_the_tool_keeps);

/// A number a line (splitmix64).
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.draw() % count as u64).unwrap_or(0)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const VERBS: [&str; 22] = [
    "-D",
    "-D",
    "-D",
    "-D",
    "-D",
    "-D",
    "-D",
    "--delete",
    "-D conntrack",
    "-U",
    "-U",
    "-F",
    "-L",
    "-L",
    "-C",
    "-G",
    "-I",
    "-A",
    "-L dying",
    "-S",
    "-L expect",
    "",
];

const OPTIONS: [(&str, &[&str]); 34] = [
    (
        "-p",
        &[
            "tcp", "udp", "icmp", "sctp", "gre", "50", "TCP", "0x6", "nonsense", "icmpv6",
        ],
    ),
    ("--protonum", &["tcp", "udplite", "17"]),
    (
        "-s",
        &[
            "10.0.0.1",
            "10.0.0.0/8",
            "10.0.0.1/",
            "10.0",
            "fd00::1",
            "0.0.0.0/0",
            "::/0",
            "x",
        ],
    ),
    ("--orig-src", &["10.0.0.1", "10.0.7.0/24"]),
    (
        "-d",
        &[
            "192.0.2.2",
            "192.0.2.0/24",
            "203.0.113.1",
            "fd00::2",
            "192.0.2.2/33",
        ],
    ),
    ("--dst", &["192.0.2.2", "10.0.0.2"]),
    ("-r", &["192.0.2.2", "10.0.3.9", "fd00:3::9"]),
    ("-q", &["203.0.113.1", "10.0.0.254"]),
    ("--mask-src", &["255.0.0.0", "0.0.0.0"]),
    ("--sport", &["2003", "256", "53", "1001", "65616", "1-2"]),
    ("--dport", &["443", "80", "512", "http", "80,443"]),
    ("--reply-port-src", &["443", "8080"]),
    (
        "--state",
        &[
            "ESTABLISHED",
            "TIME_WAIT",
            "CLOSE,TIME_WAIT",
            "NEW",
            "INVALID",
            "listen",
            "X",
        ],
    ),
    ("--icmp-type", &["8", "13", "300"]),
    ("--srckey", &["256", "0x100", "7"]),
    ("-f", &["ipv4", "ipv6", "ipv4foo", "x"]),
    ("-t", &["3600", "0", "6000", "5999", "abc", "-1"]),
    (
        "-u",
        &[
            "ASSURED",
            "SEEN_REPLY",
            "UNREPLIED",
            "!ASSURED",
            "UNSET",
            "a,s",
            "x",
            "EXPECTED",
        ],
    ),
    (
        "-m",
        &[
            "0",
            "17",
            "0x11",
            "0x10/0xf0",
            "5/",
            "0/0",
            "foo",
            "3735928559",
        ],
    ),
    ("-i", &["1", "0", "x"]),
    ("-w", &["0", "5", "6", "foo", "65536"]),
    ("--orig-zone", &["0", "6", "5"]),
    ("--reply-zone", &["0", "7"]),
    (
        "-n",
        &[
            "203.0.113.1",
            "10.0.0.254:60001",
            "nat",
            "",
            "2001:db8::7",
            "x",
        ],
    ),
    (
        "-g",
        &["10.0.3.9", "10.0.3.9:8080", "", "fd00:3::9", "10.0.3.9:1"],
    ),
    ("-j", &["", "203.0.113.1"]),
    ("--src-nat=203.0.113.1", &[""]),
    ("-l", &["lan"]),
    ("-o", &["extended", "xml", "save", "id,extended", "json"]),
    ("-e", &["NEW"]),
    ("-z", &[""]),
    ("--foo", &[""]),
    ("stray", &["", "10.0.0.1", "80"]),
    ("--", &[""]),
];

fn line(random: &mut Random) -> String {
    let mut parts = vec![random.pick(&VERBS).to_owned()];
    for _ in 0..random.below(5) {
        let (option, values) = OPTIONS[random.below(OPTIONS.len())];
        let value = random.pick(values);
        parts.push(format!("{option} {value}"));
    }
    // Where the command stands tells nothing.
    let at = random.below(parts.len());
    parts.swap(0, at);
    parts.join(" ").trim().to_owned()
}

/// What a guide demands and the tool refuses.
fn is_more(line: &str) -> bool {
    let has = |word: &str| line.split_whitespace().any(|one| one == word);
    has("--state")
        || has("--sport")
        || has("--dport")
        || has("--reply-port-src")
        || has("--icmp-type")
        || has("--srckey")
        || has("nat")
        || has("-j")
        || has("-F")
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn no_line_deletes_what_the_tool_keeps() -> Result<(), Failed> {
    crate::needs!("conntrack");
    let count = number("CONNTIDY_LINES", 300);
    let seed = number("CONNTIDY_LINES_SEED", 7);
    eprintln!("{count} lines of CONNTIDY_LINES_SEED={seed}");
    let mut random = Random(seed);
    let gateway = Gateway::new()?;
    refill()?;
    let whole: BTreeSet<FlowKey> = fixture::keys()?.into_iter().collect();
    let (mut gone, mut alike, mut refused) = (0, 0, 0);
    for number in 0..count {
        let line = line(&mut random);
        let context = format!("line {number} of seed {seed}: conntrack {line}");
        let tool = theirs(&line)?;
        let kept_by_tool: BTreeSet<FlowKey> = fixture::keys()?.into_iter().collect();
        if kept_by_tool != whole {
            refill()?;
        }
        let ran = ours(&gateway, &line)?;
        assert!(matches!(ran.code, Some(0..=2)), "{context}: {ran:?}");
        let kept: BTreeSet<FlowKey> = fixture::keys()?.into_iter().collect();
        let too_many: Vec<_> = kept_by_tool.difference(&kept).take(3).collect();
        // A tool that refuses the line keeps everything.
        let demanded = tool.code == Some(2) && is_more(&line);
        assert!(
            too_many.is_empty() || demanded,
            "{context}: {too_many:?}\nours: {ran:?}\ntheirs: {tool:?}"
        );
        gone += u64::from(kept != whole);
        alike += u64::from(kept == kept_by_tool);
        refused += u64::from(ran.code == Some(2));
        if kept != whole {
            refill()?;
        }
    }
    eprintln!("{gone} deleted something, {refused} were refused, {alike} left the same table");
    assert!(gone > count / 20, "the lines delete too little to tell");
    Ok(())
}
