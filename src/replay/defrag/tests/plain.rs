//! Any fragments, held against a model of few words.

use proptest::prelude::*;

use super::*;

/// The same, byte by byte: each byte that is there belongs to a run.
#[derive(Default)]
struct Plain {
    queues: HashMap<(bool, u8), Queue>,
    incomplete: u64,
}

struct Queue {
    begun: u64,
    packets: u64,
    bytes: HashMap<usize, (u8, usize)>,
    runs: usize,
    end: usize,
    last_is_known: bool,
    has_first: bool,
    ecn: Vec<u8>,
}

impl Plain {
    fn packet(&mut self, now: u64, part: &Part) -> Defragged {
        let Part { is_ipv6, id, offset, more, ecn, data } = part.clone();
        let (from, mut to) = (usize::from(offset), usize::from(offset) + data.len());
        let is_alone = if is_ipv6 { data.len() < 8 } else { !more };
        if from == 0 && is_alone {
            return Defragged::Alone;
        }
        let life = if is_ipv6 { 60 } else { 30 };
        if self.queues.get(&(is_ipv6, id)).is_some_and(|queue| now.abs_diff(queue.begun) >= life) {
            self.give_up(is_ipv6, id);
        }
        let queue = self.queues.entry((is_ipv6, id)).or_insert_with(|| Queue {
            begun: now,
            packets: 0,
            bytes: HashMap::new(),
            runs: 0,
            end: 0,
            last_is_known: false,
            has_first: false,
            ecn: Vec::new(),
        });
        if is_ipv6 && more && to % 8 != 0 {
            self.give_up(is_ipv6, id);
            return Defragged::Alone;
        }
        if more {
            to -= to % 8;
        }
        let contradicts = match more {
            true => queue.last_is_known && to > queue.end,
            false => to < queue.end || queue.last_is_known && to != queue.end,
        };
        if !contradicts {
            queue.last_is_known |= !more;
            queue.end = queue.end.max(to);
        }
        if contradicts || to <= from {
            if is_ipv6 {
                self.incomplete += 1;
            } else {
                queue.packets += 1;
                self.give_up(is_ipv6, id);
            }
            return Defragged::Withheld;
        }
        queue.packets += 1;
        let there: Vec<_> = (from..to).filter_map(|at| queue.bytes.get(&at)).collect();
        if !there.is_empty() {
            let is_inside = there.len() == to - from && there.iter().all(|(_, run)| *run == there[0].1);
            if !is_inside {
                self.give_up(is_ipv6, id);
            }
            return Defragged::Withheld;
        }
        let goes_on = queue.bytes.keys().max().is_some_and(|last| last + 1 == from);
        let run = match goes_on {
            true => queue.bytes[&(from - 1)].1,
            false => {
                queue.runs += 1;
                queue.runs
            }
        };
        queue.bytes.extend((from..to).map(|at| (at, (data[at - from], run))));
        queue.has_first |= from == 0;
        queue.ecn.push(ecn);
        if !queue.last_is_known || !queue.has_first || queue.bytes.len() != queue.end {
            return Defragged::Withheld;
        }
        let knows = queue.ecn.iter().filter(|ecn| **ecn != 0).count();
        if knows > 0 && knows < queue.ecn.len() {
            self.give_up(is_ipv6, id);
            return Defragged::Withheld;
        }
        let queue = self.queues.remove(&(is_ipv6, id)).unwrap();
        Defragged::Whole((0..queue.end).map(|at| queue.bytes[&at].0).collect())
    }

    fn give_up(&mut self, is_ipv6: bool, id: u8) {
        self.incomplete += self.queues.remove(&(is_ipv6, id)).map_or(0, |queue| queue.packets);
    }
}

/// Bytes of a datagram for port 5060 that has no other length than what its fragments say.
fn bytes_at(from: usize, length: usize) -> Vec<u8> {
    let start = [0x13, 0xc5, 0x13, 0xc4, 0, 0, 0, 0];
    (from..from + length).map(|at| start.get(at).copied().unwrap_or((at % 251) as u8)).collect()
}

/// Any fragments at all: most of them contradict each other.
fn any_part() -> impl Strategy<Value = Part> {
    let length = prop_oneof![4 => (1usize..5).prop_map(|words| words * 8), 1 => 0usize..40];
    let ecn = prop_oneof![20 => Just(0u8), 1 => 0u8..4];
    (any::<bool>(), 0u8..2, 0usize..8, length, prop::bool::weighted(0.75), ecn).prop_map(
        |(is_ipv6, id, word, length, more, ecn)| Part {
            is_ipv6,
            id,
            offset: u16::try_from(word * 8).unwrap(),
            more,
            ecn,
            data: bytes_at(word * 8, length),
        },
    )
}

/// The fragments of one datagram in any order, some of them twice, some missing, sometimes one that overlaps.
fn a_datagram() -> impl Strategy<Value = Vec<Part>> {
    let places = prop::collection::btree_set(1usize..10, 0..5);
    let odd = prop::option::weighted(0.3, (0usize..9, 1usize..4));
    let extra = prop::collection::vec(any::<prop::sample::Index>(), 0..2);
    (any::<bool>(), 0u8..2, 80usize..90, places, odd, extra, prop::bool::weighted(0.2)).prop_flat_map(
        |(is_ipv6, id, length, places, odd, extra, loses)| {
            let places: Vec<_> = places.into_iter().map(|word| word * 8).collect();
            let mut parts = cut(is_ipv6, id, &bytes_at(0, length), &places);
            let copies: Vec<_> = extra.iter().map(|index| parts[index.index(parts.len())].clone()).collect();
            parts.extend(copies);
            if let Some((word, words)) = odd {
                let data = bytes_at(word * 8, words * 8);
                let offset = u16::try_from(word * 8).unwrap();
                parts.push(Part { is_ipv6, id, offset, more: true, ecn: 0, data });
            }
            if loses {
                parts.pop();
            }
            Just(parts).prop_shuffle()
        },
    )
}

proptest! {
    #[test]
    fn fragments_come_together_as_in_a_plain_model(
        parts in prop_oneof![
            prop::collection::vec(any_part(), 1..40),
            prop::collection::vec(a_datagram(), 1..5).prop_map(|all| all.concat()),
        ],
        seconds in prop::collection::vec(prop_oneof![20 => 0u64..2, 1 => 20u64..70], 40),
    ) {
        let (mut defrag, mut plain) = (defrag(), Plain::default());
        let mut now = 0;
        for (part, seconds) in parts.iter().zip(seconds.iter().cycle()) {
            now += seconds;
            let found = defrag.packet(at(now), &part.packet());
            let expected = plain.packet(now, part);
            match (&found, &expected) {
                (Defragged::Whole(packet), Defragged::Whole(bytes)) => {
                    let header = if part.is_ipv6 { 40 } else { 20 };
                    prop_assert_eq!(&packet[header..], &bytes[..]);
                    prop_assert_eq!(Packet::parse(packet).unwrap().length as usize, packet.len());
                }
                _ => prop_assert_eq!(found, expected),
            }
            let waits: u64 = plain.queues.values().map(|queue| queue.packets).sum();
            prop_assert_eq!(defrag.incomplete(), plain.incomplete + waits);
        }
    }
}
