//! Which phones have registered, and which of them would be shut out.
//!
//! Only packets towards the PBX are seen, never its answers. So that somebody has registered is inferred:
//!
//! - A REGISTER with credentials is what a phone sends once the PBX has asked for them (RFC 3261, 22.1). Where nobody
//!   sends any, the PBX seems to ask nobody, and a REGISTER without them counts.
//! - It has to *settle*: whoever is refused asks again at once, whoever was let in is quiet for a while. Somebody most of
//!   whose REGISTERs did not settle is guessing.
//! - What calls itself a known scanner is none, and neither is what takes a registration back.
//!
//! A phone has knocked if a message of its user had a knock. That another phone of the same source has, or that a door is open
//! for another reason, lets it pass for as long as that lasts: it is not ready, and what it passes by is told.
//!
//! A phone that is refused and gives up looks like one that got in, and so does somebody who guesses slowly. Both are
//! listed where they have no knock: it errs on the side on which nobody is shut out unasked.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::net::Source;
use crate::time::Time;

/// Phones that registered, and users that knocked.
#[derive(Debug, Default)]
pub struct Census {
    phones: HashMap<(Source, Box<str>), CountedPhone, ahash::RandomState>,
    /// Users whose knock came in another message than their REGISTER.
    knocked: HashSet<(Source, Box<str>), ahash::RandomState>,
    /// Somebody has sent credentials, so that the PBX asks for them.
    challenged: bool,
    purged: Time,
    forgotten: Forgotten,
}

/// A REGISTER that came in.
#[derive(Clone, Debug)]
pub struct Register<'a> {
    /// From where.
    pub address: IpAddr,
    /// The source that makes.
    pub source: Source,
    /// Whose registration it is, as text for people.
    pub user: &'a str,
    /// The User-Agent, as text for people.
    pub user_agent: Option<&'a str>,
    /// It has credentials.
    pub credentials: bool,
    /// It has a knock.
    pub knocked: bool,
    /// The same for each time that one and the same request is sent.
    pub request: u64,
}

/// A phone that registered and has not knocked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unready {
    /// From where.
    pub address: IpAddr,
    /// Its user.
    pub user: String,
    /// What it says it is.
    pub user_agent: Option<String>,
    /// By what it passes all the same.
    pub passes: Option<PassesBy>,
}

/// By what a phone passes that has not knocked itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassesBy {
    /// By a door of its source that somebody else holds: this knock, or somebody by hand.
    Door(String),
    /// By the door that the PBX opens by calling it. A REGISTER does not pass there.
    Outbound,
}

/// Why a phone that has not knocked may be let alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// It needs no knock, or has knocked before.
    Ready,
    /// It passes for now.
    Passes(PassesBy),
    /// None.
    None,
}

/// A phone that registered, as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPhone {
    /// From where.
    pub address: IpAddr,
    /// Its user.
    pub user: String,
    /// What it says it is.
    pub user_agent: Option<String>,
    /// It has knocked.
    pub knocked: bool,
}

/// What the census comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Phones that registered.
    pub phones: u64,
    /// Those of them that have not knocked, by address and user.
    pub unready: Vec<Unready>,
    /// REGISTERs that were not looked at, or not remembered, so that somebody may be missing.
    pub overlooked: u64,
}

/// A phone to be excused.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    /// From where.
    pub address: IpAddr,
    /// The source that makes.
    pub source: Source,
    /// No other phone of this source has registered.
    pub alone: bool,
}

impl Tally {
    /// Whether there are phones, and strangers can be dropped without shutting one of them out.
    pub fn ready(&self) -> bool {
        self.phones > 0 && self.unready.is_empty() && self.overlooked == 0
    }
}

#[derive(Debug)]
struct CountedPhone {
    address: IpAddr,
    user_agent: Option<Box<str>>,
    /// Its latest REGISTER.
    request: u64,
    credentials: bool,
    knocked: bool,
    at: Time,
    /// REGISTERs so far, without repetitions, by whether they had credentials, and how many of those have settled.
    tried: [u32; 2],
    settled: [u32; 2],
}

/// For whom there was no room.
#[derive(Clone, Copy, Debug, Default)]
struct Forgotten {
    /// They had knocked.
    ready: u64,
    /// They had shown no credentials.
    plain: u64,
    /// They had.
    shown: u64,
}

impl Census {
    /// A user has knocked, in whatever message.
    pub fn knocked(&mut self, source: Source, user: &str) {
        let key = (source, Box::from(user));
        if let Some(phone) = self.phones.get_mut(&key) {
            phone.knocked = true;
        } else if self.knocked.len() < MAX_KNOCKED {
            self.knocked.insert(key);
        }
    }

    /// Somebody wants to register.
    pub fn register(&mut self, now: Time, register: &Register<'_>) {
        self.challenged |= register.credentials;
        let key = (register.source, Box::from(register.user));
        if let Some(phone) = self.phones.get_mut(&key) {
            phone.again(now, register);
            return;
        }
        if self.phones.len() >= MAX_PHONES {
            self.make_room(now);
        }
        if self.phones.len() < MAX_PHONES {
            let knocked = register.knocked || self.knocked.remove(&key);
            self.phones.insert(key, CountedPhone { knocked, ..CountedPhone::new(now, register) });
        } else if register.credentials {
            self.forgotten.shown += 1;
        } else {
            self.forgotten.plain += 1;
        }
    }

    /// REGISTERs that nobody has looked at.
    pub fn missed(&mut self, plain: u64, with_credentials: u64) {
        self.challenged |= with_credentials > 0;
        self.forgotten.plain += plain;
        self.forgotten.shown += with_credentials;
    }

    /// What it comes to. `excuse` is asked about phones that have not knocked.
    pub fn tally(&self, excuse: impl Fn(Silent) -> Excuse) -> Tally {
        let overlooked = self.forgotten.shown + if self.challenged { 0 } else { self.forgotten.plain };
        let mut result = Tally { phones: self.forgotten.ready, overlooked, ..Tally::default() };
        let registered = || self.phones.iter().filter(|(_, phone)| phone.registered(self.challenged));
        let mut at: HashMap<Source, u32, ahash::RandomState> = HashMap::default();
        registered().for_each(|((source, _), _)| *at.entry(*source).or_default() += 1);
        for ((source, user), phone) in registered() {
            result.phones += 1;
            if phone.knocked {
                continue;
            }
            let alone = at.get(source) == Some(&1);
            let passes = match excuse(Silent { address: phone.address, source: *source, alone }) {
                Excuse::Ready => continue,
                Excuse::Passes(by) => Some(by),
                Excuse::None => None,
            };
            result.unready.push(Unready {
                address: phone.address,
                user: user.clone().into(),
                user_agent: phone.user_agent.clone().map(Into::into),
                passes,
            });
        }
        result.unready.sort_unstable();
        result
    }

    /// Whether somebody has sent credentials, and the phones that registered.
    pub fn known(&self) -> (bool, Vec<KnownPhone>) {
        let registered = self.phones.iter().filter(|(_, phone)| phone.registered(self.challenged));
        let phones = registered.map(|((_, user), phone)| KnownPhone {
            address: phone.address,
            user: user.to_string(),
            user_agent: phone.user_agent.as_deref().map(str::to_owned),
            knocked: phone.knocked,
        });
        (self.challenged, phones.collect())
    }

    /// Begins with phones of an earlier process, each with its source, as far as there is room.
    pub fn restore(&mut self, challenged: bool, phones: impl IntoIterator<Item = (Source, KnownPhone)>) {
        self.challenged |= challenged;
        for (source, known) in phones {
            if self.phones.len() >= MAX_PHONES {
                self.forgotten.shown += u64::from(!known.knocked);
                continue;
            }
            let register = Register {
                address: known.address,
                source,
                user: &known.user,
                user_agent: known.user_agent.as_deref(),
                credentials: challenged,
                knocked: known.knocked,
                request: 0,
            };
            self.phones
                .insert((source, Box::from(register.user)), CountedPhone::new(Time::default(), &register));
        }
    }

    /// The rule of eviction, *knocked or quiet first*: of those who have knocked only their number matters, and who
    /// shows no credentials and waits for nothing is most likely a stranger. Where neither makes room, newcomers are
    /// turned away and counted. It walks the table, so it does so once a second at most.
    fn make_room(&mut self, now: Time) {
        if now.since(self.purged) < PURGE_INTERVAL {
            return;
        }
        self.purged = now;
        let Self { phones, challenged, forgotten, .. } = self;
        phones.retain(|_, phone| {
            if phone.knocked {
                forgotten.ready += u64::from(phone.registered(*challenged));
                return false;
            }
            let stays = phone.tried[1] > 0 || now.since(phone.at) < SETTLED;
            forgotten.plain += u64::from(!stays);
            stays
        });
    }
}

impl CountedPhone {
    fn new(now: Time, register: &Register<'_>) -> Self {
        let mut tried = [0, 0];
        tried[usize::from(register.credentials)] = 1;
        Self {
            address: register.address,
            user_agent: register.user_agent.map(Box::from),
            request: register.request,
            credentials: register.credentials,
            knocked: register.knocked,
            at: now,
            tried,
            settled: [0, 0],
        }
    }

    fn again(&mut self, now: Time, register: &Register<'_>) {
        self.knocked |= register.knocked;
        if register.request == self.request {
            return;
        }
        if now.since(self.at) >= SETTLED {
            self.settled[usize::from(self.credentials)] += 1;
        }
        self.tried[usize::from(register.credentials)] += 1;
        self.request = register.request;
        self.credentials = register.credentials;
        self.at = now;
    }

    /// Whether it has registered, for all that is known. Its latest REGISTER goes for one that settles: if it is
    /// refused right now, it is listed rather than forgotten.
    fn registered(&self, challenged: bool) -> bool {
        let kind = usize::from(challenged);
        let settled = self.settled[kind] + u32::from(self.credentials == challenged);
        settled > 0 && settled.saturating_mul(MOST_TRIES) >= self.tried[kind]
    }
}

/// Longer than a phone takes to answer a challenge, also over a slow line, and shorter than any registration lives.
const SETTLED: Duration = Duration::from_secs(5);

/// REGISTERs for each that settles: a nonce that is stale costs one (RFC 7616, 3.3), two addresses of a PBX another.
const MOST_TRIES: u32 = 4;

/// Phones that are remembered at a time: with texts of 64 characters some megabytes.
const MAX_PHONES: usize = 16_384;

/// Users that are remembered to have knocked before they register, as many as there are doors by default.
const MAX_KNOCKED: usize = 65_536;

const PURGE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Prefixes;

    /// The phones of an earlier census count.
    #[test]
    fn phones_are_kept_over_a_restart() {
        for challenged in [false, true] {
            let mut row = Row::new();
            for host in 1..=3 {
                row.sends(host, "100@pbx", challenged).wait(60);
            }
            // A stranger who guesses.
            (0..20).for_each(|_| _ = row.sends(9, "admin@pbx", challenged));
            row.census.knocked(Source::new(address(2), Prefixes::default()), "100@pbx");
            let before = row.census.tally(|_| Excuse::None);
            let (kept, phones) = row.census.known();
            let mut after = Census::default();
            let of = |phone: KnownPhone| (Source::new(phone.address, Prefixes::default()), phone);
            after.restore(kept, phones.into_iter().map(of));
            assert_eq!(after.tally(|_| Excuse::None), before, "{challenged}");
            assert_eq!((before.phones, before.unready.len()), (3, 2), "{challenged}");
        }
    }

    struct Row {
        census: Census,
        now: Time,
        requests: u64,
    }

    impl Row {
        fn new() -> Self {
            Self { census: Census::default(), now: Time::from_parts(1_000_000, 0), requests: 0 }
        }

        fn wait(&mut self, seconds: u64) -> &mut Self {
            self.now = self.now.after(Duration::from_secs(seconds));
            self
        }

        fn sends(&mut self, host: u32, user: &str, credentials: bool) -> &mut Self {
            self.requests += 1;
            self.repeats(host, user, credentials)
        }

        fn repeats(&mut self, host: u32, user: &str, credentials: bool) -> &mut Self {
            let address = address(host);
            let source = Source::new(address, Prefixes::default());
            let request = self.requests;
            let register = Register {
                address,
                source,
                user,
                user_agent: Some("Phone 1"),
                credentials,
                knocked: false,
                request,
            };
            self.census.register(self.now, &register);
            self
        }

        /// A challenge and its answer.
        fn registers(&mut self, host: u32) -> &mut Self {
            self.sends(host, "100@pbx", false).sends(host, "100@pbx", true)
        }

        fn knocks(&mut self, host: u32) -> &mut Self {
            self.knocks_as(host, "100@pbx")
        }

        fn knocks_as(&mut self, host: u32, user: &str) -> &mut Self {
            self.census.knocked(Source::new(address(host), Prefixes::default()), user);
            self
        }

        /// How many phones, and which of them are not ready.
        fn finds(&self) -> (u64, Vec<IpAddr>) {
            let result = self.census.tally(|_| Excuse::None);
            (result.phones, result.unready.into_iter().map(|phone| phone.address).collect())
        }
    }

    fn address(host: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0xc633_6400 + host))
    }

    #[test]
    fn phones_that_registered_are_told_from_strangers() {
        type Story = fn(&mut Row) -> &mut Row;
        let stories: [(&str, Story, u64, &[u32]); 15] = [
            ("nobody", |row| row, 0, &[]),
            ("one with a knock", |row| row.registers(1).knocks(1), 1, &[]),
            ("a knock before it registers", |row| row.knocks(1).registers(1), 1, &[]),
            ("one without", |row| row.registers(1), 1, &[1]),
            ("one of two", |row| row.registers(1).registers(2).knocks(2), 2, &[1]),
            ("a knock of a neighbour", |row| row.registers(1).knocks(2), 1, &[1]),
            (
                "who is challenged and has no answer",
                |row| row.registers(1).knocks(1).sends(2, "100@pbx", false).wait(60),
                1,
                &[],
            ),
            (
                "a PBX that asks nobody",
                |row| row.sends(1, "a", false).wait(9).sends(2, "b", false),
                2,
                &[1, 2],
            ),
            (
                "who guesses passwords",
                |row| {
                    (0..50).for_each(|_| _ = row.sends(2, "100@pbx", true));
                    row.registers(1).knocks(1)
                },
                1,
                &[],
            ),
            (
                "a phone with stale nonces",
                |row| {
                    (0..50).for_each(|_| _ = row.registers(1).sends(1, "100@pbx", true).wait(30));
                    row
                },
                1,
                &[1],
            ),
            (
                "what is sent again",
                |row| {
                    row.registers(1);
                    (0..10).for_each(|_| _ = row.repeats(1, "100@pbx", true));
                    row
                },
                1,
                &[1],
            ),
            ("users behind one address", |row| row.sends(1, "a", true).sends(1, "b", true), 2, &[1, 1]),
            (
                "and one knock of theirs",
                |row| row.sends(1, "a", true).sends(1, "b", true).knocks_as(1, "a"),
                2,
                &[1],
            ),
            (
                "and a knock of somebody who does not register",
                |row| row.sends(1, "a", true).knocks_as(1, "c"),
                1,
                &[1],
            ),
            ("who takes the first step only", |row| row.registers(1).sends(1, "100@pbx", false), 0, &[]),
        ];
        for (name, story, phones, unready) in stories {
            let mut row = Row::new();
            story(&mut row);
            let unready: Vec<_> = unready.iter().map(|host| address(*host)).collect();
            assert_eq!(row.finds(), (phones, unready), "{name}");
        }
    }

    #[test]
    fn those_who_pass_anyhow_are_excused_or_told_apart() {
        let mut row = Row::new();
        row.registers(1).registers(2);
        let ready = |silent: Silent| if silent.address == address(1) { Excuse::Ready } else { Excuse::None };
        let result = row.census.tally(ready);
        assert_eq!((result.phones, result.unready.len()), (2, 1));
        assert!(!result.ready());
        assert!(row.census.tally(|_| Excuse::Ready).ready());
        assert!(!Census::default().tally(|_| Excuse::Ready).ready(), "nobody is not everybody");
        // Who passes by something else has not knocked.
        for by in [PassesBy::Door("alice".to_owned()), PassesBy::Outbound] {
            let result = row.census.tally(|_| Excuse::Passes(by.clone()));
            assert!(!result.ready());
            assert!(result.unready.iter().all(|phone| phone.passes.as_ref() == Some(&by)), "{result:?}");
        }
    }

    #[test]
    fn a_phone_that_is_alone_is_told_from_one_of_many() {
        let mut row = Row::new();
        row.registers(1)
            .sends(2, "a", true)
            .sends(2, "b", true)
            .sends(3, "c", true)
            .sends(3, "stranger", false);
        let alone = std::cell::RefCell::new(Vec::new());
        row.census.tally(|silent| {
            alone.borrow_mut().push((silent.address, silent.alone));
            Excuse::None
        });
        let mut alone = alone.into_inner();
        alone.sort_unstable();
        // One that has not registered is no company.
        let expected =
            [(1, true), (2, false), (2, false), (3, true)].map(|(host, alone)| (address(host), alone));
        assert_eq!(alone, expected);
    }

    #[test]
    fn a_full_table_forgets_the_knocked_and_the_quiet_first() {
        let mut row = Row::new();
        let fresh = |row: &mut Row, hosts: std::ops::Range<u32>, credentials| {
            hosts.for_each(|host| _ = row.sends(host, "u", credentials));
        };
        let half = MAX_PHONES as u32 / 2;
        fresh(&mut row, 0..half, true);
        fresh(&mut row, half..2 * half, false);
        assert_eq!(row.census.phones.len(), MAX_PHONES);
        row.knocks_as(0, "u").wait(60);
        // Room is made of those without credentials, and of the one who knocked.
        row.sends(3 * half, "u", true);
        assert_eq!(row.census.phones.len(), half as usize);
        let result = row.census.tally(|_| Excuse::None);
        assert_eq!(
            (result.phones, result.unready.len(), result.overlooked),
            (half as u64 + 1, half as usize, 0)
        );
        // Where nothing makes room, newcomers are counted, and then nobody can say that all are ready.
        fresh(&mut row, 4 * half..5 * half + 7, true);
        row.wait(60);
        fresh(&mut row, 6 * half..6 * half + 1, true);
        let result = row.census.tally(|_| Excuse::Ready);
        assert_eq!((row.census.phones.len(), result.overlooked), (MAX_PHONES, 8));
        assert!(!result.ready());
    }

    #[test]
    fn what_was_missed_counts_where_it_matters() {
        let mut row = Row::new();
        row.registers(1).knocks(1).census.missed(1000, 0);
        assert!(row.census.tally(|_| Excuse::None).ready(), "strangers without credentials");
        row.census.missed(0, 1);
        assert!(!row.census.tally(|_| Excuse::None).ready());
        let mut row = Row::new();
        row.sends(1, "u", false).knocks(1).census.missed(1, 0);
        assert!(!row.census.tally(|_| Excuse::None).ready(), "nobody is asked for credentials");
    }
}
