//! What the rules are: from a [`Plan`] to the lines of each family, and from those to text.
//!
//! Every line is written in the form in which `iptables -S` and `iptables-save` print it back, so that what
//! is there can be compared with what should be there as text.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::Serialize;

use super::programs::Programs;
use crate::packet::Transport;

/// What the firewall shall do, independent of address families and of iptables's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The ports whose packets are queued.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The transports whose packets are queued.
    pub transports: Vec<Transport>,
    /// Sources that are accepted in the kernel and never reach a queue. Both families, in any order.
    pub trusted: Vec<IpNet>,
    /// The NFQUEUE numbers.
    pub queues: RangeInclusive<u16>,
    /// Accept unchecked while nobody listens on the queue; without it the kernel drops.
    pub bypass: bool,
    /// Accept replies to what this machine started, by conntrack.
    pub replies: bool,
    /// The chain of table filter that jumps to ours: [`DEFAULT_PARENT`] for a PBX on this machine, `FORWARD`
    /// or `DOCKER-USER` for one behind it.
    pub parent: String,
}

/// An address family, which is to say: one of the two iptables programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Family {
    /// IPv4, `iptables`.
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6, `ip6tables`.
    #[serde(rename = "ipv6")]
    V6,
}

/// The rules of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    parent: String,
    jumps: Vec<String>,
    rules: Vec<String>,
}

/// Why a [`Plan`] does not make rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to inspect.
    #[error("no ports to inspect: name at least one, as in `ports = [5060]`")]
    NoPorts,
    /// Nothing to inspect.
    #[error("no transports to inspect: name \"udp\", \"tcp\" or both in `transports`")]
    NoTransports,
    /// A range whose end comes before its start.
    #[error("port range {first}-{last} is the wrong way round: write it as {last}-{first}")]
    Ports {
        /// As given.
        first: u16,
        /// As given.
        last: u16,
    },
    /// A range whose end comes before its start, or one longer than the kernel counts.
    #[error("queues {first}-{last}: give one number or a range of at most {MAX_QUEUES}, lowest first")]
    Queues {
        /// As given.
        first: u16,
        /// As given.
        last: u16,
    },
    /// Not a chain that can jump to ours.
    #[error(
        "\"{0}\" cannot be the parent chain: it takes 1 to {MAX_CHAIN_NAME} letters, digits, `_`, `.` and \
         `-`, not `-` first, and not {CHAIN} itself; the usual ones are INPUT, FORWARD and DOCKER-USER"
    )]
    Parent(String),
}

impl Plan {
    /// The rules of one family.
    ///
    /// # Errors
    /// Where the plan contradicts itself or holds what iptables cannot express.
    pub fn ruleset(&self, family: Family) -> Result<Ruleset, PlanError> {
        self.check()?;
        let dports = multiport_lists(&self.ports);
        let jumps = self
            .transports
            .iter()
            .flat_map(|transport| {
                let name = transport.name();
                dports.iter().map(move |list| format!("-p {name} -m multiport --dports {list} -j {CHAIN}"))
            })
            .collect();
        let mut rules = trusted_rules(&self.trusted, family);
        if self.replies && self.transports.contains(&Transport::Udp) {
            rules.push(REPLIES.to_owned());
        }
        rules.push(self.queue_rule());
        Ok(Ruleset { parent: self.parent.clone(), jumps, rules })
    }

    /// The commands a person would type to put the rules in, IPv4 first, one a line.
    ///
    /// The chain is filled before anything jumps to it, so that no packet meets half of it.
    ///
    /// # Errors
    /// As [`Plan::ruleset`].
    pub fn commands(&self, programs: &Programs) -> Result<String, PlanError> {
        let mut text = String::new();
        for family in Family::ALL {
            self.ruleset(family)?.write_commands(programs.of(family), &mut text);
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), PlanError> {
        if self.ports.is_empty() {
            return Err(PlanError::NoPorts);
        }
        if self.transports.is_empty() {
            return Err(PlanError::NoTransports);
        }
        if let Some(range) = self.ports.iter().find(|range| range.is_empty()) {
            return Err(PlanError::Ports { first: *range.start(), last: *range.end() });
        }
        if self.queues.is_empty() || self.queues.len() > MAX_QUEUES {
            return Err(PlanError::Queues { first: *self.queues.start(), last: *self.queues.end() });
        }
        if !is_chain_name(&self.parent) || self.parent == CHAIN {
            return Err(PlanError::Parent(self.parent.escape_debug().to_string()));
        }
        Ok(())
    }

    fn queue_rule(&self) -> String {
        let (first, last) = (self.queues.start(), self.queues.end());
        // Balancing hashes both addresses and the protocol (nfqueue_hash, include/net/netfilter/nf_queue.h),
        // so what a source sends to one address over one transport stays on one queue, in order.
        let queue = if first == last {
            format!("--queue-num {first}")
        } else {
            format!("--queue-balance {first}:{last}")
        };
        let bypass = if self.bypass { " --queue-bypass" } else { "" };
        format!("-j NFQUEUE {queue}{bypass}")
    }
}

impl Family {
    /// Both, in the order in which they are worked through.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// `IPv4` or `IPv6`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Ruleset {
    /// The chain that jumps to ours.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The jumps at the top of the parent chain, without the `-A CHAIN` in front.
    pub fn jumps(&self) -> &[String] {
        &self.jumps
    }

    /// The rules of our chain, without the `-A CHAIN` in front.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// The same rules for a kernel or an iptables without the conntrack match; `None` where they need none.
    pub fn without_replies(&self) -> Option<Self> {
        let rules: Vec<_> = self.rules.iter().filter(|rule| *rule != REPLIES).cloned().collect();
        (rules.len() < self.rules.len()).then(|| Self { rules, ..self.clone() })
    }

    /// A file to be loaded with `iptables-restore --noflush`.
    ///
    /// It is for a table without our rules: loaded a second time, it would put the jumps in a second time.
    pub fn restore_file(&self) -> String {
        let mut text = format!("*filter\n:{CHAIN} - [0:0]\n");
        for rule in &self.rules {
            put_line(&mut text, format_args!("-A {CHAIN} {rule}"));
        }
        for (jump, position) in self.jumps.iter().zip(1..) {
            put_line(&mut text, format_args!("-I {} {position} {jump}", self.parent));
        }
        text.push_str("COMMIT\n");
        text
    }

    fn write_commands(&self, program: &str, text: &mut String) {
        put_line(text, format_args!("{program} -w -N {CHAIN}"));
        for rule in &self.rules {
            put_line(text, format_args!("{program} -w -A {CHAIN} {rule}"));
        }
        for (jump, position) in self.jumps.iter().zip(1..) {
            put_line(text, format_args!("{program} -w -I {} {position} {jump}", self.parent));
        }
    }
}

/// The arguments of `--dports`, as few as possible, in the order given.
fn multiport_lists(ports: &[RangeInclusive<u16>]) -> Vec<String> {
    let mut lists = Vec::new();
    let mut list = String::new();
    let mut used = 0;
    for range in ports {
        let (first, last) = (range.start(), range.end());
        let slots = if first == last { 1 } else { 2 };
        if used + slots > MULTIPORT_SLOTS {
            lists.push(std::mem::take(&mut list));
            used = 0;
        }
        used += slots;
        let comma = if list.is_empty() { "" } else { "," };
        let range = if first == last { format!("{first}") } else { format!("{first}:{last}") };
        list.push_str(comma);
        list.push_str(&range);
    }
    if !list.is_empty() {
        lists.push(list);
    }
    lists
}

/// A rule per trusted net of the family, each net once.
fn trusted_rules(trusted: &[IpNet], family: Family) -> Vec<String> {
    let mut seen = HashSet::new();
    trusted
        .iter()
        .map(IpNet::trunc)
        .filter(|net| matches!((net, family), (IpNet::V4(_), Family::V4) | (IpNet::V6(_), Family::V6)))
        .filter(|net| seen.insert(*net))
        // A prefix of length 0 is no match at all to iptables, and it prints none.
        .map(|net| if net.prefix_len() == 0 { "-j ACCEPT".to_owned() } else { format!("-s {net} -j ACCEPT") })
        .collect()
}

/// Whether iptables takes `name` as a chain name and a restore file cannot read it as anything else.
fn is_chain_name(name: &str) -> bool {
    (1..=MAX_CHAIN_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn put_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

/// The chain that is ours, in table filter of each family.
pub const CHAIN: &str = "SIPKNOCK";

/// Where the jumps go unless told otherwise: what is bound for this machine itself.
pub const DEFAULT_PARENT: &str = "INPUT";

/// Replies to what the PBX started. The direction is what keeps a phone whose door was closed from coming in
/// on its own old flow: its packets travel in the ORIGINAL direction (iptables-extensions(8), conntrack).
///
/// Over UDP only. Conntrack picks up TCP connections in the middle (nf_conntrack_tcp_loose): a stranger connects, has
/// it forget the connection by a FIN ahead of the stream, waits until the PBX sends a keepalive, and then is who
/// replies. A PBX connects to others from a port that is not inspected.
const REPLIES: &str = "-p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT";

/// What one multiport match holds: XT_MULTI_PORTS, include/uapi/linux/netfilter/xt_multiport.h. A range takes
/// two.
const MULTIPORT_SLOTS: usize = 15;

/// The length iptables allows: XT_EXTENSION_MAXNAMELEN is 29 with the closing zero
/// (include/uapi/linux/netfilter/x_tables.h).
const MAX_CHAIN_NAME: usize = 28;

/// The kernel keeps the count in 16 bits: queues_total, include/uapi/linux/netfilter/xt_NFQUEUE.h.
const MAX_QUEUES: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_each_family() {
        let accept4 = ["-s 10.10.1.0/24 -j ACCEPT", "-s 192.0.2.7/32 -j ACCEPT"];
        let accept6 = ["-s 2001:db8:1::/48 -j ACCEPT"];
        let edit = |edit: fn(&mut Plan)| {
            let mut plan = plan();
            edit(&mut plan);
            plan
        };
        for (name, plan, v4, v6) in [
            (
                "as configured",
                plan(),
                [&accept4[..], &[REPLIES, "-j NFQUEUE --queue-num 0"]].concat(),
                [&accept6[..], &[REPLIES, "-j NFQUEUE --queue-num 0"]].concat(),
            ),
            (
                "several queues",
                edit(|plan| plan.queues = 2..=5),
                [&accept4[..], &[REPLIES, "-j NFQUEUE --queue-balance 2:5"]].concat(),
                [&accept6[..], &[REPLIES, "-j NFQUEUE --queue-balance 2:5"]].concat(),
            ),
            (
                "open on exit",
                edit(|plan| {
                    plan.queues = 0..=3;
                    plan.bypass = true;
                }),
                [&accept4[..], &[REPLIES, "-j NFQUEUE --queue-balance 0:3 --queue-bypass"]].concat(),
                [&accept6[..], &[REPLIES, "-j NFQUEUE --queue-balance 0:3 --queue-bypass"]].concat(),
            ),
            (
                "no conntrack",
                edit(|plan| plan.replies = false),
                [&accept4[..], &["-j NFQUEUE --queue-num 0"]].concat(),
                [&accept6[..], &["-j NFQUEUE --queue-num 0"]].concat(),
            ),
            (
                "a TCP connection that conntrack picks up is nobody's reply",
                edit(|plan| plan.transports = vec![Transport::Tcp]),
                [&accept4[..], &["-j NFQUEUE --queue-num 0"]].concat(),
                [&accept6[..], &["-j NFQUEUE --queue-num 0"]].concat(),
            ),
            (
                "nobody trusted",
                edit(|plan| plan.trusted.clear()),
                vec![REPLIES, "-j NFQUEUE --queue-num 0"],
                vec![REPLIES, "-j NFQUEUE --queue-num 0"],
            ),
            (
                "nets as iptables prints them",
                edit(|plan| {
                    plan.replies = false;
                    plan.trusted =
                        nets(&["10.1.2.3/8", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:DB8:0:0::1/64"]);
                }),
                vec!["-s 10.0.0.0/8 -j ACCEPT", "-j ACCEPT", "-j NFQUEUE --queue-num 0"],
                vec!["-j ACCEPT", "-s 2001:db8::/64 -j ACCEPT", "-j NFQUEUE --queue-num 0"],
            ),
        ] {
            assert_eq!(plan.ruleset(Family::V4).unwrap().rules(), v4, "{name}, IPv4");
            assert_eq!(plan.ruleset(Family::V6).unwrap().rules(), v6, "{name}, IPv6");
        }
    }

    #[test]
    fn ports_in_lists_of_at_most_15() {
        for (name, ports, lists) in [
            ("one", vec![5060..=5060], vec!["5060"]),
            ("one and a range", vec![5060..=5060, 5061..=5063], vec!["5060,5061:5063"]),
            ("15 single ports", singles(1, 15), vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"]),
            ("16 single ports", singles(1, 16), vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "16"]),
            (
                "13 and a range",
                [singles(1, 13), vec![20..=30]].concat(),
                vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,20:30"],
            ),
            (
                "14 and a range",
                [singles(1, 14), vec![20..=30]].concat(),
                vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14", "20:30"],
            ),
            ("8 ranges", (1..9).map(|n| n * 10..=n * 10 + 5).collect(), {
                vec!["10:15,20:25,30:35,40:45,50:55,60:65,70:75", "80:85"]
            }),
        ] {
            let plan = Plan { ports, ..plan() };
            let expected: Vec<_> = ["udp", "tcp"]
                .iter()
                .flat_map(|transport| {
                    lists
                        .iter()
                        .map(move |list| format!("-p {transport} -m multiport --dports {list} -j SIPKNOCK"))
                })
                .collect();
            assert_eq!(plan.ruleset(Family::V4).unwrap().jumps(), expected, "{name}");
            assert_eq!(plan.ruleset(Family::V6).unwrap().jumps(), expected, "{name}");
        }
    }

    #[test]
    fn plans_that_make_no_rules() {
        let wrong_way_round = RangeInclusive::new(5063, 5061);
        for (plan, error) in [
            (Plan { ports: vec![], ..plan() }, PlanError::NoPorts),
            (Plan { transports: vec![], ..plan() }, PlanError::NoTransports),
            (Plan { ports: vec![wrong_way_round], ..plan() }, PlanError::Ports { first: 5063, last: 5061 }),
            (Plan { queues: RangeInclusive::new(3, 0), ..plan() }, PlanError::Queues { first: 3, last: 0 }),
            (Plan { queues: 0..=u16::MAX, ..plan() }, PlanError::Queues { first: 0, last: u16::MAX }),
        ] {
            assert_eq!(plan.ruleset(Family::V4), Err(error));
        }
    }

    #[test]
    fn parent_chains() {
        for (name, fine) in [
            ("INPUT", true),
            ("DOCKER-USER", true),
            ("ufw.before_1", true),
            ("abcdefghijklmnopqrstuvwxyz12", true),
            ("abcdefghijklmnopqrstuvwxyz123", false),
            ("", false),
            ("-j", false),
            ("SIPKNOCK", false),
            ("INPUT -j ACCEPT", false),
            ("INPUT\nCOMMIT", false),
            ("ÄRGER", false),
        ] {
            let plan = Plan { parent: name.to_owned(), ..plan() };
            assert_eq!(plan.ruleset(Family::V4).is_ok(), fine, "{name:?}");
        }
    }

    #[test]
    fn only_the_replies_rule_can_be_left_out() {
        let with = plan().ruleset(Family::V4).unwrap();
        let without = Plan { replies: false, ..plan() }.ruleset(Family::V4).unwrap();
        assert_eq!(with.without_replies(), Some(without.clone()));
        assert_eq!(without.without_replies(), None);
    }

    #[test]
    fn written_as_commands() {
        let plan = Plan { transports: vec![Transport::Udp], ..plan() };
        assert_eq!(
            plan.commands(&Programs::default()).unwrap(),
            "iptables -w -N SIPKNOCK\n\
             iptables -w -A SIPKNOCK -s 10.10.1.0/24 -j ACCEPT\n\
             iptables -w -A SIPKNOCK -s 192.0.2.7/32 -j ACCEPT\n\
             iptables -w -A SIPKNOCK -p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT\n\
             iptables -w -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
             iptables -w -I INPUT 1 -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK\n\
             ip6tables -w -N SIPKNOCK\n\
             ip6tables -w -A SIPKNOCK -s 2001:db8:1::/48 -j ACCEPT\n\
             ip6tables -w -A SIPKNOCK -p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT\n\
             ip6tables -w -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
             ip6tables -w -I INPUT 1 -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK\n"
        );
    }

    #[test]
    fn written_as_restore_file() {
        let plan = Plan { parent: "FORWARD".to_owned(), replies: false, ..plan() };
        assert_eq!(
            plan.ruleset(Family::V6).unwrap().restore_file(),
            "*filter\n\
             :SIPKNOCK - [0:0]\n\
             -A SIPKNOCK -s 2001:db8:1::/48 -j ACCEPT\n\
             -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
             -I FORWARD 1 -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK\n\
             -I FORWARD 2 -p tcp -m multiport --dports 5060,5061:5063 -j SIPKNOCK\n\
             COMMIT\n"
        );
    }

    fn plan() -> Plan {
        Plan {
            ports: vec![5060..=5060, 5061..=5063],
            transports: vec![Transport::Udp, Transport::Tcp],
            trusted: nets(&["10.10.1.0/24", "2001:db8:1::/48", "192.0.2.7/32"]),
            queues: 0..=0,
            bypass: false,
            replies: true,
            parent: DEFAULT_PARENT.to_owned(),
        }
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn singles(first: u16, last: u16) -> Vec<RangeInclusive<u16>> {
        (first..=last).map(|port| port..=port).collect()
    }
}
