//! Which source sends most of the packets, in constant memory and a few instructions for each packet.
//!
//! Boyer and Moore's majority vote (MJRTY, 1981): one candidate with a count, which packets from elsewhere lower. An address
//! from which more than half of the packets come is the candidate at the end. Both counts are halved now and then, so
//! that it is about the packets of late.

use std::net::IpAddr;

/// The vote of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vote {
    candidate: Option<IpAddr>,
    /// Packets of the candidate beyond as many of others.
    lead: u32,
    packets: u32,
}

/// The result of the votes of all queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Winner {
    pub(super) address: IpAddr,
    /// Its share of the packets in percent, at most; exact if it was the candidate all the time.
    pub(super) percent: u64,
    pub(super) packets: u64,
}

impl Vote {
    /// A packet has come.
    pub(super) fn add(&mut self, source: IpAddr) {
        if self.candidate == Some(source) {
            self.lead += 1;
        } else if self.lead == 0 {
            self.candidate = Some(source);
            self.lead = 1;
        } else {
            self.lead -= 1;
        }
        self.packets += 1;
        if self.packets >= WINDOW {
            self.packets /= 2;
            self.lead /= 2;
        }
    }

    /// A kernel hands all packets of one address to one queue, so that the votes of several queues can be added up.
    pub(super) fn winner(votes: impl Iterator<Item = Self>) -> Option<Winner> {
        let votes: Vec<Self> = votes.collect();
        let packets: u64 = votes.iter().map(|vote| u64::from(vote.packets)).sum();
        let leads = |address: IpAddr| -> u64 {
            let own = votes.iter().filter(|vote| vote.candidate == Some(address));
            // As many of the rest as can have been its own.
            own.map(|vote| u64::from(vote.lead) + u64::from(vote.packets - vote.lead) / 2).sum()
        };
        let candidates = votes.iter().filter(|vote| vote.packets > 0).filter_map(|vote| vote.candidate);
        let address = candidates.max_by_key(|address| leads(*address))?;
        Some(Winner { address, percent: leads(address) * 100 / packets, packets })
    }
}

/// Packets after which both counts are halved: some minutes of a small PBX, some seconds of a large one.
const WINDOW: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0xc633_6400 + host).into()
    }

    fn vote(packets: impl IntoIterator<Item = u32>) -> Vote {
        let mut vote = Vote::default();
        packets.into_iter().for_each(|host| vote.add(address(host)));
        vote
    }

    #[test]
    fn whoever_sends_most_is_found() {
        // One packet in so many is from elsewhere, each from another address.
        let but_for =
            |packets: u32, every: u32| (1..=packets).map(move |n| if n % every == 0 { 1000 + n } else { 7 });
        for (name, packets, expected) in [
            ("one alone", but_for(500, 501).collect::<Vec<_>>(), Some((7, 100))),
            ("one of twenty is another", but_for(1000, 20).collect(), Some((7, 95))),
            ("one of ten is another", but_for(1000, 10).collect(), Some((7, 90))),
            ("others first", (0..90).map(|n| 2000 + n).chain(but_for(910, 911)).collect(), Some((7, 95))),
            ("after a window or two", but_for(35_000, 20).collect(), Some((7, 95))),
        ] {
            let winner = Vote::winner(std::iter::once(vote(packets))).map(|won| (won.address, won.percent));
            assert_eq!(winner, expected.map(|(host, percent)| (address(host), percent)), "{name}");
        }
        // Of very many none has much of it.
        let many = Vote::winner(std::iter::once(vote(0..5000))).unwrap();
        assert!(many.percent <= 51, "{many:?}");
        assert_eq!(Vote::winner([Vote::default(); 2].into_iter()), None);
    }

    #[test]
    fn queues_are_added_up() {
        let votes = [vote(std::iter::repeat_n(7, 900)), vote(0..100), Vote::default()];
        let winner = Vote::winner(votes.into_iter()).unwrap();
        assert_eq!((winner.address, winner.percent, winner.packets), (address(7), 90, 1000));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let then = std::iter::repeat_n(7, 50_000);
        let since = (0..40_000).map(|n| n % 100);
        let winner = Vote::winner(std::iter::once(vote(then.chain(since)))).unwrap();
        assert!(winner.percent < 60, "{winner:?}");
    }
}
