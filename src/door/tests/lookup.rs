//! Looks of packets that came together.

use super::*;

/// What packets are told that ask together; `None` for those that are told nothing.
fn together(doors: &DoorTable, packets: &[(Source, u32)], now: Time) -> Vec<Option<DoorState>> {
    let mut packets: Vec<_> = packets.iter().map(|&(source, bytes)| (source, bytes, None)).collect();
    let ask = |&(source, bytes, _): &_| Some(Lookup { key: doors.key(source), bytes });
    doors.pass_together(&mut packets, now, ask, |(_, _, told), state| *told = Some(state));
    packets.into_iter().map(|(_, _, told)| told).collect()
}

/// Some that are open at second 100, some that have run out, and some of which nothing is known.
fn doors_of(sources: impl Iterator<Item = u8>) -> DoorTable {
    let doors = DoorTable::new(1000, [None]);
    for n in sources.filter(|n| n % 4 != 3) {
        opened(doors.knock(source(n), at(0), &[grant(0, if n % 4 == 2 { 60 } else { 600 })]));
    }
    doors
}

proptest! {
    /// With few doors and with many, of which what is known is fetched before.
    #[test]
    fn packets_are_told_together_what_each_is_told_alone(
        many in any::<bool>(),
        packets in prop::collection::vec((any::<u8>(), 0u32..2000), 0..100),
    ) {
        let packets: Vec<_> = packets.into_iter().map(|(n, bytes)| (source(n), bytes)).collect();
        let tables = [(); 2].map(|()| doors_of(0..if many { 255 } else { 40 }));
        let alone: Vec<_> = packets
            .iter()
            .map(|&(source, bytes)| Some(tables[0].pass(tables[0].key(source), at(100), bytes)))
            .collect();
        prop_assert_eq!(together(&tables[1], &packets, at(100)), alone);
        let [alone, together] = tables.map(|table| {
            let mut listed = table.listed(0, 1, at(100));
            listed.sort_by_key(|listed| listed.source);
            listed
        });
        prop_assert_eq!(together, alone);
    }
}

#[test]
fn nobody_is_waited_for() {
    let doors = doors_of(0..8);
    let locked = doors.doors.get_mut(&source(0)).unwrap();
    let same_shard = |n: u8| {
        let shard = |source| doors.doors.determine_shard(doors.doors.hash_usize(&source));
        shard(source(n)) == shard(source(0))
    };
    let told = together(&doors, &[0, 1, 4, 5].map(|n| (source(n), 1)), at(100));
    let expected = [0, 1, 4, 5].map(|n| (!same_shard(n)).then_some(DoorState::Open));
    assert_eq!(told, expected);
    drop(locked);
    assert_eq!(together(&doors, &[(source(0), 1)], at(100)), [Some(DoorState::Open)]);
    assert_eq!(
        doors.listed(0, 1, at(100)).iter().map(|listed| listed.packets).max(),
        Some(1),
        "counted once"
    );
}

/// Who is told nothing asks by himself, so that each packet is counted once whoever locks doors meanwhile.
#[test]
fn queues_count_each_packet_once_while_doors_change() {
    let doors = doors_of(0..200);
    let open: Vec<_> = (0..200).filter(|n| n % 4 < 2).map(|n| (source(n), 1)).collect();
    let rounds = 300;
    std::thread::scope(|scope| {
        let queues = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..rounds {
                    for (&(source, bytes), told) in open.iter().zip(together(&doors, &open, at(100))) {
                        let state = told.unwrap_or_else(|| doors.pass(doors.key(source), at(100), bytes));
                        assert_eq!(state, DoorState::Open);
                    }
                }
            })
        });
        while !queues.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            doors.sweep(at(100));
            open.iter().for_each(|&(source, _)| doors.extend(source, at(100)));
        }
    });
    let counts: Vec<_> = doors.listed(0, 1, at(100)).iter().map(|listed| listed.packets).collect();
    assert_eq!(counts, vec![2 * rounds; open.len()]);
}

#[test]
fn counts_go_on_beyond_their_bits() {
    let doors = doors_of(0..1);
    let batch = [(source(0), 65_535); 32];
    let batches = (1u64 << 23) / 32 + 2;
    for _ in 0..batches {
        together(&doors, &batch, at(100));
    }
    let [ref door] = doors.listed(0, 1, at(100))[..] else { panic!("one door") };
    assert_eq!((door.packets, door.bytes), (batches * 32, batches * 32 * 65_535));
}
