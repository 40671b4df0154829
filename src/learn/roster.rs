//! Who sends what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::assemble::Assembler;
use crate::inspect::Scope;
use crate::knock::Part;
use crate::packet::{Body, Packet};
use crate::sip::{Message, QuotedPairs, StartLine, addresses};

/// All phones that were seen, and what they sent.
#[derive(Debug)]
pub struct Roster {
    scope: Scope,
    assembler: Assembler,
    pub(super) phones: BTreeMap<PhoneId, Phone>,
    /// Phones without an accepted registration, in the order in which they make room for others.
    leaving: BTreeMap<(Rank, u64), PhoneId>,
    /// Phones so far, for that order.
    arrivals: u64,
    /// Every value of a part, and who sent it: of phones and of all others.
    pub(super) values: HashMap<(SecretKind, Box<[u8]>), Senders, ahash::RandomState>,
    /// Who was sent a REGISTER: the PBX's own requests are not a phone's.
    pub(super) registrars: BTreeSet<IpAddr>,
    /// Requests that were read.
    pub(super) requests: u64,
    /// Requests of phones for which there was no room.
    pub(super) overlooked: u64,
    /// Strangers that made room for others.
    pub(super) forgotten: u64,
    /// Answers to REGISTERs were seen, so that a phone without a good one is none of the PBX's.
    pub(super) answers: bool,
}

/// A phone: somebody's, at some address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PhoneId {
    /// Its user: `100@pbx.example.org`.
    pub(super) aor: Box<[u8]>,
    pub(super) source: IpAddr,
}

/// What a phone has sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Phone {
    pub(super) requests: u64,
    pub(super) registers: u64,
    /// How often the PBX has said yes to a REGISTER.
    pub(super) registered: u64,
    /// Its place among those that make room, until a registration is accepted.
    leaves: Option<(Rank, u64)>,
    pub(super) methods: BTreeMap<String, u64>,
    pub(super) transports: BTreeSet<&'static str>,
    pub(super) sent: BTreeMap<(SecretKind, Box<[u8]>), Sent>,
}

/// The order in which phones without an accepted registration make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A REGISTER of it was refused.
    Refused,
    /// No REGISTER of it was answered.
    Unanswered,
}

/// How often a value was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) requests: u64,
    /// REGISTERs among them.
    pub(super) registers: u64,
    /// Messages that had another value in the same place, too.
    pub(super) beside: u64,
}

/// What may serve as a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum SecretKind {
    Instance,
    DisplayName,
    UserAgent,
}

/// Who sent a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Senders {
    pub(super) phones: BTreeSet<PhoneId>,
    /// There were more than are listed.
    pub(super) many: bool,
    /// Who sent it in a REGISTER.
    pub(super) registering: BTreeSet<PhoneId>,
}

impl SecretKind {
    pub(super) const ALL: [Self; 3] = [Self::Instance, Self::DisplayName, Self::UserAgent];

    /// Where such a knock stands.
    pub(super) fn part(self) -> Part {
        match self {
            Self::Instance => Part::ContactInstance,
            Self::DisplayName => Part::FromDisplayName,
            Self::UserAgent => Part::UserAgent,
        }
    }
}

impl Roster {
    /// An empty one that reads what is sent to these ports.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            assembler: Assembler::default(),
            phones: BTreeMap::new(),
            leaving: BTreeMap::new(),
            arrivals: 0,
            values: HashMap::default(),
            registrars: BTreeSet::new(),
            requests: 0,
            overlooked: 0,
            forgotten: 0,
            answers: false,
        }
    }

    /// Looks at a packet. Only requests to the inspected ports count, and responses from them.
    pub fn observe(&mut self, packet: &Packet<'_>) {
        let Body::Segment(segment) = packet.body else { return };
        let (to, from) = (self.scope.covers(segment.flow), self.scope.covers(segment.flow.reversed()));
        if !to && !from {
            return;
        }
        let (source, destination) = (packet.source, packet.destination);
        let transport = segment.flow.transport.name();
        let look = |roster: &mut Self, message: Message<'_>| {
            if to {
                roster.request(source, Some(destination), transport, &message);
            }
            if from {
                roster.response(destination, &message);
            }
        };
        match segment.sequence {
            None => Message::parse(segment.payload).into_iter().for_each(|message| look(self, message)),
            Some(sequence) => {
                let mut assembler = std::mem::take(&mut self.assembler);
                assembler.messages(packet, segment, sequence, |message| look(self, message));
                self.assembler = assembler;
            }
        }
    }

    /// Looks at a response that the PBX has sent to `destination`.
    pub fn response(&mut self, destination: IpAddr, message: &Message<'_>) {
        let StartLine::Response { status } = message.start() else { return };
        let to_register = message.header("CSeq").is_some_and(|value| value.ends_with(b"REGISTER"));
        if status < 200 || !to_register {
            return;
        }
        self.answers = true;
        let Some(id) = aor(message, true).map(|aor| PhoneId { aor, source: destination }) else { return };
        let Some(phone) = self.phones.get_mut(&id) else { return };
        if status < 300 {
            phone.registered += 1;
            if let Some(place) = phone.leaves.take() {
                self.leaving.remove(&place);
            }
        } else if let Some((rank @ Rank::Unanswered, number)) = phone.leaves {
            // A phone is refused first, too, and asked for its credentials: those that came first leave first.
            self.leaving.remove(&(rank, number));
            let place = (Rank::Refused, number);
            phone.leaves = Some(place);
            self.leaving.insert(place, id);
        }
    }

    /// Looks at a request. `destination` is who got it, where that is known.
    pub fn request(
        &mut self,
        source: IpAddr,
        destination: Option<IpAddr>,
        transport: &'static str,
        message: &Message<'_>,
    ) {
        let Some(method) = message.method() else { return };
        let registers = method == b"REGISTER";
        let Some(aor) = aor(message, registers) else { return };
        self.requests += 1;
        if registers
            && let Some(destination) = destination.filter(|destination| *destination != source)
            && self.registrars.len() < MAX_PHONES
        {
            self.registrars.insert(destination);
        }
        let id = PhoneId { aor, source };
        let known = self.phones.contains_key(&id);
        if !known {
            if !self.make_room() {
                self.overlooked += 1;
                return;
            }
            let place = (Rank::Unanswered, self.arrivals);
            self.arrivals += 1;
            self.leaving.insert(place, id.clone());
            self.phones.insert(id.clone(), Phone { leaves: Some(place), ..Phone::default() });
        }
        let Some(phone) = self.phones.get_mut(&id) else { return };
        phone.requests += 1;
        phone.registers += u64::from(registers);
        phone.transports.insert(transport);
        let method = String::from_utf8_lossy(method.get(..MAX_METHOD).unwrap_or(method)).into_owned();
        if phone.methods.contains_key(&method) || phone.methods.len() < MAX_METHODS {
            *phone.methods.entry(method).or_default() += 1;
        }
        for kind in SecretKind::ALL {
            let (mut texts, mut all, mut more) = (BTreeSet::new(), BTreeSet::new(), false);
            kind.part().texts(message, QuotedPairs::Undone, &mut |text| {
                let folded = || match kind {
                    SecretKind::Instance => text.to_ascii_lowercase(),
                    SecretKind::DisplayName | SecretKind::UserAgent => text.to_vec(),
                };
                // Two are enough to tell that there is more than one.
                if all.len() < 2 && text.len() <= MAX_VALUE {
                    all.insert(folded().trim_ascii().to_vec());
                }
                more |= text.len() > MAX_VALUE;
                if !text.is_empty() && text.len() <= MAX_VALUE && texts.len() < MAX_VALUES {
                    texts.insert(folded().into_boxed_slice());
                }
            });
            for text in texts {
                let key = (kind, text);
                if let Some(senders) = self.senders(&key) {
                    senders.add(&id, registers);
                }
                let Some(phone) = self.phones.get_mut(&id) else { continue };
                if phone.sent.contains_key(&key) || phone.sent.len() < MAX_VALUES {
                    let sent = phone.sent.entry(key).or_default();
                    sent.requests += 1;
                    sent.registers += u64::from(registers);
                    sent.beside += u64::from(all.len() > 1 || more);
                }
            }
        }
    }

    /// How many requests were read.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Makes room for one more phone and its values, if there is none: of those that were refused the one that came
    /// first goes, then of those that were never answered, if others were. Values that nobody else has sent go with it.
    fn make_room(&mut self) -> bool {
        while self.phones.len() >= MAX_PHONES || self.values.len() + MAX_VALUES > MAX_ALL_VALUES {
            let Some((&place, _)) = self.leaving.first_key_value() else { return false };
            if !self.answers {
                return false;
            }
            let Some(id) = self.leaving.remove(&place) else { return false };
            let Some(phone) = self.phones.remove(&id) else { continue };
            self.forgotten += 1;
            for key in phone.sent.keys() {
                let alone =
                    |senders: &Senders| !senders.many && senders.phones.iter().all(|sender| *sender == id);
                if self.values.get(key).is_some_and(alone) {
                    self.values.remove(key);
                }
            }
        }
        true
    }

    fn senders(&mut self, key: &(SecretKind, Box<[u8]>)) -> Option<&mut Senders> {
        let room = self.values.len() < MAX_ALL_VALUES;
        if !room && !self.values.contains_key(key) {
            return None;
        }
        Some(self.values.entry(key.clone()).or_default())
    }
}

impl Senders {
    fn add(&mut self, id: &PhoneId, registers: bool) {
        for (set, counts) in [(&mut self.phones, true), (&mut self.registering, registers)] {
            if counts && !set.contains(id) {
                if set.len() < MAX_SENDERS {
                    set.insert(id.clone());
                } else {
                    self.many = true;
                }
            }
        }
    }

    /// Whether somebody else sent it: another user at another address. A phone may have several accounts, and may
    /// move. An instance is one phone's (RFC 5626, 4.1), so that with one address of each family it is still that.
    pub(super) fn others(&self, id: &PhoneId, kind: SecretKind, in_registers: bool) -> bool {
        let set = if in_registers { &self.registering } else { &self.phones };
        let at_one_each = |v4: bool| {
            let mut sources = set.iter().map(|sender| sender.source).filter(|source| source.is_ipv4() == v4);
            sources.next().is_none_or(|first| sources.all(|source| source == first))
        };
        let one_phone = kind == SecretKind::Instance && at_one_each(true) && at_one_each(false);
        let differs = |other: &PhoneId| other.aor != id.aor && other.source != id.source;
        self.many || !one_phone && set.iter().any(differs)
    }
}

/// Whose request it is: `user@host`, in small letters, without scheme, port and parameters. `None` where it says nothing.
pub(super) fn aor(message: &Message<'_>, registers: bool) -> Option<Box<[u8]>> {
    let to = || message.header("To").filter(|_| registers);
    let field = to().or_else(|| message.header("From"))?;
    let uri = addresses(field).next()?.uri();
    let uri = uri.split(|byte| matches!(byte, b';' | b'?')).next().unwrap_or(uri);
    let bare = match memchr::memchr(b':', uri) {
        Some(colon) if !uri.get(..colon)?.contains(&b'@') => uri.get(colon + 1..)?,
        _ => uri,
    };
    // A port is no part of it, and an IPv6 address has colons of its own.
    let host = memchr::memrchr(b'@', bare).map_or(0, |at| at + 1);
    let in_brackets = memchr::memrchr(b']', bare).unwrap_or(host);
    let port = memchr::memchr(b':', bare.get(in_brackets..)?).map_or(bare.len(), |colon| in_brackets + colon);
    let aor = bare.get(..port)?;
    (!aor.is_empty() && aor.len() <= MAX_VALUE).then(|| aor.to_ascii_lowercase().into())
}

/// Phones that are told apart. Further ones take the place of strangers; if there are none, their requests are only
/// counted. At a few hundred bytes each this is some megabytes.
pub const MAX_PHONES: usize = 10_000;

/// Bytes of a value; a longer one is nothing to knock with.
const MAX_VALUE: usize = 256;

/// Values of all phones. Usual is one of each kind.
const MAX_ALL_VALUES: usize = MAX_PHONES * SecretKind::ALL.len();

/// Values of a phone, and of a message.
const MAX_VALUES: usize = 24;

/// Phones listed for a value. What more of them send is nobody's own.
const MAX_SENDERS: usize = 16;

/// Methods of a phone that are listed; SIP has some fifteen.
const MAX_METHODS: usize = 20;

const MAX_METHOD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Transport;

    fn roster() -> Roster {
        Roster::new(Scope { ports: vec![5060..=5060], transports: vec![Transport::Udp] })
    }

    fn register(roster: &mut Roster, number: u32, user: &str) -> IpAddr {
        let source = IpAddr::V4((0x0a00_0000 + number).into());
        let text = format!(
            "REGISTER sip:x SIP/2.0\r\nFrom: \"n{number}\" <sip:{user}@x>\r\nTo: <sip:{user}@x>\r\nUser-Agent: u{number}\r\n\r\n"
        );
        roster.request(source, None, "udp", &Message::parse(text.as_bytes()).unwrap());
        source
    }

    fn answer(roster: &mut Roster, source: IpAddr, user: &str, status: u16) {
        let text = format!("SIP/2.0 {status} X\r\nTo: <sip:{user}@x>\r\nCSeq: 1 REGISTER\r\n\r\n");
        roster.response(source, &Message::parse(text.as_bytes()).unwrap());
    }

    #[test]
    fn those_that_were_refused_make_room() {
        let mut roster = roster();
        let count = u32::try_from(MAX_PHONES).unwrap();
        let early = register(&mut roster, 0, "early");
        answer(&mut roster, early, "early", 401);
        answer(&mut roster, early, "early", 200);
        for number in 1..count + 500 {
            let source = register(&mut roster, number, "stranger");
            answer(&mut roster, source, "stranger", 401);
        }
        let late = register(&mut roster, count + 500, "late");
        answer(&mut roster, late, "late", 401);
        answer(&mut roster, late, "late", 200);
        let of = |user: &str| {
            roster.phones.iter().filter(|(id, _)| *id.aor == *format!("{user}@x").as_bytes()).count()
        };
        assert_eq!((of("early"), of("late"), roster.phones.len()), (1, 1, MAX_PHONES));
        assert_eq!((roster.forgotten, roster.overlooked), (501, 0));
        assert_eq!(roster.leaving.len(), MAX_PHONES - 2);
        assert_eq!(roster.values.len(), 2 * MAX_PHONES, "values of those that are gone are gone");
        // The next one to go is the oldest stranger.
        let (_, next) = roster.leaving.first_key_value().unwrap();
        assert_eq!(next.source, IpAddr::V4((0x0a00_0000 + 502).into()));
    }

    #[test]
    fn nobody_makes_room_if_no_answers_are_seen() {
        let mut roster = roster();
        let count = u32::try_from(MAX_PHONES).unwrap();
        (0..count + 5).for_each(|number| {
            register(&mut roster, number, "a");
        });
        assert_eq!((roster.phones.len(), roster.forgotten, roster.overlooked), (MAX_PHONES, 0, 5));
    }
}
