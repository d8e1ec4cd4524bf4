//! `-h` and `-V`.

use std::io::{self, Write};

use super::Stop;
use super::stop::TOOL;
use crate::conntrack::options::known_to;
use crate::conntrack::print::protocol_name;
use crate::flow::Protocol;

const HELP: &str = "\
conntidy conntrack: the conntrack tool's command line, with its output, counts and exit codes.
Usage: conntrack COMMAND [TABLE] [OPTIONS]

  conntrack -L [-p tcp --dport 443] [-o extended,id]   list, narrowed by any option below
  conntrack -C [--state ESTABLISHED]                   count
  conntrack -G -p tcp -s A -d B --sport 1 --dport 2    one entry by its tuple
  conntrack -D -s 192.0.2.7                            delete what matches, and show it
  conntrack -D --state ESTABLISHED -t 3600             delete what is proven idle for an hour
  conntrack -F [--state TIME_WAIT]                     delete everything, or what matches
  conntrack -I -p udp -s A -d B --sport 1 --dport 2 -t 60    make an entry; -A: or change it
  conntrack -U -s A -m 5                               change what matches
  conntrack -E [-e NEW,DESTROY] [-n nat]               events until interrupted
  conntrack -S                                         counters of each processor
  conntrack -L -o save > file; conntrack -R file       keep a table, and make its entries again

Tables: conntrack (the default), expect, dying, unconfirmed; any start of the name will do.

Narrowing:
  -s, -d, --src, --dst ADDRESS[/LENGTH]   original direction; --mask-src, --mask-dst: any bits
  -r, -q, --reply-src, --reply-dst ADDRESS
  -p, --protonum PROTOCOL                 adds the protocol's options (-h -p tcp shows them)
  --state STATE[,STATE]                   of any protocol without -p; also NEW, INVALID
  --sport, --dport PORT                   of any protocol without -p
  -f, --family ipv4|ipv6
  -n, -g, -j [ADDRESS[:PORT]]             translated source, destination, either; `-n nat`: either
  -u, --status LIST                       ASSURED SEEN_REPLY FIXED_TIMEOUT EXPECTED OFFLOAD HW_OFFLOAD;
                                          on -L also UNREPLIED, UNSET and !X
  -m, --mark VALUE[/MASK]    -i, --id ID    -l, --label LIST
  -w, --zone N    --orig-zone N    --reply-zone N

Making and changing:
  -t, --timeout SECONDS    -u LIST    -m VALUE[/MASK]    -n, -g ADDRESS[:PORT]
  --label-add LIST    --label-del [LIST]

Other:
  -o, --output LIST     xml extended id timestamp ktimestamp labels save
  -e, --event-mask LIST    ALL NEW UPDATES DESTROY
  -b, --buffer-size BYTES  room for events that wait
  -z, --zero            set counters to zero while listing
  --labelmap FILE       names of labels, instead of /etc/xtables/connlabel.conf
  --like-conntrack      take treacherous lines as the conntrack tool does
";

pub(super) fn version() -> Result<u8, Stop> {
    writeln!(io::stdout(), "{TOOL}")?;
    Ok(0)
}

pub(super) fn help(protocol: Option<Protocol>) -> Result<u8, Stop> {
    let mut out = io::stdout().lock();
    write!(out, "{HELP}")?;
    if let Some(protocol) = protocol {
        let known = known_to(protocol);
        writeln!(out, "\nOptions of {}:", protocol_name(protocol))?;
        for option in known.iter() {
            writeln!(out, "  --{}", crate::conntrack::options::name(option))?;
        }
        if known.is_empty() {
            writeln!(out, "  none")?;
        }
    }
    Ok(0)
}
