//! Module, privilege, namespace: whether the table can be reached at all, and which one it is.

use super::{Finding, Seen, Verdict};
use crate::kernel::capability::{Access, Capabilities};
use crate::kernel::namespace::Setting;

const MODULES: &[&str] = &[
    "`modprobe nf_conntrack`, and `nf_conntrack` in a file under /etc/modules-load.d for the next boot",
    "a firewall rule that uses connection tracking loads it too",
];

pub(super) fn findings(seen: &Seen) -> Vec<Finding> {
    vec![
        module(seen),
        ctnetlink(&seen.capabilities.ctnetlink),
        namespace(seen),
    ]
}

fn module(seen: &Seen) -> Finding {
    let name = ("kernel", "nf_conntrack");
    if seen.header.conntrack {
        return Finding::new(name, Verdict::Good, "connection tracking is there", &[]);
    }
    if !seen.proc_sys {
        return Finding::new(
            name,
            Verdict::Missing,
            "/proc/sys/net is not there, so nothing can be told",
            &["mount /proc whole: systemd's `ProcSubset=pid` hides it"],
        );
    }
    Finding::new(
        name,
        Verdict::Missing,
        "not loaded: there is no table, and no tunables; looking does not load it",
        MODULES,
    )
}

fn ctnetlink(access: &Access) -> Finding {
    let name = ("kernel", "ctnetlink");
    match access {
        Access::Granted => Finding::new(name, Verdict::Good, "answers, with CAP_NET_ADMIN", &[]),
        Access::Denied => Finding::new(
            name,
            Verdict::Missing,
            "CAP_NET_ADMIN is missing in the user namespace that owns this network namespace: the \
             table can neither be read nor changed",
            &[
                "run as root",
                "in a unit: `AmbientCapabilities=CAP_NET_ADMIN`, and no `PrivateUsers=yes`",
                "in a container: `--cap-add NET_ADMIN`",
            ],
        ),
        Access::NotLoaded => Finding::new(
            name,
            Verdict::Note,
            "not asked: asking would load nf_conntrack",
            &[],
        ),
        Access::NetlinkNotLoaded => Finding::new(
            name,
            Verdict::Warning,
            "nf_conntrack_netlink is not loaded, and asking would load it, so it is not asked; \
             `plan` waits for it, `apply` has the kernel load it where that is allowed",
            &["`modprobe nf_conntrack_netlink`, and the same in a file under /etc/modules-load.d"],
        ),
        Access::Absent => Finding::new(
            name,
            Verdict::Missing,
            "this kernel has no ctnetlink, or may not load it",
            &["a kernel with CONFIG_NF_CT_NETLINK; `modprobe nf_conntrack_netlink` says why not"],
        ),
        Access::Failed(error) => Finding::new(name, Verdict::Missing, error.clone(), &[]),
    }
}

fn namespace(seen: &Seen) -> Finding {
    let name = ("namespace", "netns");
    let netns = &seen.header.netns;
    let only_loopback = seen
        .links
        .as_ref()
        .is_some_and(|links| links.iter().all(|link| link == "lo"));
    if only_loopback && !netns.initial {
        return Finding::new(
            name,
            Verdict::Warning,
            format!(
                "{} has no interface but `lo`: {}",
                netns.name,
                match seen.header.count {
                    Some(0) => "everything succeeds here, on an empty table".to_owned(),
                    Some(count) => format!("its table is not the network's, with {count} entries"),
                    None => "its table is not the network's".to_owned(),
                }
            ),
            &[
                "in a unit: `PrivateNetwork=no`, or `NetworkNamespacePath=` for the one that is meant",
                "`--netns NAME` works in another one; `ip netns list` lists the names",
            ],
        );
    }
    let interfaces = seen
        .links
        .as_ref()
        .map_or_else(String::new, |links| format!(", with {}", links.join(", ")));
    let says = if netns.initial {
        format!("the initial network namespace{interfaces}")
    } else {
        format!(
            "{}, not the initial network namespace{interfaces}: the table's size is set there",
            netns.name
        )
    };
    Finding::new(name, Verdict::Good, says, &[])
}

/// Whether a private user namespace can be made, which `rehearse` needs.
pub(super) fn rehearse(capabilities: &Capabilities) -> Finding {
    let name = ("rehearse", "user-namespaces");
    // The other settings are for those without privilege only.
    let forbidden = capabilities.userns_forbidden_by.filter(|setting| {
        !capabilities.sys_admin
            || matches!(
                setting,
                Setting::MaxUserNamespaces | Setting::MaxNetNamespaces
            )
    });
    match forbidden {
        None => Finding::new(
            name,
            Verdict::Good,
            "no known setting forbids them: `conntidy rehearse` needs no root",
            &[],
        ),
        Some(setting) => Finding::new(
            name,
            Verdict::Warning,
            format!("{setting}: `conntidy rehearse` does not work here"),
            &[&format!(
                "`sysctl -w {}={}`, or another machine: a rehearsal needs nothing of this one",
                setting.name(),
                setting.allowing()
            )],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(forbidden: Option<Setting>, sys_admin: bool) -> Capabilities {
        Capabilities {
            netns: None,
            net_admin: true,
            sys_admin,
            ctnetlink: Access::Granted,
            read_only_sysctl: false,
            userns_forbidden_by: forbidden,
        }
    }

    fn seen(access: Access, links: &[&str], initial: bool) -> Seen {
        let mut header = crate::observe::Header {
            conntrack: access != Access::NotLoaded,
            ..crate::observe::Header::default()
        };
        header.netns.initial = initial;
        Seen {
            capabilities: Capabilities {
                ctnetlink: access,
                ..capabilities(None, true)
            },
            header,
            links: Some(links.iter().map(|&link| link.to_owned()).collect()),
            nft: None,
            proc_sys: true,
        }
    }

    #[test]
    fn a_missing_module_is_named_once_with_its_way_out() {
        let findings = findings(&seen(Access::NotLoaded, &["lo", "eth0"], true));
        let missing: Vec<_> = findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Missing)
            .collect();
        assert_eq!(missing.len(), 1);
        assert!(missing[0].way_out[0].contains("modprobe nf_conntrack"));
    }

    #[test]
    fn a_missing_ctnetlink_is_no_hindrance_since_apply_loads_it() {
        let finding = ctnetlink(&Access::NetlinkNotLoaded);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.way_out[0].contains("modprobe nf_conntrack_netlink"));
    }

    #[test]
    fn a_namespace_with_loopback_alone_is_suspicious_but_not_the_initial_one() {
        let private = namespace(&seen(Access::Granted, &["lo"], false));
        assert_eq!(private.verdict, Verdict::Warning);
        assert!(private.way_out[0].contains("PrivateNetwork"));
        let initial = namespace(&seen(Access::Granted, &["lo"], true));
        assert_eq!(initial.verdict, Verdict::Good);
        let used = namespace(&seen(Access::Granted, &["lo", "wan0"], false));
        assert_eq!(used.verdict, Verdict::Good);
    }

    #[test]
    fn a_table_is_called_empty_only_where_it_is() {
        let mut seen = seen(Access::Granted, &["lo"], false);
        for (count, empty) in [(Some(0), true), (Some(276), false), (None, false)] {
            seen.header.count = count;
            let says = namespace(&seen).says;
            assert_eq!(says.contains("empty"), empty, "{says}");
        }
        seen.header.count = Some(276);
        assert!(namespace(&seen).says.contains("276 entries"));
    }

    #[test]
    fn root_is_kept_from_rehearsing_by_the_settings_that_concern_root_only() {
        let clone = Some(Setting::UnprivilegedClone);
        let max = Some(Setting::MaxUserNamespaces);
        assert_eq!(rehearse(&capabilities(clone, true)).verdict, Verdict::Good);
        assert_eq!(
            rehearse(&capabilities(clone, false)).verdict,
            Verdict::Warning
        );
        assert_eq!(rehearse(&capabilities(max, true)).verdict, Verdict::Warning);
    }
}
