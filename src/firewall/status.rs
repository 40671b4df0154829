//! How what is there differs from what should be there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use super::difference::Difference;
use super::listing::{Listing, Rule};
use super::names::{CHAIN, CHAIN_OUT};
use super::note::FirewallNote;
use super::path::Action;
use super::plan::{Family, Plan};
use super::routes::Routes;
use super::rules::{Placed, Ruleset};

/// How the rules are, family by family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// IPv4, then IPv6.
    pub families: Vec<FamilyStatus>,
}

/// How the rules of one family are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyStatus {
    /// Which.
    pub family: Family,
    /// In one word.
    pub state: FamilyState,
    /// In detail, where the word is [`FamilyState::Differs`].
    pub differences: Vec<Difference>,
    /// The queues that our chain feeds.
    pub queues: Option<Queues>,
    /// Packets for the inspected ports, before our jumps and on them; `None` if they are not counted.
    pub counted: Option<Counted>,
    /// Our jumps, the rules of our chains and those that count, as they are there, with what they have counted.
    pub rules: Vec<CountedRule>,
    /// What else there is to know.
    pub notes: Vec<FirewallNote>,
}

/// How the rules of one family are, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyState {
    /// As configured, and before all that could take SIP.
    InPlace,
    /// There, but otherwise.
    Differs,
    /// Neither a chain nor a jump.
    Absent,
    /// Not looked at: this machine has no such family, or it is to have no rules.
    Skipped,
}

/// The queues that our chain feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// The lowest number.
    pub first: u16,
    /// The highest; the same where there is one queue.
    pub last: u16,
    /// Whether packets are accepted unchecked while nobody listens.
    pub bypass: bool,
}

/// Packets for the inspected ports, in one family, since the rules were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// That came to chain INPUT, or FORWARD, of table mangle.
    pub arrived: u64,
    /// That came to our jumps.
    pub reached: u64,
    /// The difference: taken by rules of others in between. It grows with each; a jump whose counters were zeroed since
    /// (`iptables -Z`) makes it too large by what it had counted.
    pub taken_before: u64,
}

/// A rule with its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedRule {
    /// The rule, as `iptables -S` prints it, with `-t mangle` in front if it is of that table.
    pub rule: String,
    /// Its number in its chain, counted from 1.
    pub position: usize,
    /// Packets that matched it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Status {
    /// Whether every family that this machine has is as configured.
    pub fn in_place(&self) -> bool {
        self.families.iter().all(FamilyStatus::in_place)
    }

    /// Whether strangers may get by the gate, for all that the rules show.
    pub fn lets_by(&self) -> bool {
        self.families.iter().any(FamilyStatus::lets_by)
    }
}

impl FamilyStatus {
    /// One about which nothing but the word is known.
    pub const fn new(family: Family, state: FamilyState) -> Self {
        Self {
            family,
            state,
            differences: Vec::new(),
            queues: None,
            counted: None,
            rules: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether it is as configured, or has nothing to be.
    pub const fn in_place(&self) -> bool {
        matches!(self.state, FamilyState::InPlace | FamilyState::Skipped)
    }

    /// Whether strangers may get by the gate, for all that the rules show.
    pub fn lets_by(&self) -> bool {
        self.state == FamilyState::Absent || self.differences.iter().any(Difference::lets_by)
    }

    /// Whether an apply would change something.
    pub fn is_mendable(&self) -> bool {
        self.state == FamilyState::Absent || self.differences.iter().any(Difference::is_mendable)
    }

    pub(super) fn skipped(family: Family, notes: Vec<FirewallNote>) -> Self {
        Self { notes, ..Self::new(family, FamilyState::Skipped) }
    }

    /// `around` is what is amiss beside the rules themselves.
    pub(super) fn of(listing: &Listing, wanted: &Ruleset, around: Vec<Difference>) -> Self {
        let mut differences = differences(listing, wanted);
        let found = |chain| listing.rules_in("filter", chain);
        let ours = || listing.jumps().chain(found(CHAIN)).chain(found(CHAIN_OUT));
        let there = [CHAIN, CHAIN_OUT].iter().any(|chain| listing.filter_has(chain))
            || ours().next().is_some()
            || around.iter().any(|difference| matches!(difference, Difference::OtherVariant { .. }));
        differences.extend(around);
        let state = match (differences.is_empty(), there) {
            (true, _) => FamilyState::InPlace,
            (false, true) => FamilyState::Differs,
            (false, false) => FamilyState::Absent,
        };
        if state == FamilyState::Absent {
            differences.clear();
        }
        let counters = listing.counters().map(|rule| CountedRule {
            rule: format!("-t mangle {}", rule.line()),
            ..CountedRule::from(rule)
        });
        Self {
            family: wanted.family(),
            state,
            differences,
            queues: found(CHAIN).iter().find_map(|rule| Queues::parse(&rule.spec)),
            counted: Counted::of(listing),
            rules: ours().map(CountedRule::from).chain(counters).collect(),
            notes: wanted.notes().to_vec(),
        }
    }
}

impl Counted {
    pub(super) fn of(listing: &Listing) -> Option<Self> {
        listing.counters().next()?;
        let sum = |packets: u64, rule: &Rule| packets.saturating_add(rule.packets);
        let arrived = listing.counters().fold(0, sum);
        let reached = listing.jumps().filter(|jump| jump.leads_to(CHAIN)).fold(0, sum);
        Some(Self { arrived, reached, taken_before: arrived.saturating_sub(reached) })
    }

    /// With what the jumps have counted a little later, so that a packet that was on its way between the two tables
    /// while they were read counts as none that was taken.
    pub(super) fn later(self, later: &Listing) -> Self {
        let reached = Self::of(later).map_or(self.reached, |later| later.reached);
        Self { reached, taken_before: self.arrived.saturating_sub(reached), ..self }
    }
}

impl Queues {
    /// Reads `-j NFQUEUE --queue-num 0`, `… --queue-balance 0:3 --queue-bypass`.
    fn parse(spec: &str) -> Option<Self> {
        let (_, options) = spec.split_once("-j NFQUEUE ")?;
        let mut words = options.split(' ');
        let (first, last) = match words.next()? {
            "--queue-num" => {
                let number = words.next()?;
                (number, number)
            }
            "--queue-balance" => words.next()?.split_once(':')?,
            _ => return None,
        };
        let bypass = words.any(|word| word == "--queue-bypass");
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()?, bypass })
    }
}

impl From<&Rule> for CountedRule {
    fn from(rule: &Rule) -> Self {
        Self { rule: rule.line(), position: rule.position, packets: rule.packets, bytes: rule.bytes }
    }
}

/// The differences between our rules in a listing and those wanted; none if it is as wanted.
pub(super) fn differences(listing: &Listing, wanted: &Ruleset) -> Vec<Difference> {
    let mut differences = filter_differences(listing, wanted);
    let table = |rule: String| format!("-t mangle {rule}");
    let counting: Vec<_> = listing.counters().map(Rule::canonical_line).map(table).collect();
    compare(
        &wanted.counters().iter().map(Placed::line).map(table).collect::<Vec<_>>(),
        &counting,
        &mut differences,
    );
    differences
}

/// The same of table filter.
pub(super) fn filter_differences(listing: &Listing, wanted: &Ruleset) -> Vec<Difference> {
    let mut differences = Vec::new();
    let jumps: Vec<_> = wanted.jumps().iter().map(Placed::line).collect();
    let found: Vec<_> = listing.jumps().map(Rule::canonical_line).collect();
    if compare(&jumps, &found, &mut differences) {
        for parent in wanted.parents() {
            let start = format!("-A {parent} ");
            let of_parent = |rules: &[String]| -> Vec<String> {
                rules.iter().filter(|rule| rule.starts_with(&start)).cloned().collect()
            };
            if of_parent(&jumps) != of_parent(&found) {
                differences.push(Difference::Order { chain: parent.to_owned() });
            }
        }
    }
    for (chain, wanted) in [(CHAIN, wanted.inbound()), (CHAIN_OUT, wanted.outbound())] {
        let wanted: Vec<_> = wanted.iter().map(|rule| format!("-A {chain} {rule}")).collect();
        let found: Vec<_> = listing.rules_in("filter", chain).iter().map(Rule::canonical_line).collect();
        let same = compare(&wanted, &found, &mut differences);
        if same && wanted != found {
            differences.push(Difference::Order { chain: chain.to_owned() });
        }
        if wanted.is_empty() && found.is_empty() && listing.filter_has(chain) {
            differences.push(Difference::Extra { rule: format!("-N {chain}") });
        }
    }
    differences
}

/// Tells what is missing and what is too much. Whether neither is anything.
fn compare(wanted: &[String], found: &[String], differences: &mut Vec<Difference>) -> bool {
    let (missing, extra) = (left_over(wanted, found), left_over(found, wanted));
    let same = missing.is_empty() && extra.is_empty();
    differences.extend(missing.into_iter().map(|rule| Difference::Missing { rule }));
    differences.extend(extra.into_iter().map(|rule| Difference::Extra { rule }));
    same
}

/// Rules in the way of our jumps, in their chains and on the way there.
pub(super) fn in_the_way(listing: &Listing, wanted: &Ruleset) -> Vec<Difference> {
    let mut differences = Vec::new();
    for parent in wanted.parents() {
        let jumps = wanted.jumps().iter().filter(|jump| jump.chain == parent && !jump.is_outbound());
        for jump in jumps {
            let line = jump.line();
            let there = |rule: &&Rule| rule.canonical_line() == line;
            let Some(there) = listing.rules_in("filter", parent).iter().find(there) else { continue };
            let strangers = wanted.strangers().iter().copied();
            let strangers: Vec<_> = strangers.filter(|stranger| stranger.is_met_by(&jump.spec)).collect();
            let found = match listing.ahead(parent, &|rule| rule == line, &strangers) {
                None => Difference::Unreached { chain: parent.to_owned() },
                Some(ahead) if !ahead.in_parent.is_empty() => Difference::NotFirst {
                    rule: line.clone(),
                    position: there.position,
                    before: ahead.in_parent,
                },
                Some(ahead) if !ahead.on_the_way.is_empty() => {
                    Difference::Bypassed { chain: parent.to_owned(), by: ahead.on_the_way }
                }
                Some(ahead) if !ahead.dropping.is_empty() => Difference::DroppedBefore {
                    rule: line.clone(),
                    position: there.position,
                    by: ahead.dropping,
                },
                Some(_) => continue,
            };
            // One jump of a chain tells for all.
            differences.push(found);
            break;
        }
    }
    differences
}

/// Packets for inspected ports that are sent past `pbx`.
pub(super) fn outside(listing: &Listing, wanted: &Ruleset, plan: &Plan, routes: &Routes) -> Vec<Difference> {
    let mut differences = Vec::new();
    if plan.chains_to_others().next().is_none() {
        return differences;
    }
    let met = wanted.strangers().iter().flat_map(|stranger| {
        listing.walk("nat", "PREROUTING", *stranger).into_iter().map(move |met| (met, stranger.port))
    });
    for (met, port) in met {
        let Action::Elsewhere(to) = &met.action else { continue };
        let Some((address, to_port)) = destination(to) else { continue };
        let address = IpNet::from(address);
        let nets: Vec<_> = plan.pbx.networks.iter().filter(|net| wanted.family().has(net)).collect();
        let behind = || {
            let interfaces = routes.interfaces(&address);
            interfaces.iter().any(|interface| plan.pbx.interfaces.iter().any(|pbx| is_named(interface, pbx)))
        };
        let known = if nets.is_empty() { behind() } else { nets.iter().any(|net| net.contains(&address)) };
        if !met.names_port || known && plan.inspects(to_port.unwrap_or(port)) {
            continue;
        }
        let difference =
            Difference::Outside { rule: format!("-A {} {}", met.chain, met.spec), to: to.clone() };
        if !differences.contains(&difference) {
            differences.push(difference);
        }
    }
    differences
}

/// `172.18.0.5`, `172.18.0.5:5060`, `172.18.0.5-172.18.0.9:5060`, `[fd00::5]:5060`.
fn destination(to: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = to.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    let (addresses, ports) = match to.rsplit_once(':') {
        Some((addresses, ports)) if !addresses.contains(':') || addresses.ends_with(']') => {
            (addresses, Some(ports))
        }
        _ => (to, None),
    };
    let first = addresses.split('-').next()?.trim_matches(['[', ']']);
    let port = ports.and_then(|ports| ports.split('-').next()?.parse().ok());
    Some((first.parse().ok()?, port))
}

/// Whether an interface is the one named; a `+` at the end of the name stands for any rest.
fn is_named(interface: &str, name: &str) -> bool {
    name.strip_suffix('+').map_or(interface == name, |start| interface.starts_with(start))
}

/// What is in `these` more often than in `those`.
fn left_over(these: &[String], those: &[String]) -> Vec<String> {
    let mut counts: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for line in those {
        *counts.entry(Cow::from(line)).or_default() += 1;
    }
    let unmatched = |line: &&String| match counts.get_mut(line.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    these.iter().filter(unmatched).cloned().collect()
}
