use super::*;

fn parse(line: &str) -> Result<Line, UsageError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Line::parse(&words)
}

fn refusal(line: &str) -> (u8, String) {
    let error = parse(line).unwrap_err();
    (error.code, error.to_string())
}

fn traps(line: &str) -> usize {
    parse(line).unwrap().traps.len()
}

#[test]
fn commands_tables_and_abbreviations_are_those_of_the_tool() {
    for (line, verb, table) in [
        ("-L", Verb::List, Table::Conntrack),
        ("-L c", Verb::List, Table::Conntrack),
        ("-L exp", Verb::List, Table::Expect),
        ("--dump dying", Verb::List, Table::Dying),
        ("-L u", Verb::List, Table::Unconfirmed),
        ("--count", Verb::Count, Table::Conntrack),
        ("--del -p tcp", Verb::Delete, Table::Conntrack),
        ("conntrack -L", Verb::List, Table::Conntrack),
        ("-Lo extended", Verb::List, Table::Conntrack),
        ("-Lotimestamp --prot udp", Verb::List, Table::Conntrack),
        ("", Verb::Help, Table::Conntrack),
    ] {
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.verb(), parsed.table), (verb, table), "{line}");
    }
}

#[test]
fn wrong_lines_are_refused_with_the_tools_code() {
    for (line, code, start) in [
        ("-L -D", 2, "Invalid commands combination"),
        ("-L foo", 2, "unknown type `foo'"),
        ("-D dying", 2, "Can't do that command"),
        ("-U expect", 2, "Can't do --update on expectations"),
        (
            "-U --state TIME_WAIT -m 1",
            2,
            "an entry gets a state of its protocol: say which with -p",
        ),
        (
            "-U -p tcp --state ESTABLISHED,CLOSE",
            2,
            "an entry gets one state of its protocol",
        ),
        (
            "-U -p tcp --state NEW",
            2,
            "an entry gets one state of its protocol",
        ),
        ("-L --foo", 2, "unknown option `--foo'"),
        ("-L --s 1", 2, "unknown option `--s'"),
        ("-L -p", 2, "option `-p' requires an argument"),
        ("-L -t 5", 2, "Illegal option `--timeout'"),
        ("-I -p tcp", 2, "You need to supply the `--timeout' option"),
        ("-I -p udp -t 5", 2, "you have to specify `--orig-src'"),
        ("-L -s 1.2.3.4/33", 2, "Invalid netmask"),
        ("-L -s nonsense", 2, "Invalid IP address `nonsense'"),
        ("-L -r 1.2.3.4/8", 2, "CIDR notation unavailable"),
        ("-L -s 1.2.3.4 -d ::1", 2, "mismatched address family"),
        ("-L -p nonsense", 2, "`nonsense' unsupported protocol"),
        ("-L -u nonsense", 2, "Bad parameter"),
        ("-E -e nonsense", 2, "Bad parameter"),
        ("-L -o json", 2, "Bad parameter `json'"),
        ("-L -o save,id", 1, "cannot combine save output"),
        ("-D -m foo", 1, "unexpected value 'foo'"),
        ("-D -w 65536", 1, "unexpected value '65536'"),
        ("-L -p tcp --state nonsense", 2, "unknown TCP state"),
        ("-L -p udp --state ESTABLISHED", 2, "`-p udp' has no states"),
        ("-L -p udp --icmp-type 8", 2, "`--icmp-type' says nothing"),
        ("-L -n -j", 2, "cannot specify `--src-nat'"),
        ("-L -n 1.2.3.4:", 2, "No port specified"),
        ("-L -z -p tcp", 2, "Can't use -z"),
        ("-L --mask-src 255.0.0.0", 2, "Can't use --mask-src without"),
    ] {
        let (got, message) = refusal(line);
        let message = message.replace("`--src'", "`--orig-src'");
        assert_eq!(got, code, "{line}: {message}");
        assert!(message.starts_with(start), "{line}: {message}");
    }
}

#[test]
fn treacherous_lines_are_known() {
    for line in [
        "-D -u UNREPLIED",
        "-D -u !ASSURED",
        "-D -u UNSET",
        "-U -u UNREPLIED -m 3",
        "-D -t 3600",
        "-D -p tcp -t 3600",
        "-U -t 0",
        "-U -p tcp -s 1.1.1.1 -t 0",
        "-D -s 10.1.2.3/",
        "-D -m 0/",
        "-D --dst-nat 2001:db8::99",
        "-D --dst-nat=1.2.3.4",
        "-D -n1.2.3.4",
        "-F -f ipv4",
        "-D -p tcp --dport 65616",
        "-D -p tcp --dport 80-443",
        "-D -p tcp --dport http",
        "-D -s 10.1",
        "-D -s 0x0a010203",
        "-D -s 1.1.1.1 2.2.2.2",
        "-D -p tcp --dport 80 443",
        "-D -p gre --srckey 1",
        "-D -p tcp -p udp --dport 80",
        "-I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t -1",
    ] {
        assert!(traps(line) > 0, "{line}");
    }
}

#[test]
fn harmless_lines_are_none() {
    for line in [
        "-D -p tcp foo bar",
        "-D conntrack",
        "-L -u UNREPLIED",
        "-L -p tcp 80",
        "-D --state ESTABLISHED -t 3600",
        "-F --state TIME_WAIT",
        "-D -u UNSET -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2",
        "-A -u UNSET -t 5 -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2",
        "-I -n 2001:db8::1 -t 5 -s ::1 -d ::2 -p udp --sport 1 --dport 2",
        "-D -n nat",
        "-U -p tcp -t 1",
        "-U -t 0 -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2",
        "-D -m 0x10/0xf0",
    ] {
        assert_eq!(parse(line).unwrap().traps, [], "{line}");
    }
}

#[test]
fn what_the_tool_refuses_for_no_good_reason_is_taken() {
    let line = parse("-E -e NEW,DESTROYED -n nat --orig-src 10.0.0.0/8").unwrap();
    assert_eq!(line.events, Some(Events::NEW | Events::DESTROY));
    assert_eq!(line.any_nat, Some(NatEnd::default()));
    let line = parse("-L --state established,TIME_WAIT --dport 80").unwrap();
    assert!(line.states.named.contains(&(Protocol::TCP, 7)));
    assert_eq!(line.ports.dport, Some(80));
    let line = parse("-E --state NEW,INVALID").unwrap();
    assert!(line.states.new && line.states.invalid && line.states.named.is_empty());
    assert!(parse("-C -p tcp").is_ok());
}
