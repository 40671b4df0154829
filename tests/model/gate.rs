//! The core, as the gate drives it.

use std::net::IpAddr;
use std::time::Duration;

use sipknock::door::{Door, DoorChange, Grant};
use sipknock::inspect::{Inspector, Mode, Policy, Renew};
use sipknock::knock::{Extent, Knock, KnockSet, Life, Part, Secret};
use sipknock::net::{Cut, NetSet, Prefixes, Source};
use sipknock::state::format::read;
use sipknock::state::records;
use sipknock::state::stamp::Stamp;
use sipknock::time::Time;
use sipknock::verdict::Verdict;

use crate::knocks::{self, palette};
use crate::message::Message;
use crate::packet::{ACK, Fragment, PSH, SYN, TCP, UDP, ip, tcp, udp};
use crate::reference::{Body, Config, Fate, SECOND};

pub(crate) struct Gate {
    core: Inspector,
    config: Config,
    /// The next connection's port.
    port: u16,
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            core: Inspector::new(policy(config), knocks(config), config.max_doors),
            config: config.clone(),
            port: 1024,
        }
    }

    pub(crate) fn packet(&mut self, now: u64, from: IpAddr, body: &Body) -> Fate {
        let mut protocol = UDP;
        let (fragment, inside) = match body {
            Body::Datagram(message) => (Fragment::Whole, udp(&message.text(), 0)),
            Body::FirstOfSegment(message) => {
                protocol = TCP;
                self.port = self.port.checked_add(1).unwrap_or(1024);
                let mut segment = tcp(self.port, 1000, ACK | PSH, &message.text());
                segment.resize(segment.len().next_multiple_of(8), b' ');
                (Fragment::First, segment)
            }
            Body::LaterOfSegment => {
                protocol = TCP;
                (Fragment::Later, b"the rest".to_vec())
            }
            Body::First(message) => {
                let mut text = message.text();
                // All fragments but the last one are of multiples of eight bytes.
                text.resize(text.len().next_multiple_of(8), b' ');
                (Fragment::First, udp(&text, 100))
            }
            Body::Later => (Fragment::Later, b"the rest".to_vec()),
            Body::Malformed => {
                let mut datagram = udp(b"1234", 0);
                datagram[4..6].copy_from_slice(&7u16.to_be_bytes());
                (Fragment::Whole, datagram)
            }
        };
        self.decide(now, &ip(from, false, protocol, fragment, &inside))
    }

    /// A connection that sends these pieces.
    pub(crate) fn stream(&mut self, now: u64, from: IpAddr, pieces: &[Vec<u8>], syn: bool) -> Vec<Fate> {
        self.port = self.port.checked_add(1).unwrap_or(1024);
        let segment = |sequence, flags, payload: &[u8]| {
            self.decide(
                now,
                &ip(from, false, TCP, Fragment::Whole, &tcp(self.port, sequence, flags, payload)),
            )
        };
        let mut sequence = 1000;
        if syn {
            segment(sequence - 1, SYN, b"");
            segment(sequence, ACK, b"");
        }
        let mut fates = Vec::new();
        for piece in pieces {
            fates.push(segment(sequence, ACK | PSH, piece));
            sequence += u32::try_from(piece.len()).unwrap();
        }
        fates
    }

    fn decide(&self, now: u64, packet: &[u8]) -> Fate {
        let decision = self.core.inspect(Time::from_nanos(now), packet);
        let names: Vec<_> = palette().iter().map(|knock| knock.name).collect();
        let name = |id| *names.iter().find(|name| **name == self.core.name(id)).expect("a known knock");
        Fate {
            accepted: decision.verdict == Verdict::Accept,
            reason: decision.reason.name(),
            knocks: decision.knocks().iter().map(|id| name(*id)).collect(),
        }
    }

    pub(crate) fn sent(&self, now: u64, to: IpAddr, message: &Message) {
        let packet = ip(to, true, UDP, Fragment::Whole, &udp(&message.text(), 0));
        self.core.outgoing(Time::from_nanos(now), &packet);
    }

    fn source(&self, address: IpAddr) -> Source {
        self.core.cut().source(address)
    }

    pub(crate) fn open(&self, now: u64, at: IpAddr, seconds: u64) -> bool {
        let now = Time::from_nanos(now);
        let source = self.source(at);
        let grant = Grant { knock: Door::by_hand(), life: Duration::from_secs(seconds), registration: None };
        let opened = !matches!(self.core.doors().knock(source, now, &[grant]), DoorChange::Refused(_));
        if opened {
            self.core.outbound().unmark(source, now);
        }
        opened
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        trusted: NetSet::new(&["10.10.1.0/24".parse().unwrap()]),
        mode: if config.monitor { Mode::Monitor } else { Mode::Enforce },
        renew: if config.renew_by_packet { Renew::Packet } else { Renew::Knock },
        outbound: config.outbound.map(Duration::from_secs),
        max_outbound: Some(config.max_outbound),
        cut: Cut::new(
            Prefixes::default(),
            config.nat64.iter().map(|prefix| format!("{prefix}/96").parse().unwrap()).collect(),
        ),
        ..Policy::default()
    }
}

impl Gate {
    pub(crate) fn close(&self, now: u64, at: IpAddr, mark: bool) {
        let (now, source) = (Time::from_nanos(now), self.source(at));
        let by_knock = self.core.doors().revoke(source, now).and_then(|revoked| revoked.by_knock);
        if mark || by_knock.is_some() {
            let life = self.core.mark_life(by_knock.unwrap_or_default());
            self.core.outbound().mark(source, now, life);
        } else {
            self.core.outbound().close(source, now);
        }
    }

    pub(crate) fn flush(&self, now: u64) {
        self.core.doors().flush(|_, _| {});
        self.core.outbound().flush(Time::from_nanos(now));
    }

    pub(crate) fn sweep(&self, now: u64) {
        let now = Time::from_nanos(now);
        self.core.doors().sweep(now);
        self.core.outbound().sweep(now);
        self.core.streams().sweep(now);
    }

    pub(crate) fn reload(&mut self, now: u64, config: &Config) {
        let next = self.core.successor(policy(config), knocks(config));
        next.take_over(config.max_doors, Time::from_nanos(now), |_, _| {});
        (self.core, self.config) = (next, config.clone());
    }

    /// Another gate with what this one has written down before so much time has passed. The wall clock is set to something
    /// else meanwhile; `None`: the machine has booted, and the wall clock is all that there is to go by.
    pub(crate) fn restarted(&self, now: u64, passed: u64, clock: Option<u64>, config: &Config) -> Self {
        let next = Self::new(config);
        let stamp = |nanos: u64, since_boot, boot| Stamp {
            wall: Time::from_nanos(nanos),
            since_boot: Duration::from_nanos(since_boot),
            boot,
        };
        let before = stamp(now, 1000 * SECOND, 7);
        let after = match clock {
            Some(clock) => stamp(clock, 1000 * SECOND + passed, 7),
            None => stamp(now + passed, 20 * SECOND, 8),
        };
        let at = || Time::from_nanos(now);
        let bytes = records::write(&self.core, &before, at, || [7; 16], Vec::new()).unwrap();
        let saved = read(&*bytes).unwrap();
        let passed = after.since(&saved.stamp);
        records::restore(&next.core, at().after(passed), &saved, passed).expect("the same prefixes");
        next
    }

    pub(crate) fn open_until(&self, at: IpAddr, now: u64) -> Option<u64> {
        let door = self.core.doors().door(self.source(at), Time::from_nanos(now))?;
        Some(door.expires.as_nanos())
    }

    pub(crate) fn called_until(&self, at: IpAddr, now: u64) -> Option<u64> {
        let source = self.source(at);
        let listed = self.core.outbound().listed(Time::from_nanos(now));
        let (_, door) = listed.into_iter().find(|(called, _)| *called == source)?;
        Some(door.expires().as_nanos())
    }

    pub(crate) fn marked_until(&self, at: IpAddr, now: u64) -> Option<u64> {
        let source = self.source(at);
        let marks = self.core.outbound().marks(Time::from_nanos(now));
        let (_, mark) = marks.into_iter().find(|(marked, _)| *marked == source)?;
        Some(mark.until.as_nanos())
    }
}

fn knocks(config: &Config) -> KnockSet {
    let palette = palette();
    let knocks = config.knocks.iter().map(|&index| {
        let knock = &palette[index];
        Knock {
            part: match knock.part {
                knocks::Part::Anywhere => Part::Anywhere,
                knocks::Part::Display => Part::FromDisplayName,
                knocks::Part::Instance => Part::ContactInstance,
                knocks::Part::Agent => Part::UserAgent,
            },
            extent: if knock.whole { Extent::Whole } else { Extent::Within },
            ignore_case: knock.ignore_case,
            methods: if knock.register_only { vec!["REGISTER".to_owned()] } else { Vec::new() },
            sources: knock.office_only.then(|| NetSet::new(&["203.0.113.0/24".parse().unwrap()])),
            door: knock.life.map_or(Life::Registration, |life| Life::Span(Duration::from_secs(life))),
            max_doors: knock.max_doors,
            ..Knock::new(knock.name, Secret::new(knock.secret.as_bytes()).unwrap(), Duration::from_secs(1))
        }
    });
    KnockSet::new(knocks.collect()).unwrap()
}
