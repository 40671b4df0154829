//! The rules of each family, from a [`Plan`].
//!
//! Every line is written in the form in which `iptables -S` and `iptables-save` print it back, so that what is there can
//! be compared with what should be there as text.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::listing::Listing;
use super::names::{CHAIN, CHAIN_OUT, COUNTER, REASSEMBLY};
use super::note::FirewallNote;
use super::path::Stranger;
use super::plan::{DEFAULT_PARENT, Family, Plan, PlanError};
use super::routes::Routes;
use crate::packet::Transport;

/// The rules of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    family: Family,
    jumps: Vec<Placed>,
    inbound: Vec<String>,
    outbound: Vec<String>,
    counters: Vec<Placed>,
    strangers: Vec<Stranger>,
    notes: Vec<FirewallNote>,
}

/// A rule of a chain that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The chain.
    pub chain: String,
    /// The rule without `-A CHAIN ` in front.
    pub spec: String,
}

/// A part of the rules that a kernel or an iptables may lack; the rest works without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// Copies of what the PBX sends.
    Outbound,
    /// Leaving its answers out of these.
    SkipAnswers,
    /// Putting fragments together.
    Reassembly,
    /// Counting packets before the rules of others.
    Counter,
}

impl Plan {
    /// The rules of one family. `routes` tells the interface that leads to a PBX behind this machine, if the plan does
    /// not. No jumps: the family is not wanted, or the PBX has no address of it.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn ruleset(&self, family: Family, routes: &Routes) -> Result<Ruleset, PlanError> {
        self.check()?;
        let mut rules = Ruleset {
            family,
            jumps: Vec::new(),
            inbound: Vec::new(),
            outbound: Vec::new(),
            counters: Vec::new(),
            strangers: Vec::new(),
            notes: Vec::new(),
        };
        if !self.families.contains(&family) {
            rules.notes.push(FirewallNote::NotWanted);
            return Ok(rules);
        }
        let ends = self.ends(family, routes, &mut rules.notes);
        let to_ports = self.matches("--dports", &self.ports);
        let any_port = self.matches("--ports", &[&self.ports[..], &self.outbound_ports].concat());
        for chain in distinct(&self.chains) {
            let (own, to, from) = match chain.as_str() {
                DEFAULT_PARENT => (true, vec![String::new()], vec![String::new()]),
                _ => (false, ends.to.clone(), ends.from.clone()),
            };
            let counted_in = if own { DEFAULT_PARENT } else { "FORWARD" };
            for (end, ports) in pairs(&to, &to_ports) {
                rules.jumps.push(Placed { chain: chain.clone(), spec: format!("{end}{ports} -j {CHAIN}") });
                let counter =
                    Placed { chain: counted_in.to_owned(), spec: format!("{end}{ports} {COUNTER}") };
                if !rules.counters.contains(&counter) {
                    rules.counters.push(counter);
                }
            }
            if self.outbound {
                let chain = if own { "OUTPUT" } else { chain.as_str() };
                rules.jumps.extend(pairs(&from, &any_port).map(|(end, ports)| Placed {
                    chain: chain.to_owned(),
                    spec: format!("{end}{ports} -j {CHAIN_OUT}"),
                }));
            }
        }
        if rules.jumps.is_empty() {
            rules.notes = vec![FirewallNote::NoAddress];
            return Ok(rules);
        }
        rules.strangers = self.strangers();
        rules.inbound = self.inbound(family);
        if rules.jumps.iter().any(Placed::is_outbound) {
            rules.outbound = self.outbound(family);
        }
        Ok(rules)
    }

    /// The beginnings of rules for packets to a PBX behind this machine, and from it.
    fn ends(&self, family: Family, routes: &Routes, notes: &mut Vec<FirewallNote>) -> Ends {
        let mut ends = Ends { to: Vec::new(), from: Vec::new() };
        if self.chains_to_others().next().is_none() {
            return ends;
        }
        let interfaces = distinct(&self.pbx.interfaces);
        let nets: Vec<_> = distinct_nets(&self.pbx.networks, family).collect();
        if nets.is_empty() {
            ends.to.extend(interfaces.iter().map(|interface| format!("-o {interface} ")));
            ends.from.extend(interfaces.iter().map(|interface| format!("-i {interface} ")));
            return ends;
        }
        for net in nets {
            ends.to.push(format!("-d {net} "));
            let found = if interfaces.is_empty() { routes.interfaces(&net) } else { interfaces.clone() };
            if found.is_empty() && self.outbound {
                notes.push(FirewallNote::NoInterface { net });
            }
            ends.from.extend(found.iter().map(|interface| format!("-s {net} -i {interface} ")));
        }
        ends
    }

    /// Matches for all transports and ports.
    fn matches(&self, option: &str, ports: &[RangeInclusive<u16>]) -> Vec<String> {
        let lists = multiport_lists(ports);
        let of = |transport: &Transport| {
            let name = transport.name();
            lists.iter().map(|list| format!("-p {name} -m multiport {option} {list}")).collect::<Vec<_>>()
        };
        self.transports.iter().flat_map(of).collect()
    }

    /// A stranger for each range of ports and each transport, and one for each range's end.
    fn strangers(&self) -> Vec<Stranger> {
        let of = |transport| {
            self.ports.iter().flat_map(move |ports| {
                let (first, last) = (*ports.start(), *ports.end());
                let end = (first != last).then(|| Stranger::one(transport, last));
                std::iter::once(Stranger { transport, port: first, last }).chain(end)
            })
        };
        self.transports.iter().flat_map(|transport| of(*transport)).collect()
    }

    fn inbound(&self, family: Family) -> Vec<String> {
        let mut rules = per_net(&self.trusted, family, "-s", "ACCEPT");
        rules.push(self.queue_rule());
        // INPUT sees IPv4 datagrams whole.
        if family == Family::V6 || self.chains_to_others().next().is_some() {
            rules.push(REASSEMBLY.to_owned());
        }
        rules
    }

    fn outbound(&self, family: Family) -> Vec<String> {
        let mut rules = vec!["-o lo -j RETURN".to_owned()];
        rules.extend(per_net(&self.trusted, family, "-d", "RETURN"));
        if self.transports.contains(&Transport::Udp) {
            rules.push(answer(family).to_owned());
        }
        if self.transports.contains(&Transport::Tcp) {
            rules.push(NO_PUSH.to_owned());
        }
        rules.push(copy(outbound_group(*self.queues.start())));
        rules
    }

    fn queue_rule(&self) -> String {
        let (first, last) = (self.queues.start(), self.queues.end());
        // Balancing hashes both addresses and the protocol (nfqueue_hash, include/net/netfilter/nf_queue.h), so what a
        // source sends to one address over one transport stays on one queue, in order.
        let queue = if first == last {
            format!("--queue-num {first}")
        } else {
            format!("--queue-balance {first}:{last}")
        };
        let bypass = if self.bypass { " --queue-bypass" } else { "" };
        format!("-j NFQUEUE {queue}{bypass}")
    }
}

/// Beginnings of rules.
struct Ends {
    to: Vec<String>,
    from: Vec<String>,
}

impl Ruleset {
    /// Of which family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The jumps at the top of chains of table filter.
    pub fn jumps(&self) -> &[Placed] {
        &self.jumps
    }

    /// The rules of chain [`CHAIN`], without the `-A CHAIN` in front.
    pub fn inbound(&self) -> &[String] {
        &self.inbound
    }

    /// The rules of chain [`CHAIN_OUT`]; none: there is no such chain.
    pub fn outbound(&self) -> &[String] {
        &self.outbound
    }

    /// The rules without a target at the top of chains of table mangle.
    pub fn counters(&self) -> &[Placed] {
        &self.counters
    }

    /// Strangers whose packets the jumps have to meet.
    pub(super) fn strangers(&self) -> &[Stranger] {
        &self.strangers
    }

    /// Notes about these rules.
    pub fn notes(&self) -> &[FirewallNote] {
        &self.notes
    }

    /// Whether this family has none.
    pub fn is_empty(&self) -> bool {
        self.jumps.is_empty()
    }

    /// The chains of ours with their rules.
    pub(super) fn chains(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let chains = [(CHAIN, &self.inbound[..]), (CHAIN_OUT, &self.outbound[..])];
        chains.into_iter().filter(|(_, rules)| !rules.is_empty())
    }

    /// The chains that jump to ours, each once.
    pub(super) fn parents(&self) -> Vec<&str> {
        let mut parents: Vec<&str> = Vec::new();
        for jump in &self.jumps {
            if !parents.contains(&jump.chain.as_str()) {
                parents.push(&jump.chain);
            }
        }
        parents
    }

    /// The features that its rules need, each with a rule that needs it.
    pub(super) fn features(&self) -> Vec<(Feature, String)> {
        let mut features = Vec::new();
        if let Some(rule) = self.outbound.last() {
            features.push((Feature::Outbound, rule.clone()));
        }
        if self.outbound.iter().any(|rule| rule == answer(self.family)) {
            features.push((Feature::SkipAnswers, answer(self.family).to_owned()));
        }
        if self.inbound.iter().any(|rule| rule == REASSEMBLY) {
            features.push((Feature::Reassembly, REASSEMBLY.to_owned()));
        }
        if let Some(counter) = self.counters.first() {
            features.push((Feature::Counter, counter.spec.clone()));
        }
        features
    }

    /// The same rules for a kernel or an iptables without a feature.
    pub(super) fn without(mut self, feature: Feature) -> Self {
        if !self.features().iter().any(|(used, _)| *used == feature) {
            return self;
        }
        match feature {
            Feature::Outbound => {
                self.outbound.clear();
                self.jumps.retain(|jump| !jump.is_outbound());
            }
            Feature::SkipAnswers => self.outbound.retain(|rule| rule != answer(self.family)),
            Feature::Reassembly => self.inbound.retain(|rule| rule != REASSEMBLY),
            Feature::Counter => self.counters.clear(),
        }
        self.notes.push(feature.note());
        self
    }
}

impl Placed {
    /// The rule as `iptables -S` prints it.
    pub fn line(&self) -> String {
        format!("-A {} {}", self.chain, self.spec)
    }

    /// A jump to [`CHAIN_OUT`].
    pub(super) fn is_outbound(&self) -> bool {
        self.spec.ends_with(CHAIN_OUT)
    }
}

/// The matches of a jump or a counter of ours: two with the same matches are for the same packets.
pub(super) fn matched(spec: &str) -> &str {
    let end = [COUNTER, CHAIN_OUT, CHAIN].iter().find_map(|end| spec.strip_suffix(end));
    end.map_or(spec, |rest| rest.trim_end_matches("-j ").trim_end())
}

impl Feature {
    /// Whether a listing shows any use of it by us.
    pub(super) fn is_used(self, listing: &Listing) -> bool {
        let outbound = listing.rules_in("filter", CHAIN_OUT);
        match self {
            Self::Outbound => {
                listing.find("filter", CHAIN_OUT).is_some()
                    || listing.jumps().any(|jump| jump.leads_to(CHAIN_OUT))
            }
            Self::SkipAnswers => outbound.iter().any(|rule| rule.spec.contains("-m u32 ")),
            Self::Reassembly => listing.rules_in("filter", CHAIN).iter().any(|rule| rule.spec == REASSEMBLY),
            Self::Counter => listing.counters().next().is_some(),
        }
    }

    /// That it is missing.
    pub(super) fn note(self) -> FirewallNote {
        match self {
            Self::Outbound => FirewallNote::OutboundLeftOut,
            Self::SkipAnswers => FirewallNote::AnswersCopied,
            Self::Reassembly => FirewallNote::ReassemblyLeftOut,
            Self::Counter => FirewallNote::CounterLeftOut,
        }
    }

    /// The table that its rules stand in.
    pub(super) fn table(self) -> &'static str {
        if self == Self::Counter { "mangle" } else { "filter" }
    }
}

/// The NFLOG group that gets the copies of what the PBX sends, for a gate whose first queue has this number.
pub const fn outbound_group(first_queue: u16) -> u16 {
    first_queue.wrapping_add(5060)
}

fn copy(group: u16) -> String {
    format!("-j NFLOG --nflog-group {group} --nflog-size {COPIED} --nflog-threshold 1")
}

/// UDP whose payload begins with `SIP/`, which a response does and a request does not (RFC 3261, 7.2).
const fn answer(family: Family) -> &'static str {
    match family {
        Family::V4 => ANSWER_V4,
        Family::V6 => ANSWER_V6,
    }
}

/// The arguments of `--dports`, as few as possible, in the order given, each range once.
fn multiport_lists(ports: &[RangeInclusive<u16>]) -> Vec<String> {
    let mut lists = Vec::new();
    let mut list = String::new();
    let mut used = 0;
    for range in distinct(ports) {
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

/// A rule per net of the family.
fn per_net(nets: &[IpNet], family: Family, option: &str, target: &str) -> Vec<String> {
    let rule = |net: IpNet| match net.prefix_len() {
        // A prefix of length 0 is no match at all to iptables, and it prints none.
        0 => format!("-j {target}"),
        _ => format!("{option} {net} -j {target}"),
    };
    distinct_nets(nets, family).map(rule).collect()
}

/// The nets of a family, each once.
fn distinct_nets(nets: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> {
    let mut seen = HashSet::new();
    nets.iter().map(IpNet::trunc).filter(move |net| family.has(net)).filter(move |net| seen.insert(*net))
}

/// The items in their order, each once.
fn distinct<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut seen: Vec<T> = Vec::new();
    for item in items {
        if !seen.contains(item) {
            seen.push(item.clone());
        }
    }
    seen
}

fn pairs<'a>(these: &'a [String], those: &'a [String]) -> impl Iterator<Item = (&'a String, &'a String)> {
    these.iter().flat_map(|this| those.iter().map(move |that| (this, that)))
}

/// TCP segments without PSH end no message: a PBX pushes each one that it writes.
const NO_PUSH: &str = "-p tcp -m tcp ! --tcp-flags PSH PSH -j RETURN";

/// The four bytes behind a UDP header, wherever the IP header's length puts it.
const ANSWER_V4: &str = "-p udp -m u32 --u32 \"0x0>>0x16&0x3c@0x8=0x5349502f\" -j RETURN";

/// The same behind a header without extensions (the next one is UDP). With extensions the answer is copied, which costs
/// a little, and nothing else is mistaken for one.
const ANSWER_V6: &str = "-p udp -m u32 --u32 \"0x3&0xff=0x11&&0x30=0x5349502f\" -j RETURN";

/// Bytes of a packet that are copied: the header fields that matter stand in the first kilobyte of any phone's or PBX's
/// requests.
const COPIED: usize = 2048;

/// What one multiport match holds: XT_MULTI_PORTS, include/uapi/linux/netfilter/xt_multiport.h. A range takes two.
const MULTIPORT_SLOTS: usize = 15;
