//! A safe start: everything passes until the phones have knocked.
//!
//! Queue threads hand over the packets that matter once their verdicts have left: REGISTERs over UDP, what may be part of
//! one over TCP, and knocks. A thread of its own reads them, so that nothing waits for it. It also keeps the record by which
//! the next process goes on.

mod record;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::control::protocol::GraceStats;
use crate::daemon::context::Live;
use crate::daemon::observers::grace::record::GraceRecord;
use crate::daemon::observers::packet_tap::{PacketTap, TapFilter, TappedPacket};
use crate::door::Door;
use crate::event::{Event, GraceEvent as Told, printable_parts};
use crate::inspect::{Decision, Inspector};
use crate::learn::judge::is_scanner;
use crate::learn::{Assembler, Census, Excuse, PassesBy, Register, Silent, Tally};
use crate::packet::{Body, Packet};
use crate::sip::{Message, addresses};
use crate::time::Time;
use crate::verdict::Reason;

/// The time in which a gate lets everything pass, and what it has seen in it.
#[derive(Debug)]
pub(in crate::daemon) struct Grace {
    shared: Arc<GraceState>,
    gate: Live,
    clock: Clock,
    began: Time,
    ends: Time,
    phase: Mutex<Phase>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything passes.
    Running,
    /// The time is up, and everything still passes.
    Held,
    /// Strangers are dropped, or somebody has configured that they are not.
    Over,
}

#[derive(Debug)]
struct GraceState {
    census: Mutex<Census>,
    /// Somebody still wants to know.
    wanted: AtomicBool,
    /// REGISTERs that came too fast, without credentials and with them.
    missed: [AtomicU64; 2],
    hasher: ahash::RandomState,
}

impl Grace {
    /// Begins, or goes on with what a record says. Its thread ends when all taps are gone.
    pub(in crate::daemon) fn begin(
        span: Duration,
        file: Option<PathBuf>,
        gate: &Live,
        clock: Clock,
    ) -> io::Result<(Self, PacketTap)> {
        let shared = Arc::new(GraceState {
            census: Mutex::default(),
            wanted: AtomicBool::new(true),
            missed: Default::default(),
            hasher: ahash::RandomState::new(),
        });
        let (tap, packets) = PacketTap::new(Arc::clone(&shared) as Arc<dyn TapFilter>);
        let began = clock.now();
        let mut record = file.map(|file| GraceRecord::open(file, began));
        let mut ends = began.after(span);
        if let Some(record) = &mut record {
            ends = began.after(span.saturating_sub(record.spent(began)));
            let (challenged, phones) = record.take_phones();
            let gate = gate.load();
            let phones = phones.into_iter().map(|phone| (gate.cut().source(phone.address), phone));
            shared.census().restore(challenged, phones);
        }
        let observe = {
            let (gate, shared) = (Arc::clone(gate), Arc::clone(&shared));
            move || observe(&packets, &gate, clock, &shared, record)
        };
        thread::Builder::new().name("grace".to_owned()).spawn(observe)?;
        let phase = Mutex::new(Phase::Running);
        Ok((Self { shared, gate: Arc::clone(gate), clock, began, ends, phase }, tap))
    }

    /// Its length from the start of this process.
    pub(in crate::daemon) fn length(&self) -> Duration {
        self.ends.since(self.began)
    }

    /// Whether everything passes because of it.
    pub(in crate::daemon) fn lasts(&self) -> bool {
        *self.phase() != Phase::Over
    }

    /// Does what is due: calls `enforce` if the time is up and all phones have knocked.
    pub(in crate::daemon) fn look(&self, enforce: impl FnOnce(), tell: &dyn Fn(Event)) {
        if *self.phase() != Phase::Running || self.clock.now() < self.ends {
            return;
        }
        let tally = self.tally();
        if tally.ready() {
            enforce();
            return;
        }
        *self.phase() = Phase::Held;
        let unready = tally.unready.len() as u64;
        for phone in tally.unready.into_iter().take(MAX_LISTED) {
            tell(Event::Grace(Told::Unready(phone)));
        }
        tell(Event::Grace(Told::Held {
            phones: tally.phones,
            unready,
            unlisted: unready.saturating_sub(MAX_LISTED as u64),
            overlooked: tally.overlooked,
        }));
    }

    /// Strangers are dropped from here on. Says so, and returns the phones that have not knocked as text.
    pub(in crate::daemon) fn enforced(&self, tell: &dyn Fn(Event)) -> Vec<String> {
        let Tally { phones, unready, .. } = self.end();
        let count = unready.len();
        tell(Event::Grace(Told::Enforced { phones, unready: count as u64 }));
        let mut notes: Vec<_> = unready
            .into_iter()
            .take(MAX_LISTED)
            .map(|phone| {
                let agent = phone.user_agent.map(|agent| format!(", {agent}")).unwrap_or_default();
                let passes = match phone.passes {
                    Some(PassesBy::Door(name)) => {
                        format!("; it passes by a door of {name}, while that is open")
                    }
                    Some(PassesBy::Outbound) => {
                        "; it passes while the PBX calls it, and can't register".to_owned()
                    }
                    None => String::new(),
                };
                format!("{} ({}{agent}) has registered and not knocked{passes}", phone.address, phone.user)
            })
            .collect();
        if count > MAX_LISTED {
            notes.push(format!("so have {} more", count - MAX_LISTED));
        }
        notes
    }

    /// Ends it without a word, and says what it came to.
    pub(in crate::daemon) fn end(&self) -> Tally {
        *self.phase() = Phase::Over;
        let tally = self.tally();
        self.shared.wanted.store(false, Ordering::Relaxed);
        *self.shared.census() = Census::default();
        tally
    }

    /// For those who ask how it is; `None` where it is over.
    pub(in crate::daemon) fn stats(&self) -> Option<GraceStats> {
        if !self.lasts() {
            return None;
        }
        let tally = self.tally();
        Some(GraceStats {
            left_s: self.ends.since(self.clock.now()).as_secs(),
            phones: tally.phones,
            unready: tally.unready.len() as u64,
            borrowed: tally.unready.iter().filter(|phone| phone.passes.is_some()).count() as u64,
            overlooked: tally.overlooked,
        })
    }

    fn tally(&self) -> Tally {
        let gate = self.gate.load();
        let now = self.clock.now();
        let excuse = |Silent { address, source, alone }| {
            if gate.trusts(address) {
                return Excuse::Ready;
            }
            if let Some(listed) = gate.doors().look(source, now) {
                // One of before the start says that somebody has knocked, who is this phone if there is no other.
                let by_knock = listed.held_by(now).iter().any(|held| held.knock != Door::by_hand());
                let of_before = listed.door.opened < self.began && by_knock;
                return match alone && of_before {
                    true => Excuse::Ready,
                    false => Excuse::Passes(PassesBy::Door(gate.name(listed.door.knock).to_owned())),
                };
            }
            match gate.outbound().admits(source, now) {
                true => Excuse::Passes(PassesBy::Outbound),
                false => Excuse::None,
            }
        };
        let [plain, shown] = &self.shared.missed;
        let mut census = self.shared.census();
        census.missed(plain.swap(0, Ordering::Relaxed), shown.swap(0, Ordering::Relaxed));
        census.tally(excuse)
    }

    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GraceState {
    fn census(&self) -> std::sync::MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TapFilter for GraceState {
    fn wants(&self, decision: &Decision, packet: &[u8], knocked: bool) -> bool {
        if decision.reason == Reason::Trusted || !self.wanted.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(packet) = Packet::parse(packet) else { return false };
        let Body::Segment(segment) = packet.body else { return false };
        let wanted = match segment.sequence {
            None => is_register(segment.payload),
            Some(sequence) => sequence.length > 0,
        };
        wanted || knocked
    }

    fn missed(&self, packet: &[u8]) {
        let Ok(packet) = Packet::parse(packet) else { return };
        let Body::Segment(segment) = packet.body else { return };
        let [plain, shown] = &self.missed;
        let kind = if has_credentials(segment.payload) { shown } else { plain };
        kind.fetch_add(1, Ordering::Relaxed);
    }
}

fn observe(
    packets: &Receiver<TappedPacket>,
    gate: &Live,
    clock: Clock,
    shared: &GraceState,
    mut record: Option<GraceRecord>,
) {
    let mut messages = Assembler::default();
    // Flows whose knock came in a segment that completed no message.
    let mut knocking: HashSet<(IpAddr, u16), ahash::RandomState> = HashSet::default();
    loop {
        let next = packets.recv_timeout(record::INTERVAL);
        let wanted = shared.wanted.load(Ordering::Relaxed);
        let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
        if let Some(record) = &mut record {
            record.look(wanted, ended, clock.now(), || shared.census().known());
        }
        if ended {
            return;
        }
        let Some(TappedPacket { bytes, knocked }) = next.ok().filter(|_| wanted) else { continue };
        let Ok(packet) = Packet::parse(&bytes) else { continue };
        let Body::Segment(segment) = packet.body else { continue };
        let (gate, now) = (gate.load(), clock.now());
        let flow = (packet.source, segment.flow.source_port);
        let knocked = knocked || knocking.remove(&flow);
        let mut seen = false;
        messages.visit(&packet, |message| {
            seen = true;
            count(&gate, now, packet.source, &message, knocked, shared);
        });
        if knocked && !seen && segment.sequence.is_some() && knocking.len() < MAX_KNOCKING {
            knocking.insert(flow);
        }
    }
}

/// A message, and whether it has a knock.
fn count(
    gate: &Inspector,
    now: Time,
    address: IpAddr,
    message: &Message<'_>,
    knocked: bool,
    shared: &GraceState,
) {
    let source = gate.cut().source(address);
    let Some(asked) = message.registration() else {
        // A phone that calls has its own user in From.
        let from = message.header("From").and_then(|value| addresses(value).next());
        if let Some(from) = from.filter(|_| knocked) {
            let [user] =
                printable_parts(gate.knocks(), message.bytes(), [Some(user_of(from.uri()))], MAX_TEXT);
            shared.census().knocked(source, user.as_deref().unwrap_or_default());
        }
        return;
    };
    let user_agent = message.header("User-Agent");
    let scanner = [user_agent, message.header("From")].into_iter().flatten().any(is_scanner);
    if asked.expires == 0 || scanner {
        return;
    }
    let [user, user_agent] =
        printable_parts(gate.knocks(), message.bytes(), [Some(user_of(asked.aor)), user_agent], MAX_TEXT);
    let identity = (message.header("Call-ID"), message.header("CSeq"));
    shared.census().register(
        now,
        &Register {
            address,
            source,
            user: user.as_deref().unwrap_or_default(),
            user_agent: user_agent.as_deref(),
            credentials: has_credentials(message.block()),
            knocked,
            request: shared.hasher.hash_one(identity),
        },
    );
}

/// `100@pbx` of `sip:100@pbx`, which is what every one of them begins with.
fn user_of(uri: &[u8]) -> &[u8] {
    uri.iter().position(|byte| *byte == b':').and_then(|colon| uri.get(colon + 1..)).unwrap_or(uri)
}

/// As far as the start of a datagram tells; blank lines may come before it (RFC 3261, 7.5).
fn is_register(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"REGISTER ")
}

/// Whether a header block has an Authorization or Proxy-Authorization that answers a challenge. Some phones send one
/// without a nonce before they are asked (3GPP TS 24.229, 5.1.1.2).
fn has_credentials(block: &[u8]) -> bool {
    let Some(message) = Message::parse(block) else { return false };
    let answers =
        |value: &[u8]| !value.windows(EMPTY_NONCE.len()).any(|part| part.eq_ignore_ascii_case(EMPTY_NONCE));
    ["Authorization", "Proxy-Authorization"].iter().any(|name| message.headers_named(name).any(answers))
}

const EMPTY_NONCE: &[u8] = b"nonce=\"\"";

/// Flows in the middle of a message that has a knock: each has an open door.
const MAX_KNOCKING: usize = 1024;

/// Phones that are listed one by one: as many as somebody reads.
const MAX_LISTED: usize = 50;

/// Characters of a user and of a User-Agent.
const MAX_TEXT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_from_what_comes_before_the_challenge() {
        for (headers, expected) in [
            ("", false),
            (
                "Authorization: Digest username=\"100\", realm=\"pbx\", nonce=\"4f\", response=\"ab\"\r\n",
                true,
            ),
            ("authorization:Digest nonce=\"4f\"\r\n", true),
            ("Proxy-Authorization: Digest nonce=\"4f\"\r\n", true),
            ("Authorization: Bearer abc\r\n", true),
            ("Authorization: Digest username=\"1\", NONCE=\"\", response=\"\"\r\n", false),
            ("X-Authorization: Digest nonce=\"4f\"\r\n", false),
        ] {
            let block = format!("REGISTER sip:pbx SIP/2.0\r\nTo: <sip:100@pbx>\r\n{headers}\r\n");
            assert_eq!(has_credentials(block.as_bytes()), expected, "{headers}");
            assert!(is_register(block.as_bytes()));
        }
        assert!(is_register(b"\r\n\r\nREGISTER sip:pbx SIP/2.0"));
        assert!(!is_register(b"OPTIONS sip:pbx SIP/2.0"));
        assert!(!has_credentials(b"no message at all"));
    }
}
