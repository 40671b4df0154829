//! Reassembly of IP fragments, as Linux does it in front of INPUT.
//!
//! IPv4 follows net/ipv4/ip_fragment.c, IPv6 net/ipv6/netfilter/nf_conntrack_reasm.c, both with the queue of
//! net/ipv4/inet_fragment.c, all as of Linux 5.4 and later and with their default limits. A fragment that overlaps another one ends
//! its datagram (RFC 5722, which Linux applies to IPv4 too); one that lies inside what is there is a duplicate and
//! ignored. No crate does it: `etherparse`'s pool lets a later fragment overwrite an earlier one, and has no bound.

mod datagram;
mod fragment;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use datagram::{Datagram, DefragStep};
use fragment::{FragmentPart, Id};

use crate::inspect::Scope;
use crate::packet::{Flow, Packet};
use crate::time::Time;

/// Datagrams that are not whole yet.
///
/// The rule of eviction is the kernel's, *newcomers are refused*: beyond 4 MiB of a family, with what the kernel charges
/// beside a fragment's bytes, no fragment of it is taken until others have run out.
#[derive(Debug)]
pub struct Defrag {
    scope: Scope,
    datagrams: HashMap<Id, Datagram, ahash::RandomState>,
    /// When each was begun, the oldest first. Those that have ended are passed over.
    begun: VecDeque<(Time, Id, u64)>,
    serial: u64,
    /// Bytes charged, of IPv4 and of IPv6.
    charged: [usize; 2],
    /// IPv4 sources with datagrams that are not whole: fragments so far, datagrams.
    peers: HashMap<Ipv4Addr, (u32, u32), ahash::RandomState>,
    refused: usize,
    incomplete: u64,
}

/// The fate of a packet in front of INPUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defragged {
    /// INPUT sees it as it is: no fragment, or one that Linux does not put together with others.
    Alone,
    /// A fragment of a datagram that is not whole, or was given up: INPUT does not see it.
    Withheld,
    /// The fragment completes this datagram.
    Whole(Vec<u8>),
}

impl Defrag {
    /// Without a fragment. Only lost fragments that may be for `scope` are counted.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            datagrams: HashMap::default(),
            begun: VecDeque::new(),
            serial: 0,
            charged: [0; 2],
            peers: HashMap::default(),
            refused: 0,
            incomplete: 0,
        }
    }

    /// Takes a packet that begins with its IP header.
    pub fn packet(&mut self, now: Time, bytes: &[u8]) -> Defragged {
        let Some(fragment) = FragmentPart::of(bytes).filter(|fragment| !fragment.is_cut) else {
            return Defragged::Alone;
        };
        self.expire(now);
        let id = fragment.id;
        let family = usize::from(id.is_ipv6());
        if self.charged[family] > MAX_BYTES && !self.make_room(now, family) {
            self.refused += 1;
            self.lose(id, bytes);
            return Defragged::Withheld;
        }
        if self.datagrams.get(&id).is_some_and(|datagram| is_over(id, datagram.begun, now)) {
            self.end(id);
        }
        if !self.datagrams.contains_key(&id) {
            self.begin(now, id);
        }
        let peer = self.peer(id);
        let Some(datagram) = self.datagrams.get_mut(&id) else { return Defragged::Withheld };
        let before = datagram.charged;
        if datagram.is_too_far(peer) {
            // As ip_frag_reinit does: from here on it is another one.
            let lost = std::mem::replace(datagram, Datagram::new(now, datagram.serial));
            datagram.is_too_far(peer);
            if concerns(&self.scope, id, lost.flow) {
                self.incomplete += lost.fragments;
            }
        }
        if fragment.offset == 0 {
            datagram.flow = flow_of(bytes);
        }
        let step = datagram.add(&fragment);
        self.charged[family] = (self.charged[family] + datagram.charged).saturating_sub(before);
        match step {
            DefragStep::Waits => return Defragged::Withheld,
            DefragStep::Dropped => self.lose(id, bytes),
            DefragStep::Ends => self.end(id),
            DefragStep::Passes => {
                self.end(id);
                return Defragged::Alone;
            }
            DefragStep::Whole(whole) => {
                self.remove(id);
                return Defragged::Whole(whole);
            }
        }
        Defragged::Withheld
    }

    /// Fragments so far whose datagram never became whole, those that still wait included.
    pub fn incomplete(&self) -> u64 {
        let waiting = self.datagrams.iter();
        let waiting = waiting.filter(|(id, datagram)| concerns(&self.scope, **id, datagram.flow));
        self.incomplete + waiting.map(|(_, datagram)| datagram.fragments).sum::<u64>()
    }

    fn begin(&mut self, now: Time, id: Id) {
        self.serial += 1;
        self.datagrams.insert(id, Datagram::new(now, self.serial));
        self.begun.push_back((now, id, self.serial));
        self.charged[usize::from(id.is_ipv6())] += datagram::QUEUE_CHARGE;
        if let Id::V4 { source, .. } = id {
            self.peers.entry(source).or_default().1 += 1;
        }
    }

    /// Takes a datagram out, and says what it was.
    fn remove(&mut self, id: Id) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&id)?;
        let charged = &mut self.charged[usize::from(id.is_ipv6())];
        *charged = charged.saturating_sub(datagram.charged);
        if let Id::V4 { source, .. } = id
            && let Some((_, datagrams)) = self.peers.get_mut(&source)
        {
            *datagrams = datagrams.saturating_sub(1);
            if *datagrams == 0 {
                self.peers.remove(&source);
            }
        }
        // Entries of ended datagrams are skipped when their turn comes; this bounds the list until then.
        if self.begun.len() > 2 * self.datagrams.len() + 64 {
            let datagrams = &self.datagrams;
            self.begun.retain(|(_, id, serial)| datagrams.get(id).is_some_and(|left| left.serial == *serial));
        }
        Some(datagram)
    }

    /// Takes one out that never became whole.
    fn end(&mut self, id: Id) {
        if let Some(datagram) = self.remove(id)
            && concerns(&self.scope, id, datagram.flow)
        {
            self.incomplete += datagram.fragments;
        }
    }

    /// Counts a fragment that is not taken.
    fn lose(&mut self, id: Id, bytes: &[u8]) {
        self.incomplete += u64::from(concerns(&self.scope, id, flow_of(bytes)));
    }

    /// How many fragments of a peer came since it has datagrams here, this one included.
    fn peer(&mut self, id: Id) -> u32 {
        let Id::V4 { source, .. } = id else { return 0 };
        let Some((fragments, _)) = self.peers.get_mut(&source) else { return 0 };
        *fragments = fragments.wrapping_add(1);
        *fragments
    }

    /// Ends the oldest ones whose time is up.
    fn expire(&mut self, now: Time) {
        while let Some(&(begun, id, serial)) = self.begun.front() {
            let this = self.datagrams.get(&id).filter(|datagram| datagram.serial == serial);
            let now_begun = this.map(|datagram| datagram.begun);
            if now_begun == Some(begun) && !is_over(id, begun, now) {
                return;
            }
            self.begun.pop_front();
            match now_begun {
                Some(again) if again != begun => self.begun.push_back((again, id, serial)),
                Some(_) => self.end(id),
                None => {}
            }
        }
    }

    /// Ends all whose time is up: after a clock was set back, the oldest need not be first. Not done at each fragment.
    fn make_room(&mut self, now: Time, family: usize) -> bool {
        if self.refused < self.datagrams.len() {
            return false;
        }
        self.refused = 0;
        let over = self.datagrams.iter().filter(|(id, datagram)| is_over(**id, datagram.begun, now));
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.end(id));
        self.charged[family] <= MAX_BYTES
    }
}

/// Whether what is lost may be for inspected ports. The ports are in the first fragment only.
fn concerns(scope: &Scope, id: Id, flow: Option<Flow>) -> bool {
    id.may_be_sip() && flow.is_none_or(|flow| scope.covers(flow))
}

fn flow_of(bytes: &[u8]) -> Option<Flow> {
    Packet::parse(bytes).ok()?.flow()
}

/// Whether a datagram's time is up. A fragment from long before it does not belong to it either: the clock was set back,
/// or another file begins.
fn is_over(id: Id, begun: Time, now: Time) -> bool {
    let life = if id.is_ipv6() { IPV6_LIFE } else { IPV4_LIFE };
    now.since(begun).max(begun.since(now)) >= life
}

/// `net.ipv4.ipfrag_time`.
const IPV4_LIFE: Duration = Duration::from_secs(30);

/// `net.netfilter.nf_conntrack_frag6_timeout`.
const IPV6_LIFE: Duration = Duration::from_secs(60);

/// `net.ipv4.ipfrag_high_thresh` and `net.netfilter.nf_conntrack_frag6_high_thresh`.
const MAX_BYTES: usize = 4 << 20;
