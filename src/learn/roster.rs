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
    /// Every value of a part, and who sent it: of phones and of all others.
    pub(super) values: HashMap<(Kind, Box<[u8]>), Senders, ahash::RandomState>,
    /// Who was sent a REGISTER: the PBX's own requests are not a phone's.
    pub(super) registrars: BTreeSet<IpAddr>,
    /// Requests that were read.
    pub(super) requests: u64,
    /// Requests of phones for which there was no room.
    pub(super) overlooked: u64,
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
    pub(super) methods: BTreeMap<String, u64>,
    pub(super) transports: BTreeSet<&'static str>,
    pub(super) sent: BTreeMap<(Kind, Box<[u8]>), Sent>,
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
pub(super) enum Kind {
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

impl Kind {
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
            values: HashMap::default(),
            registrars: BTreeSet::new(),
            requests: 0,
            overlooked: 0,
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
        if let Some(aor) = aor(message, true).filter(|_| status < 300)
            && let Some(phone) = self.phones.get_mut(&PhoneId { aor, source: destination })
        {
            phone.registered += 1;
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
        if !known && self.phones.len() >= MAX_PHONES {
            self.overlooked += 1;
            return;
        }
        let phone = self.phones.entry(id.clone()).or_default();
        phone.requests += 1;
        phone.registers += u64::from(registers);
        phone.transports.insert(transport);
        let method = String::from_utf8_lossy(method.get(..MAX_METHOD).unwrap_or(method)).into_owned();
        if phone.methods.contains_key(&method) || phone.methods.len() < MAX_METHODS {
            *phone.methods.entry(method).or_default() += 1;
        }
        for kind in Kind::ALL {
            let (mut texts, mut all, mut more) = (BTreeSet::new(), BTreeSet::new(), false);
            kind.part().texts(message, QuotedPairs::Undone, &mut |text| {
                let folded = || match kind {
                    Kind::Instance => text.to_ascii_lowercase(),
                    Kind::DisplayName | Kind::UserAgent => text.to_vec(),
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

    fn senders(&mut self, key: &(Kind, Box<[u8]>)) -> Option<&mut Senders> {
        let room = self.values.len() < MAX_PHONES * Kind::ALL.len();
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
    pub(super) fn others(&self, id: &PhoneId, kind: Kind, in_registers: bool) -> bool {
        let set = if in_registers { &self.registering } else { &self.phones };
        let at_one_each = |v4: bool| {
            let mut sources = set.iter().map(|sender| sender.source).filter(|source| source.is_ipv4() == v4);
            sources.next().is_none_or(|first| sources.all(|source| source == first))
        };
        let one_phone = kind == Kind::Instance && at_one_each(true) && at_one_each(false);
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

/// Phones that are told apart; requests of others are counted only. At a few hundred bytes each this is some
/// megabytes.
pub const MAX_PHONES: usize = 10_000;

/// Bytes of a value; a longer one is nothing to knock with.
const MAX_VALUE: usize = 256;

/// Values of a phone, and of a message.
const MAX_VALUES: usize = 24;

/// Phones listed for a value. What more of them send is nobody's own.
const MAX_SENDERS: usize = 16;

/// Methods of a phone that are listed; SIP has some fifteen.
const MAX_METHODS: usize = 20;

const MAX_METHOD: usize = 32;
