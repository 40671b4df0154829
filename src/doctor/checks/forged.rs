//! Forged sources that come in as trusted ones. The firewall accepts what is trusted, and asks no gate.

use ipnet::IpNet;

use crate::config::shell_word;
use crate::doctor::facts::{Facts, ReversePath};
use crate::doctor::finding::{Finding, Subject};

/// IPv4 alone: for IPv6 the kernel has no such check.
pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let trusted: Vec<_> = subject.config.inspect.trusted.iter().filter(|net| can_be_forged(net)).collect();
    let all = &subject.config.inspect.trusted;
    let mut open: Vec<(&ReversePath, Vec<String>)> = Vec::new();
    for path in facts.reverse_paths.iter().filter(|path| path.in_force() != STRICT) {
        // Those who are trusted anyway forge nothing that would help them.
        if !facts.routes.leads_elsewhere(&path.interface, all) {
            continue;
        }
        let others =
            |net: &IpNet| facts.routes.towards(net).iter().any(|interface| *interface != path.interface);
        let nets: Vec<_> =
            trusted.iter().filter(|net| others(net)).map(|net| net.trunc().to_string()).collect();
        if !nets.is_empty() {
            open.push((path, nets));
        }
    }
    open.first().map(|(_, nets)| finding(facts, &open, nets)).into_iter().collect()
}

fn finding(facts: &Facts, open: &[(&ReversePath, Vec<String>)], nets: &[String]) -> Finding {
    let interfaces: Vec<_> = open
        .iter()
        .map(|(path, _)| match path.in_force() {
            0 => format!("{} (rp_filter is 0, off)", path.interface),
            other => format!("{} (rp_filter is {other}, loose)", path.interface),
        })
        .collect();
    let text = format!(
        "the trusted {} is not behind {}, and packets that come from there with such a source are accepted: a sender \
         that forges it reaches the PBX over UDP without a knock. If answers to a sender may leave by another interface than its packets come \
         in by, use a rule that drops this source there instead",
        nets.join(", "),
        interfaces.join(" and ")
    );
    let lines = settings(facts, open);
    let mend = format!("printf '%s\\n' {} > {FILE} && sysctl -p {FILE}", lines.join(" "));
    Finding::warning("forged-trusted", text).mend(mend)
}

/// Lines of sysctl that make it strict there, and leave it as it is elsewhere: what is in force is the larger of the
/// interface's own value and that of all.
fn settings(facts: &Facts, open: &[(&ReversePath, Vec<String>)]) -> Vec<String> {
    let is_open = |path: &ReversePath| open.iter().any(|(open, _)| open.interface == path.interface);
    let loose_for_all = facts.reverse_paths.iter().any(|path| path.of_all > STRICT);
    let mut lines = Vec::new();
    if loose_for_all {
        lines.push(key("all", 0));
    }
    for path in &facts.reverse_paths {
        if is_open(path) {
            lines.push(key(&path.interface, STRICT));
        } else if loose_for_all && path.own != path.in_force() {
            lines.push(key(&path.interface, path.in_force()));
        }
    }
    lines
}

/// With slashes, since names may have dots (sysctl.d(5)).
fn key(interface: &str, value: u8) -> String {
    shell_word(format!("net/ipv4/conf/{interface}/rp_filter={value}"))
}

/// Packets with a source of loopback, or of no host, the kernel drops itself.
fn can_be_forged(net: &IpNet) -> bool {
    let IpNet::V4(net) = net else { return false };
    let loopback = net.addr().is_loopback() && net.prefix_len() >= 8;
    !loopback && !net.addr().is_multicast()
}

/// Documentation/networking/ip-sysctl.rst: what comes in by another interface than answers go out by is dropped.
const STRICT: u8 = 1;

/// Read at each start, after the distribution's.
const FILE: &str = "/etc/sysctl.d/90-sipknock-rp-filter.conf";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};
    use crate::firewall::{Plan, Routes};

    fn path(interface: &str, own: u8, of_all: u8) -> ReversePath {
        ReversePath { interface: interface.to_owned(), own, of_all }
    }

    /// A default route and 203.0.113.0/24 by wan, 10.1.0.0/16 by lan, 10.8.0.0/24 by a tunnel.
    #[cfg(target_endian = "little")]
    fn routes() -> Routes {
        Routes::parse(
            "wan\t00000000\t010071CB\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             wan\t007100CB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
             lan\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
             wg0.5\t0000080A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
            "",
        )
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn interfaces_by_which_forged_sources_come_in() {
        let lan = "10.1.0.0/16";
        let wan = "net/ipv4/conf/wan/rp_filter=1";
        let all_loose = [path("lan", 0, 2), path("wan", 0, 2), path("wg0.5", 2, 2)];
        for (name, trusted, paths, expected) in [
            ("off", &[lan][..], &[path("lan", 1, 0), path("wan", 0, 0)][..], &[wan][..]),
            ("loose", &[lan], &[path("wan", 2, 0)], &[wan]),
            ("strict of its own", &[lan], &[path("wan", 1, 0)], &[]),
            ("strict by all", &[lan], &[path("wan", 0, 1)], &[]),
            (
                "loose by all, which is more",
                &[lan],
                &[path("wan", 1, 2)],
                &["net/ipv4/conf/all/rp_filter=0", wan],
            ),
            (
                "the rest stays as it is",
                &[lan],
                &all_loose,
                &[
                    "net/ipv4/conf/all/rp_filter=0",
                    "net/ipv4/conf/lan/rp_filter=2",
                    wan,
                    "net/ipv4/conf/wg0.5/rp_filter=1",
                ],
            ),
            ("all that is behind it is trusted", &[lan], &[path("lan", 0, 0)], &[]),
            ("it comes by the same interface", &["198.51.100.0/24"], &[path("wan", 0, 0)], &[]),
            ("a part of it is elsewhere", &["10.0.0.0/8"], &[path("wan", 0, 0)], &[wan]),
            ("a tunnel to others", &[lan], &[path("wg0.5", 0, 0)], &["net/ipv4/conf/wg0.5/rp_filter=1"]),
            ("a tunnel that is trusted", &[lan, "10.8.0.0/24"], &[path("wg0.5", 0, 0)], &[]),
            ("everybody is trusted", &["0.0.0.0/0"], &[path("wan", 0, 0)], &[]),
            ("nobody is trusted", &[], &[path("wan", 0, 0)], &[]),
            ("loopback is trusted", &["127.0.0.0/8", "127.0.0.1"], &[path("wan", 0, 0)], &[]),
            ("IPv6 is trusted", &["2001:db8::/32"], &[path("wan", 0, 0)], &[]),
            ("no interfaces are known", &[lan], &[], &[]),
        ] {
            let nets: Vec<_> = trusted.iter().map(|net| format!("{net:?}")).collect();
            let text = format!("[inspect]\ntrusted = [{}]\n", nets.join(", "));
            let config = Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap();
            let facts = Facts { routes: routes(), reverse_paths: paths.to_vec(), ..Facts::default() };
            let found = check(Subject { config: &config, plan: &Plan::default() }, &facts);
            let mend = found.first().and_then(|finding| finding.mend.clone()).unwrap_or_default();
            let set: Vec<_> = mend.split(' ').filter(|word| word.contains("rp_filter=")).collect();
            assert_eq!(set, expected, "{name}: {found:#?}");
            assert!(found.len() <= 1, "{name}");
        }
    }
}
