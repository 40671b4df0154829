//! Calls of sources without a door, for users that the PBX has registered: providers call from other addresses, too.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::control::protocol::RefusedTrunk;
use crate::event::{Event, TrunkRefused, printable_parts};
use crate::inspect::{Inspector, TrunkCall};
use crate::time::Time;

/// The calls that were dropped so, by their senders. Bounded: a full table *forgets the sender that called longest ago*, and
/// as many events as it holds senders are told an hour, since who knows a user can call from any number of addresses.
#[derive(Debug, Default)]
pub(super) struct RefusedTrunks {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    senders: HashMap<IpAddr, Refused, ahash::RandomState>,
    /// The times of the last events, oldest first.
    told: VecDeque<Time>,
}

#[derive(Clone, Debug)]
struct Refused {
    user: String,
    calls: u64,
    last: Time,
    told: Time,
}

impl RefusedTrunks {
    /// Takes note of a call. The event, unless there was one for this sender, or [`MAX_SENDERS`] for others, within the
    /// last hour.
    pub(super) fn add(&self, gate: &Inspector, call: &TrunkCall<'_>, now: Time) -> Option<Event> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { senders: refused, told } = &mut *inner;
        if let Some(known) = refused.get_mut(&call.address) {
            known.calls += 1;
            known.last = now;
            if now.since(known.told) < TELL_AGAIN {
                return None;
            }
        }
        let [user] = printable_parts(gate.knocks(), call.payload, [Some(call.user)], MAX_USER);
        let user = user.unwrap_or_default();
        if refused.len() >= MAX_SENDERS && !refused.contains_key(&call.address) {
            let longest_ago =
                refused.iter().min_by_key(|(_, refused)| refused.last).map(|(address, _)| *address);
            longest_ago.map(|address| refused.remove(&address));
        }
        let known = refused.entry(call.address).or_insert(Refused { user, calls: 1, last: now, told: now });
        while told.front().is_some_and(|first| now.since(*first) >= TELL_AGAIN) {
            told.pop_front();
        }
        if told.len() >= MAX_SENDERS {
            return None;
        }
        told.push_back(now);
        known.told = now;
        let (source, user, would) = (call.address.to_string(), known.user.clone(), gate.monitors());
        Some(Event::TrunkRefused(Box::new(TrunkRefused { source, user, would })))
    }

    /// The senders, the one that called last first.
    pub(super) fn list(&self) -> Vec<RefusedTrunk> {
        let refused = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> =
            refused.senders.iter().map(|(address, refused)| (*address, refused.clone())).collect();
        drop(refused);
        list.sort_unstable_by_key(|(address, refused)| (std::cmp::Reverse(refused.last), *address));
        let line = |(address, refused): (IpAddr, Refused)| RefusedTrunk {
            source: address.to_string(),
            user: refused.user,
            calls: refused.calls,
            last: refused.last.to_string(),
        };
        list.into_iter().map(line).collect()
    }
}

/// Senders that are told apart: providers have some addresses, and a scanner that guesses a user needs no list.
const MAX_SENDERS: usize = 64;

/// Characters of a user part.
const MAX_USER: usize = 64;

/// How often the log says the same of a sender.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Policy;
    use crate::knock::{Knock, KnockSet, Secret};

    #[test]
    fn each_sender_is_told_once_an_hour_and_the_list_is_bounded() {
        let knock =
            Knock::new("a", Secret::new(b"mykn0ckstr1ng".as_slice()).unwrap(), Duration::from_secs(1));
        let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 1);
        let trunks = RefusedTrunks::default();
        let payload = b"INVITE sip:line@pbx SIP/2.0";
        let call = |n: u8, secs: u64| {
            let call = TrunkCall { address: [192, 0, 2, n].into(), payload, user: &payload[11..15] };
            trunks.add(&gate, &call, Time::from_parts(10_000 + secs, 0)).is_some()
        };
        assert!(call(1, 0) && !call(1, 3599) && call(1, 3600) && call(2, 3600));
        let list = trunks.list();
        assert_eq!((list[0].source.as_str(), list[0].calls), ("192.0.2.1", 3));
        assert_eq!((list[0].user.as_str(), list[1].source.as_str()), ("line", "192.0.2.2"));
        let told = (3..200).filter(|n| call(*n, 4000)).count();
        assert_eq!(told, MAX_SENDERS - 2, "two were told within the hour");
        assert!(call(200, 7200));
        assert_eq!(trunks.list().len(), MAX_SENDERS);
    }
}
