//! Who listens for SIP, and whether the rules are on the way there.

use std::net::IpAddr;

use crate::doctor::facts::{Facts, Listener, OtherListener};
use crate::doctor::finding::{Finding, Subject};
use crate::firewall::Family;
use crate::firewall::path::{Action, Stranger};
use crate::packet::Transport;

pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    // Behind FORWARD the PBX is in another network namespace or on another machine.
    let found = match subject.plan.guards_input() {
        true => [uninspected(subject, facts), unmatched(subject, facts)].concat(),
        false => past_the_rules(subject, facts),
    };
    // A socket for each family is one listener to whoever reads this.
    let mut once: Vec<Finding> = Vec::new();
    for finding in found {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once
}

fn inspected(subject: Subject<'_>, listener: &Listener) -> bool {
    subject.plan.transports.contains(&listener.transport) && subject.plan.inspects(listener.port)
}

/// Sockets for SIP that packets reach by INPUT without a rule of ours.
fn uninspected(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let config = subject.config;
    let mut found = Vec::new();
    if !facts.listeners.iter().any(|listener| inspected(subject, listener)) {
        let text = "nothing listens on an inspected port: the PBX is not up, or it uses others";
        found.push(Finding::warning("nobody-listens", text).mend("ss -lnptu"));
    }
    for listener in &facts.listeners {
        let (transport, port) = (listener.transport, listener.port);
        let process = listener.process.as_deref();
        let pbx = process.is_some_and(is_pbx);
        if inspected(subject, listener) || !may_be_sip(listener) {
            continue;
        }
        let who = process.unwrap_or("a process that can't be seen");
        let what = format!("{who} listens on {} port {port}, which is not inspected", transport.name());
        let key = match config.inspect.scope.transports.contains(&transport) {
            true => format!("add {port} to `ports`"),
            false => format!("add \"{}\" to `transports`", transport.name()),
        };
        found.push(if is_tls(listener) {
            // Where no knock can be seen, leaving it out may be what is meant.
            Finding::note("tls-port", format!("{what}; inside TLS no knock can be seen: see the guide"))
        } else if pbx {
            Finding::fault(NOT_INSPECTED, format!("{what}: strangers reach it")).mend(subject.edit(&key))
        } else {
            let text = format!("{what}; if that is SIP, strangers reach it");
            Finding::warning(NOT_INSPECTED, text).mend(subject.edit(&key))
        });
    }
    found
}

/// Sockets on inspected ports, or of a PBX, that packets reach over a transport for which there are no rules.
fn unmatched(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for OtherListener { protocol, port, process, v6 } in &facts.others {
        let pbx = process.as_deref().is_some_and(is_pbx);
        let of_sip = pbx && SIP_PORTS.iter().any(|ports| ports.contains(port));
        if !of_sip && !subject.plan.inspects(*port) {
            continue;
        }
        // A socket for IPv6 mostly takes both.
        let reached = facts.tables.iter().filter(|tables| *v6 || tables.family == Family::V4);
        let open: Vec<_> =
            reached.clone().filter(|tables| !tables.ours.shuts_out(&protocol.protocol(), *port)).collect();
        if open.is_empty() && reached.count() > 0 {
            continue;
        }
        let who = process.as_deref().unwrap_or("a process that can't be seen");
        let text = format!(
            "{who} listens on {} port {port}: no rule of ours is for {}, and the gate does not read it, so strangers reach it \
             without a knock; switch it off there, or drop it and keep that rule with your own",
            protocol.name(),
            protocol.name()
        );
        let [name, _] = protocol.protocol();
        let families: Vec<_> = match open.is_empty() {
            true => vec![Family::V4, Family::V6],
            false => open.iter().map(|tables| tables.family).collect(),
        };
        let rules: Vec<_> = families
            .into_iter()
            .map(|family| {
                let program = if family == Family::V4 { "iptables" } else { "ip6tables" };
                format!("{program} -I INPUT -p {name} -m multiport --dports {port} -j DROP")
            })
            .collect();
        let finding = if pbx { Finding::fault } else { Finding::warning };
        found.push(finding(UNMATCHED, text).mend(rules.join(" && ")));
    }
    found
}

/// Sockets on inspected ports of a machine whose rules are in FORWARD and the like alone.
fn past_the_rules(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for listener in facts.listeners.iter().filter(|listener| inspected(subject, listener)) {
        let (transport, port) = (listener.transport, listener.port);
        let process = listener.process.as_deref();
        let proxy = process.is_some_and(|name| name.starts_with(DOCKER_PROXY));
        // It is sent to the container before it could come to that socket.
        if proxy && is_sent_elsewhere(facts, listener) || listener.v6 && !has_ipv6(facts) {
            continue;
        }
        let who = process.unwrap_or("a process that can't be seen");
        let mut text = format!(
            "{who} listens on {} port {port} of this machine: packets for it come by INPUT, where no rules of ours are",
            transport.name()
        );
        if proxy {
            text.push_str(", and it passes them on to the container with an address of its own");
        }
        let chains: Vec<_> = subject.plan.chains.iter().map(|chain| format!("{chain:?}")).collect();
        let mend = subject.edit(&format!("[firewall] chains = [\"INPUT\", {}]", chains.join(", ")));
        let severe = proxy || process.is_some_and(is_pbx);
        found.push(if severe { Finding::fault(PAST, text) } else { Finding::warning(PAST, text) }.mend(mend));
    }
    found
}

fn is_sent_elsewhere(facts: &Facts, listener: &Listener) -> bool {
    let family = if listener.v6 { Family::V6 } else { Family::V4 };
    let stranger = Stranger::one(listener.transport, listener.port);
    let tables = facts.tables.iter().filter(|tables| tables.family == family);
    let mut met = tables.flat_map(|tables| tables.ours.walk("nat", "PREROUTING", stranger));
    met.any(|met| matches!(met.action, Action::Elsewhere(_)))
}

/// Whether this machine has an address that others reach over IPv6.
fn has_ipv6(facts: &Facts) -> bool {
    facts.own_addresses.iter().any(|address| matches!(address, IpAddr::V6(v6) if !v6.is_loopback()))
}

/// Whether a process of this name is a PBX or an SBC.
pub(crate) fn is_pbx(name: &str) -> bool {
    PBX.iter().chain(&SIP_ALONE).any(|pbx| name.starts_with(pbx))
}

/// Whether a socket is one for SIP, as far as a port and a name tell.
pub(crate) fn may_be_sip(listener: &Listener) -> bool {
    let Listener { transport, port, process, .. } = listener;
    if SIP_PORTS.iter().any(|ports| ports.contains(port)) {
        return true;
    }
    let Some(name) = process.as_deref() else { return false };
    // What these have open over UDP is for SIP; over TCP there may be something to control them by.
    let alone = SIP_ALONE.iter().any(|pbx| name.starts_with(pbx)) && *transport == Transport::Udp;
    alone || is_pbx(name) && MOVED_PORTS.iter().any(|ports| ports.contains(port))
}

/// Whether SIP on that port is inside TLS, where no knock can be seen.
pub(crate) fn is_tls(listener: &Listener) -> bool {
    listener.transport == Transport::Tcp && TLS_PORTS.contains(&listener.port)
}

const NOT_INSPECTED: &str = "port-not-inspected";
const PAST: &str = "listens-past-rules";
const UNMATCHED: &str = "transport-not-matched";

/// Docker's process that listens in a container's place, as the kernel cuts its name.
const DOCKER_PROXY: &str = "docker-proxy";

/// Where PBXs listen for SIP: 5060 and those after it, FreeSWITCH's 5080, and FreePBX's second driver.
const SIP_PORTS: [std::ops::RangeInclusive<u16>; 2] = [5060..=5099, 5160..=5199];

/// Where the owner of a PBX moves SIP to, away from scanners; without ports that a PBX has for something else (IAX2: 4569,
/// MGCP: 2727, Unistim: 5000, DUNDi: 4520, fax: 4000 to 4999, media: 10000 to 20000).
const MOVED_PORTS: [std::ops::RangeInclusive<u16>; 4] = [5001..=5059, 5100..=6999, 7060..=7069, 8060..=8069];

/// SIP over TLS (RFC 3261, 19.1.2), FreeSWITCH's, and FreePBX's second driver.
const TLS_PORTS: [u16; 3] = [5061, 5081, 5161];

/// Names of processes that are PBXs or SBCs. The kernel cuts names to 15 letters.
const PBX: [&str; 5] = ["asterisk", "freeswitch", "yate", "sems", "rtpengine"];

/// The same for those that speak SIP and nothing else over UDP.
const SIP_ALONE: [&str; 5] = ["kamailio", "opensips", "drachtio", "sippy", "repro"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};
    use crate::doctor::Severity;
    use crate::doctor::facts::Tables;
    use crate::firewall::{Listing, Plan};

    fn listener(transport: Transport, port: u16, process: &str) -> Listener {
        Listener { transport, port, process: Some(process.to_owned()), v6: false }
    }

    fn find(facts: &Facts, chains: &[&str]) -> Vec<(String, Severity)> {
        let config = Config::parse("", Path::new("x.toml"), &Flags::default()).unwrap();
        let plan =
            Plan { chains: chains.iter().map(|chain| (*chain).to_owned()).collect(), ..Plan::default() };
        let found = check(Subject { config: &config, plan: &plan }, facts);
        found.into_iter().map(|finding| (finding.name, finding.severity)).collect()
    }

    #[test]
    fn ports_of_a_pbx_that_are_not_inspected() {
        use Transport::{Tcp, Udp};
        let fault = Some((NOT_INSPECTED, Severity::Fault));
        for (transport, port, process, expected) in [
            (Udp, 5060, "asterisk", None),
            (Udp, 5160, "asterisk", fault),
            (Tcp, 5160, "asterisk", fault),
            (Udp, 5260, "asterisk", fault),
            (Udp, 6060, "freeswitch", fault),
            (Udp, 6060, "python3", None),
            (Udp, 5070, "python3", Some((NOT_INSPECTED, Severity::Warning))),
            (Udp, 4569, "asterisk", None),
            (Udp, 5000, "asterisk", None),
            (Udp, 4520, "asterisk", None),
            (Tcp, 8088, "asterisk", None),
            (Udp, 12_060, "asterisk", None),
            (Udp, 12_060, "kamailio", fault),
            (Udp, 12_060, "opensips", fault),
            (Tcp, 8080, "kamailio", None),
            (Tcp, 5061, "asterisk", Some(("tls-port", Severity::Note))),
        ] {
            let listeners = vec![listener(Udp, 5060, "asterisk"), listener(transport, port, process)];
            let found = find(&Facts { listeners, ..Facts::default() }, &["INPUT"]);
            let expected: Vec<_> = expected.into_iter().map(|(name, how)| (name.to_owned(), how)).collect();
            assert_eq!(found, expected, "{process} on {port}");
        }
    }

    #[test]
    fn transports_that_no_rule_matches() {
        use crate::doctor::facts::Other::{Sctp, UdpLite};
        let listener = |protocol, port, process: &str| OtherListener {
            protocol,
            port,
            process: Some(process.to_owned()),
            v6: false,
        };
        let (fault, warning) = (Some(Severity::Fault), Some(Severity::Warning));
        let drop = |rule: &str| format!("*filter\n:INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        let ours = "-A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK";
        for (name, listener, rules, chains, expected) in [
            ("a PBX", listener(Sctp, 5060, "kamailio"), drop(ours), "INPUT", fault),
            ("whatever it is", listener(UdpLite, 5060, "python3"), drop(ours), "INPUT", warning),
            ("a PBX on another port of SIP's", listener(Sctp, 5061, "kamailio"), drop(ours), "INPUT", fault),
            ("a PBX on a port of media", listener(UdpLite, 12_000, "asterisk"), drop(ours), "INPUT", None),
            ("another port", listener(Sctp, 38_412, "amf"), drop(ours), "INPUT", None),
            ("a PBX elsewhere", listener(Sctp, 5060, "kamailio"), drop(ours), "FORWARD", None),
            (
                "it is dropped",
                listener(UdpLite, 5060, "kamailio"),
                drop("-A INPUT -p udplite -m multiport --dports 5060 -j DROP"),
                "INPUT",
                None,
            ),
            (
                "by its number",
                listener(Sctp, 5060, "kamailio"),
                drop("-A INPUT -p 132 -j DROP"),
                "INPUT",
                None,
            ),
            (
                "another port of it is dropped",
                listener(Sctp, 5060, "kamailio"),
                drop("-A INPUT -p sctp -m sctp --dport 5061 -j DROP"),
                "INPUT",
                fault,
            ),
            (
                "it is accepted before",
                listener(Sctp, 5060, "kamailio"),
                drop("-A INPUT -p sctp -j ACCEPT\n-A INPUT -p sctp -j DROP"),
                "INPUT",
                fault,
            ),
            (
                "another one is dropped",
                listener(Sctp, 5060, "kamailio"),
                drop("-A INPUT -p udplite -j DROP\n-A INPUT -p udp -j DROP"),
                "INPUT",
                fault,
            ),
            (
                "all is dropped that nobody accepts",
                listener(Sctp, 5060, "kamailio"),
                "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n"
                    .to_owned(),
                "INPUT",
                None,
            ),
            ("rules can't be seen", listener(Sctp, 5060, "kamailio"), String::new(), "INPUT", fault),
        ] {
            let tables = match rules.is_empty() {
                true => vec![],
                false => vec![Tables { family: Family::V4, ours: Listing::parse(&rules), other: None }],
            };
            let listeners = vec![self::listener(Transport::Udp, 5060, "asterisk")];
            let facts = Facts { others: vec![listener], listeners, tables, ..Facts::default() };
            let found: Vec<_> =
                find(&facts, &[chains]).into_iter().filter(|(name, _)| name == UNMATCHED).collect();
            let expected: Vec<_> = expected.into_iter().map(|how| (UNMATCHED.to_owned(), how)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn listeners_that_forward_leaves_out() {
        let nat = "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
                   -A DOCKER ! -i br-1 -p udp -m udp --dport 5060 -j DNAT --to-destination 172.17.0.2:5060\nCOMMIT\n";
        let tables = |family, text| Tables { family, ours: Listing::parse(text), other: None };
        let v6 = |listener: Listener| Listener { v6: true, ..listener };
        let udp = |process| listener(Transport::Udp, 5060, process);
        let fault = Some(Severity::Fault);
        for (name, listener, ipv6, chains, expected) in [
            ("sent to the container before", udp("docker-proxy"), true, &["DOCKER-USER"][..], None),
            ("over IPv6", v6(udp("docker-proxy")), true, &["DOCKER-USER"], fault),
            ("over IPv6, which there is not", v6(udp("docker-proxy")), false, &["DOCKER-USER"], None),
            (
                "over a transport that nobody sends on",
                listener(Transport::Tcp, 5060, "docker-proxy"),
                true,
                &["FORWARD"],
                fault,
            ),
            ("a PBX on the router", udp("asterisk"), true, &["FORWARD"], fault),
            ("whatever it is", udp("python3"), true, &["FORWARD"], Some(Severity::Warning)),
            ("another port", listener(Transport::Udp, 5062, "asterisk"), true, &["FORWARD"], None),
            ("rules in INPUT, too", v6(udp("docker-proxy")), true, &["INPUT", "DOCKER-USER"], None),
        ] {
            let facts = Facts {
                listeners: vec![listener],
                tables: vec![tables(Family::V4, nat), tables(Family::V6, "")],
                own_addresses: if ipv6 { vec!["2001:db8::1".parse().unwrap()] } else { vec![] },
                ..Facts::default()
            };
            let found: Vec<_> = find(&facts, chains).into_iter().filter(|(name, _)| name == PAST).collect();
            let expected: Vec<_> = expected.into_iter().map(|severity| (PAST.to_owned(), severity)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
