//! The reference: plain loops over plain lists, written from the design. It shares no code with the crate.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::doors::{Claim, Door, grant};
use crate::knocks::{Knock, Part, counts, palette};
use crate::message::{Message, Request};

/// Nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Of the palette.
    pub(crate) knocks: Vec<usize>,
    pub(crate) max_doors: usize,
    pub(crate) renew_by_packet: bool,
    pub(crate) monitor: bool,
    /// Seconds; `None`: off.
    pub(crate) outbound: Option<u64>,
    pub(crate) max_outbound: usize,
    /// The first addresses of translators' networks, of 96 bits each.
    pub(crate) nat64: Vec<&'static str>,
}

/// A packet to the inspected port, by its structure.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Datagram(Message),
    /// With the whole message in it, and more to come.
    First(Message),
    Later,
    /// Of a TCP segment, with the whole message in it.
    FirstOfSegment(Message),
    LaterOfSegment,
    /// The UDP header has a length below its own.
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) accepted: bool,
    pub(crate) reason: &'static str,
    /// Names, in the order of the configuration.
    pub(crate) knocks: Vec<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Called {
    requested: u64,
    held_until: u64,
    bindings: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    until: u64,
    life: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Reference {
    config: Config,
    doors: BTreeMap<IpAddr, Door>,
    called: BTreeMap<IpAddr, Called>,
    marks: BTreeMap<IpAddr, Mark>,
}

enum Knocked {
    Passed,
    Full,
}

impl Reference {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, doors: BTreeMap::new(), called: BTreeMap::new(), marks: BTreeMap::new() }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    fn knocks(&self) -> Vec<Knock> {
        let palette = palette();
        self.config.knocks.iter().map(|&index| palette[index].clone()).collect()
    }

    /// Decides a datagram, or a fragment.
    pub(crate) fn packet(&mut self, now: u64, from: IpAddr, body: &Body) -> Fate {
        if is_trusted(from) {
            return Fate { accepted: true, reason: "trusted", knocks: Vec::new() };
        }
        let source = self.source(from);
        let (message, stranger) = match body {
            Body::Datagram(message) | Body::First(message) => (Some(message), "no-knock"),
            Body::FirstOfSegment(message) => (Some(message), "fragment"),
            Body::Later | Body::LaterOfSegment => (None, "fragment"),
            Body::Malformed => (None, "malformed"),
        };
        let knocks: Vec<_> = match message {
            Some(message) => self.knocks().into_iter().filter(|knock| counts(knock, from, message)).collect(),
            None => Vec::new(),
        };
        let mut reason = if knocks.is_empty() {
            match self.state(source, now) {
                State::Open => "door",
                State::RunOut => "expired",
                State::None => stranger,
            }
        } else {
            let was_open = self.state(source, now) == State::Open;
            match self.knock(source, now, &knocks, message) {
                Knocked::Passed => "knock",
                Knocked::Full if was_open => "door",
                Knocked::Full => "door-limit",
            }
        };
        if reason == "door" && self.config.renew_by_packet {
            self.extend(source, now);
        }
        if !passes(reason) && self.config.outbound.is_some() && self.is_called(source, now) {
            let cut = matches!(body, Body::First(_));
            let inside = match body {
                // Nobody knows what stands in the rest of a segment.
                Body::Malformed | Body::FirstOfSegment(_) => None,
                Body::Later | Body::LaterOfSegment => Some(false),
                Body::Datagram(message) | Body::First(message) => through_outbound(message, cut),
            };
            if let Some(in_dialog) = inside {
                reason = "outbound";
                if in_dialog {
                    self.in_dialog(source, now);
                }
            }
        }
        let names = knocks.iter().map(|knock| knock.name).collect();
        Fate { accepted: passes(reason) || self.config.monitor, reason, knocks: names }
    }

    fn state(&self, source: IpAddr, now: u64) -> State {
        let Some(Door(claims)) = self.doors.get(&source) else { return State::None };
        if claims.iter().any(|claim| now < claim.until) {
            State::Open
        } else if claims.iter().any(|claim| claim.is_known(now)) {
            State::RunOut
        } else {
            State::None
        }
    }

    /// When a source's door shuts; `None` if none is open.
    pub(crate) fn open_until(&self, from: IpAddr, now: u64) -> Option<u64> {
        let source = self.source(from);
        (self.state(source, now) == State::Open).then(|| self.doors[&source].expires())
    }

    fn open_doors(&self, now: u64) -> usize {
        self.doors.keys().filter(|source| self.state(**source, now) == State::Open).count()
    }

    /// Whether there may be as many doors as are open, and as many are remembered as are known.
    pub(crate) fn has_room_for_all(&self, now: u64) -> bool {
        let known = self.doors.values().filter(|Door(claims)| claims.iter().any(|claim| claim.is_known(now)));
        self.open_doors(now) <= self.config.max_doors && known.count() <= 2 * self.config.max_doors
    }

    fn source(&self, address: IpAddr) -> IpAddr {
        source(address, &self.config)
    }

    /// Open doors with a claim of a knock, but for one source's.
    fn held_by(&self, knock: &str, but: IpAddr, now: u64) -> u32 {
        let mut held = 0;
        for (source, Door(claims)) in &self.doors {
            if *source != but && claims.iter().any(|claim| claim.knock == knock && now < claim.until) {
                held += 1;
            }
        }
        held
    }

    fn has_room(&self, knock: &Knock, source: IpAddr, now: u64) -> bool {
        knock.max_doors.is_none_or(|max| self.held_by(knock.name, source, now) < max)
    }

    fn knock(&mut self, source: IpAddr, now: u64, knocks: &[Knock], message: Option<&Message>) -> Knocked {
        let request = message.and_then(Message::request);
        let open = self.state(source, now) == State::Open;
        if !open && self.open_doors(now) >= self.config.max_doors {
            return Knocked::Full;
        }
        let mut door = self.doors.get(&source).cloned().unwrap_or_default();
        door.0.retain(|claim| claim.is_known(now));
        let grants: Vec<_> = knocks.iter().map(|knock| (knock, grant(knock, request, now))).collect();
        let any_holds = grants.iter().any(|(_, (_, end))| end.is_none());
        let mut passed = false;
        if open {
            for (knock, (_, end)) in &grants {
                if let Some(end) = end {
                    door.end(knock.name, end, now);
                    passed = true;
                }
            }
        }
        for (knock, (claim, end)) in grants {
            // A registration that ends opens a shut door for the answers, if nothing else opens it.
            if end.is_some() && (open || any_holds) {
                continue;
            }
            let holds = door.0.iter().any(|claim| claim.knock == knock.name && now < claim.until);
            if holds || self.has_room(knock, source, now) {
                door.add(claim, now);
                passed = true;
            }
        }
        if !passed {
            return Knocked::Full;
        }
        // The answers need no claim of their own while another one lasts longer.
        let others = door.0.iter().filter(|claim| now < claim.until && !claim.closing);
        if let Some(longest) = others.map(|claim| claim.until).max() {
            door.0.retain(|claim| !(now < claim.until && claim.closing && claim.until <= longest));
        }
        self.doors.insert(source, door);
        Knocked::Passed
    }

    /// Lets a packet renew the claims to a door, each by its own life.
    fn extend(&mut self, source: IpAddr, now: u64) {
        for claim in self.doors.get_mut(&source).into_iter().flat_map(|door| &mut door.0) {
            if now < claim.until && !claim.closing {
                claim.until = claim.until.max(now + claim.life);
            }
        }
    }

    /// The PBX sends a request.
    pub(crate) fn sent(&mut self, now: u64, to: IpAddr, message: &Message) {
        let (Some(life), Message::Request(request)) = (self.config.outbound, message) else { return };
        if is_trusted(to) {
            return;
        }
        let source = self.source(to);
        if let Some(mark) = self.marks.get_mut(&source).filter(|mark| now < mark.until) {
            mark.until = now + mark.life;
            return;
        }
        let method = request.method.to_ascii_uppercase();
        let begins = ["REGISTER", "OPTIONS", "INVITE", "SUBSCRIBE", "PUBLISH", "MESSAGE"];
        let opens = begins.contains(&method.as_str()) && !request.to_tag;
        let open = self.is_called(source, now);
        if !open && !opens {
            return;
        }
        if !open {
            self.called.retain(|_, called| now < called.expires());
            while self.called.len() >= self.config.max_outbound {
                let oldest = self.called.iter().min_by_key(|(source, called)| (called.requested, **source));
                let Some(oldest) = oldest.map(|(source, _)| *source) else { break };
                self.called.remove(&oldest);
            }
        }
        let called = self.called.entry(source).or_default();
        called.requested = now;
        if opens && request.method == "REGISTER" {
            let asked = u64::from(request.expires.unwrap_or(3600));
            called.bindings.retain(|_, until| now < *until);
            called.bindings.insert(request.user.to_owned(), now + asked.max(64) * SECOND);
        } else {
            called.held_until = called.held_until.max(now + life * SECOND);
        }
    }

    fn is_called(&self, source: IpAddr, now: u64) -> bool {
        self.called.get(&source).is_some_and(|called| now < called.expires())
    }

    fn in_dialog(&mut self, source: IpAddr, now: u64) {
        let life = self.config.outbound.unwrap_or_default() * SECOND;
        let Some(called) = self.called.get_mut(&source) else { return };
        let wanted = (now + life).min(called.requested + 24 * 3600 * SECOND);
        // Less than a second more is not worth a change.
        if wanted >= called.held_until + SECOND {
            called.held_until = wanted;
        }
    }

    fn mark_life(&self, life: u64) -> u64 {
        life.max(self.config.outbound.unwrap_or_default() * SECOND)
    }

    fn mark(&mut self, source: IpAddr, now: u64, life: u64) {
        let earlier = self.marks.get(&source).filter(|mark| now < mark.until);
        let life = earlier.map_or(life, |mark| mark.life.max(life));
        self.marks.insert(source, Mark { until: now + life, life });
        self.called.remove(&source);
    }

    /// Judges the segments of a connection with one message. Where a message is cut decides in which segment its knock is
    /// complete, so what is fixed is the end, and that nothing of a stranger's passes that completes a header block.
    pub(crate) fn stream(
        &mut self,
        now: u64,
        from: IpAddr,
        message: &Message,
        pieces: &[Vec<u8>],
        syn: bool,
        fates: &[Fate],
    ) -> Result<(), String> {
        let expect = |fate: &Fate, reasons: &[&str]| match reasons.contains(&fate.reason) {
            true => Ok(()),
            false => Err(format!("{} and not one of {reasons:?}", fate.reason)),
        };
        let (Some(last), Some(begin)) = (fates.last(), fates.get(..fates.len() - 1)) else {
            return Err("no segment at all".to_owned());
        };
        if is_trusted(from) {
            return fates.iter().try_for_each(|fate| expect(fate, &["trusted"]));
        }
        let source = self.source(from);
        let state = self.state(source, now);
        let stranger = match state {
            State::RunOut => "expired",
            _ => "no-knock",
        };
        let knocks: Vec<_> = self.knocks().into_iter().filter(|knock| counts(knock, from, message)).collect();
        let called = state != State::Open && self.config.outbound.is_some() && self.is_called(source, now);
        let by_door = syn || fates.iter().any(|fate| fate.reason == "door");
        if state == State::Open && self.config.renew_by_packet && by_door {
            self.extend(source, now);
        }
        if !knocks.is_empty() {
            // In pieces a plain secret may be complete before the header field of another one is.
            let names: Vec<_> = knocks.iter().map(|knock| knock.name).collect();
            let all: Vec<_> = fates.iter().flat_map(|fate| &fate.knocks).copied().collect();
            if let Some(alien) = all.iter().find(|name| !names.contains(name)) {
                return Err(format!("{alien} is not in this message"));
            }
            // A request inside a dialog counts as that where its header block is complete, if no knock is complete there.
            let body = message.request().map_or(0, |request| request.body.len());
            let block = message.text().len() - body - 1;
            let mut read = 0;
            let complete = pieces.iter().position(|piece| {
                read += piece.len();
                read >= block
            });
            let by_call = complete.and_then(|at| fates.get(at)).is_some_and(|fate| fate.reason == "outbound");
            if by_call && through_outbound(message, false) == Some(true) {
                self.in_dialog(source, now);
            }
            if all.is_empty() {
                // Nobody waits for a body behind a header block that was refused.
                let certain = |request: &Request| request.body.is_empty() || pieces.len() == 1;
                return match message.request().is_some_and(certain) {
                    false => fates
                        .iter()
                        .try_for_each(|fate| expect(fate, &[stranger, "partial", "door", "outbound"])),
                    true => Err(format!("none of {names:?} was found")),
                };
            }
            let mut knocked = Knocked::Full;
            for fate in fates.iter().filter(|fate| !fate.knocks.is_empty()) {
                let here: Vec<_> =
                    knocks.iter().filter(|knock| fate.knocks.contains(&knock.name)).cloned().collect();
                knocked = self.knock(source, now, &here, Some(message));
            }
            return match knocked {
                Knocked::Full if self.state(source, now) != State::Open => {
                    expect(last, &["door-limit", stranger, "outbound"])
                }
                Knocked::Full | Knocked::Passed => Ok(()),
            };
        }
        if state == State::Open {
            return fates.iter().try_for_each(|fate| expect(fate, &["door"]));
        }
        begin.iter().try_for_each(|fate| expect(fate, &["partial", "outbound", stranger]))?;
        let complete = matches!(message, Message::Request(_) | Message::Response);
        if called && complete {
            let plain = message.request().is_none_or(|request| !request.spelling.bare_newlines);
            let inside = through_outbound(message, false).filter(|_| plain && syn);
            if inside == Some(true) {
                self.in_dialog(source, now);
            }
            return expect(last, &[if inside.is_some() { "outbound" } else { stranger }]);
        }
        match (called, complete, syn) {
            (true, ..) => Ok(()),
            (false, true, _) | (false, false, false) => expect(last, &[stranger]),
            (false, false, true) => expect(last, &["partial", stranger]),
        }
    }

    /// `doors open`. Whether there was room.
    pub(crate) fn open(&mut self, now: u64, at: IpAddr, seconds: u64) -> bool {
        let source = self.source(at);
        let by_hand = Knock {
            name: "manual",
            secret: "",
            part: Part::Anywhere,
            whole: false,
            ignore_case: false,
            register_only: false,
            office_only: false,
            life: Some(seconds),
            max_doors: None,
        };
        let opened = matches!(self.knock(source, now, &[by_hand], None), Knocked::Passed);
        if opened {
            self.marks.remove(&source);
        }
        opened
    }

    /// `doors close`, with `--mark`.
    pub(crate) fn close(&mut self, now: u64, at: IpAddr, mark: bool) {
        let source = self.source(at);
        let Door(claims) = self.doors.remove(&source).unwrap_or_default();
        let by_knock = claims.iter().filter(|claim| claim.knock != "manual" && claim.is_known(now));
        let by_knock = by_knock.map(|claim| claim.life).max();
        if mark || by_knock.is_some() {
            self.mark(source, now, self.mark_life(by_knock.unwrap_or_default()));
        } else {
            self.called.remove(&source);
        }
    }

    /// When a source's outbound door shuts; `None` if none is open.
    pub(crate) fn called_until(&self, from: IpAddr, now: u64) -> Option<u64> {
        let called = self.called.get(&self.source(from))?;
        (now < called.expires()).then(|| called.expires())
    }

    /// When a source's mark ends; `None` if it has none.
    pub(crate) fn marked_until(&self, from: IpAddr, now: u64) -> Option<u64> {
        self.marks.get(&self.source(from)).map(|mark| mark.until).filter(|until| now < *until)
    }

    /// Another configuration, and the knocks that it has no more are gone. So are doors of what is no source any more.
    pub(crate) fn reload(&mut self, now: u64, config: Config) {
        let gone = self.gone(&config);
        self.config = config;
        self.take_out(now, now, &gone);
        self.doors.retain(|source, _| is_source(*source, &self.config));
        self.called.retain(|source, _| is_source(*source, &self.config));
    }

    fn gone(&self, config: &Config) -> Vec<&'static str> {
        let there = |name| config.knocks.iter().any(|&index| palette()[index].name == name);
        self.knocks().iter().map(|knock| knock.name).filter(|name| !there(*name)).collect()
    }

    /// Takes claims of knocks out. Sources that one of them held at `then`, or is remembered for, are marked.
    fn take_out(&mut self, then: u64, now: u64, gone: &[&str]) {
        let sources: Vec<_> = self.doors.keys().copied().collect();
        for source in sources {
            let Some(door) = self.doors.get_mut(&source) else { continue };
            let counts = |claim: &&Claim| then < claim.until || claim.is_known(now);
            let of_gone = door.0.iter().filter(|claim| gone.contains(&claim.knock));
            let life = of_gone.filter(counts).map(|claim| claim.life).max();
            door.0.retain(|claim| !gone.contains(&claim.knock));
            if let Some(life) = life {
                self.mark(source, now, self.mark_life(life));
            }
        }
    }

    /// Another gate has at `now` all that this one knew at `then`, but of outbound doors only as many as there may be, the
    /// latest.
    pub(crate) fn restart(&mut self, then: u64, now: u64, config: Config) {
        let gone = self.gone(&config);
        self.config = config;
        self.doors.retain(|source, _| is_source(*source, &self.config));
        if self.config.outbound.is_none() {
            self.called.clear();
        }
        self.called.retain(|source, called| is_source(*source, &self.config) && now < called.expires());
        let mut open: Vec<_> = self.called.iter().collect();
        open.sort_by_key(|(source, called)| (called.requested, **source));
        let stay = open.into_iter().rev().take(self.config.max_outbound);
        self.called = stay.map(|(source, called)| (*source, called.clone())).collect();
        self.take_out(then, now, &gone);
    }

    /// `doors flush`.
    pub(crate) fn flush(&mut self) {
        self.doors.clear();
        self.called.clear();
    }
}

impl Called {
    fn expires(&self) -> u64 {
        self.bindings.values().copied().fold(self.held_until, u64::max)
    }
}

/// Whether a message passes through an outbound door; if so, whether it is one inside a dialog.
fn through_outbound(message: &Message, cut: bool) -> Option<bool> {
    match message {
        Message::Response => Some(false),
        // Of a piece nobody knows what it is the beginning of.
        Message::Keepalive | Message::Noise => (!cut).then_some(false),
        Message::Request(request) => {
            let register = request.method.eq_ignore_ascii_case("REGISTER");
            (!register && request.from_tag).then_some(request.to_tag)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    RunOut,
    None,
}

fn passes(reason: &str) -> bool {
    ["trusted", "knock", "door", "outbound", "handshake", "partial"].contains(&reason)
}

fn is_trusted(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[..3] == [10, 10, 1])
}

/// An IPv4 address stands for itself, an IPv6 one for its /64, unless each address of that is somebody else's.
fn source(address: IpAddr, config: &Config) -> IpAddr {
    match address {
        IpAddr::V6(v6) if !is_shared(v6, config) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        _ => address,
    }
}

/// Whether an address is in a network that is the way of strangers to each other: a translator's, Teredo's (2001::/32),
/// link-local (fe80::/10).
fn is_shared(address: Ipv6Addr, config: &Config) -> bool {
    let bits = address.to_bits();
    // A network of 96 bits has its /64, since no /64 is cut in two.
    let translators = config.nat64.iter().map(|first| first.parse::<Ipv6Addr>().expect("an address"));
    let translated = translators.into_iter().any(|first| bits >> 64 == first.to_bits() >> 64);
    translated || bits >> 96 == 0x2001_0000 || bits >> 118 == 0xfe80 >> 6
}

/// Whether an address, or the first one of a /64, is a source.
fn is_source(first: IpAddr, config: &Config) -> bool {
    match first {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => (v6.to_bits() << 64 != 0) == is_shared(v6, config),
    }
}
