use proptest::prelude::*;

use super::*;
use crate::net::Prefixes;

const LIFE: Duration = Duration::from_secs(1000);

fn at(secs: u64) -> Time {
    Time::from_parts(100_000 + secs, 0)
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

fn source(n: u8) -> Source {
    Source::new(address(n), Prefixes::default())
}

fn register(aor: u64, secs: u64) -> OutboundRequest {
    OutboundRequest::Register(ContactBinding { aor, users: [aor | 1, 0] }, Duration::from_secs(secs))
}

const OPTIONS: OutboundRequest = OutboundRequest::Opening(Method::Options);
const BYE: OutboundRequest = OutboundRequest::Other(Method::Other);

fn requested(table: &OutboundTable, n: u8, secs: u64, request: &OutboundRequest) -> Effect {
    table.requested(source(n), address(n), at(secs), request, LIFE)
}

#[test]
fn open_renew_and_run_out() {
    let table = OutboundTable::new(10);
    assert_eq!(requested(&table, 1, 0, &BYE), Effect::Nothing, "only some requests open");
    assert!(table.is_empty() && !table.take_changed());
    assert_eq!(requested(&table, 1, 0, &OPTIONS), Effect::Opened { expires: at(1000) });
    assert!(table.take_changed() && !table.take_changed());
    assert!(table.admits(source(1), at(0)) && table.admits(source(1), at(999)));
    assert!(!table.admits(source(1), at(1000)) && !table.admits(source(2), at(0)));
    assert_eq!(requested(&table, 1, 900, &BYE), Effect::Renewed);
    assert!(table.admits(source(1), at(1899)) && !table.admits(source(1), at(1900)));
    assert_eq!(requested(&table, 1, 1900, &BYE), Effect::Nothing, "one that has run out is not renewed");
    assert_eq!(requested(&table, 1, 1901, &OPTIONS), Effect::Opened { expires: at(2901) });
    assert!(table.sweep(at(2900)).is_empty());
    let ended = table.sweep(at(2901));
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].0, ended[0].1.opened, ended[0].1.method), (source(1), at(1901), Method::Options));
    assert!(table.is_empty());
}

#[test]
fn a_registration_holds_for_as_long_as_it_asks_and_ends_alone() {
    let table = OutboundTable::new(10);
    requested(&table, 1, 0, &register(1, 5000));
    requested(&table, 1, 0, &register(2, 3000));
    assert!(table.admits(source(1), at(4999)) && !table.admits(source(1), at(5000)));
    assert!(table.has_user(1, at(4999)) && !table.has_user(1, at(5000)) && !table.has_user(9, at(0)));
    requested(&table, 1, 10, &register(1, 0));
    assert!(
        table.admits(source(1), at(2999)) && !table.admits(source(1), at(3000)),
        "the other one holds it"
    );
    requested(&table, 1, 20, &register(2, 0));
    assert!(table.admits(source(1), at(83)) && !table.admits(source(1), at(84)), "for the last answers");
    // A request of another kind holds it as well, and no end of a registration ends that.
    requested(&table, 1, 30, &OPTIONS);
    requested(&table, 1, 40, &register(2, 0));
    assert!(table.admits(source(1), at(1029)) && !table.admits(source(1), at(1030)));
}

#[test]
fn registrations_of_a_door_are_bounded() {
    let table = OutboundTable::new(10);
    (0..200).for_each(|n| _ = requested(&table, 1, 0, &register(n, 1000 + n)));
    let (_, door) = table.listed(at(0)).remove(0);
    assert_eq!(door.bindings.len(), MAX_BINDINGS);
    assert_eq!(door.expires(), at(1199));
    assert!(door.bindings.iter().all(|held| held.until >= at(1136)), "the ones that end first are forgotten");
}

#[test]
fn a_full_table_has_room_if_a_door_has_run_out() {
    let table = OutboundTable::new(2);
    requested(&table, 1, 0, &OPTIONS);
    // Called later than the first, and over before it.
    requested(&table, 2, 1, &register(1, 100));
    requested(&table, 2, 2, &register(1, 0));
    requested(&table, 3, 66, &OPTIONS);
    let open = [1, 2, 3].map(|n| table.admits(source(n), at(66)));
    assert_eq!(open, [true, false, true], "none has to go");
    assert_eq!(table.sweep(at(66)).iter().map(|(ended, _)| *ended).collect::<Vec<_>>(), [source(2)]);
    assert!(table.sweep(at(66)).is_empty());
}

#[test]
fn a_mark_that_has_run_out_says_nothing_of_the_next() {
    let table = OutboundTable::new(2);
    table.mark(source(1), at(0), Duration::from_secs(200));
    table.mark(source(1), at(200), Duration::from_secs(40));
    assert!(table.is_marked(source(1), at(239)) && !table.is_marked(source(1), at(240)));
}

#[test]
fn a_full_table_evicts_the_one_called_longest_ago() {
    let table = OutboundTable::new(2);
    requested(&table, 1, 0, &OPTIONS);
    requested(&table, 2, 1, &OPTIONS);
    requested(&table, 1, 2, &BYE);
    requested(&table, 3, 3, &OPTIONS);
    let open: Vec<_> = table.listed(at(4)).into_iter().map(|(source, _)| source).collect();
    assert_eq!(open, [source(1), source(3)]);
    assert_eq!((table.len(), table.evicted()), (2, 1));
    assert!(table.close(source(1), at(4)).is_some());
    requested(&table, 4, 2000, &OPTIONS);
    requested(&table, 5, 2000, &OPTIONS);
    assert_eq!(table.evicted(), 1, "a door that had run out is no loss");
}

#[test]
fn what_passes_is_counted_beside_readers() {
    let table = OutboundTable::new(2);
    requested(&table, 1, 0, &OPTIONS);
    let reader = table.read();
    let (counted, done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            table.passed(source(1), 700);
            table.passed(source(2), 700);
            counted.send(()).unwrap();
        });
        let in_time = done.recv_timeout(Duration::from_secs(20)).is_ok();
        drop(reader);
        assert!(in_time, "a packet waited for a reader of the table");
    });
    let (_, door) = table.listed(at(1)).remove(0);
    assert_eq!((door.packets, door.bytes), (1, 700));
    let door = table.close(source(1), at(1)).unwrap();
    assert_eq!((door.packets, door.bytes), (1, 700));
}

#[test]
fn a_dialog_renews_for_a_day_after_the_last_request_of_the_pbx() {
    let table = OutboundTable::new(2);
    table.in_dialog(source(1), at(0), LIFE);
    assert!(table.is_empty(), "it opens nothing");
    requested(&table, 1, 0, &OPTIONS);
    let day = 24 * 3600;
    for secs in (0..2 * day).step_by(500) {
        table.in_dialog(source(1), at(secs), LIFE);
    }
    assert!(table.admits(source(1), at(day - 1)) && !table.admits(source(1), at(day)));
}

#[test]
fn excluded_destinations_get_none() {
    let table = OutboundTable::new(2);
    let excluded = |net: &str| NetSet::new(&[net.parse().unwrap()]);
    assert!(table.exclude(excluded("192.0.2.1/32"), at(0)).is_empty());
    assert_eq!(requested(&table, 1, 0, &OPTIONS), Effect::Nothing);
    assert_eq!(requested(&table, 2, 0, &OPTIONS), Effect::Opened { expires: at(1000) });
    let (_, door) = table.listed(at(0)).remove(0);
    assert!(!table.restore(source(1), door, at(0)), "nor by a restart");
    // Other ones close what is open.
    let closed = table.exclude(excluded("192.0.2.2/32"), at(1));
    assert_eq!(closed.into_iter().map(|(source, _)| source).collect::<Vec<_>>(), [source(2)]);
    assert!(table.is_empty() && !table.admits(source(2), at(1)));
    assert_eq!(requested(&table, 2, 1, &BYE), Effect::Nothing);
    assert!(matches!(requested(&table, 1, 2, &OPTIONS), Effect::Opened { .. }));
}

#[test]
fn a_source_that_is_a_network_is_not_renewed_by_requests_to_an_excluded_address() {
    let table = OutboundTable::new(2);
    let [pbx, trunk] = ["2001:db8::5", "2001:db8::9"].map(|text| text.parse::<IpAddr>().unwrap());
    let shared = Source::new(pbx, Prefixes::default());
    let call = |address, secs| table.requested(shared, address, at(secs), &OPTIONS, LIFE);
    assert!(matches!(call(trunk, 0), Effect::Opened { .. }));
    assert!(table.exclude(NetSet::new(&["2001:db8::5/128".parse().unwrap()]), at(1)).is_empty());
    assert_eq!(call(pbx, 900), Effect::Nothing);
    assert!(table.admits(shared, at(999)) && !table.admits(shared, at(1000)));
}

#[test]
fn a_mark_outlasts_a_pbx_that_goes_on_pinging() {
    let table = OutboundTable::new(10);
    requested(&table, 1, 0, &OPTIONS);
    assert!(table.mark(source(1), at(10), Duration::from_secs(100)).is_some(), "its door is closed");
    for secs in (10..10_000).step_by(60) {
        assert_eq!(requested(&table, 1, secs, &OPTIONS), Effect::Marked, "at {secs}");
        assert!(!table.admits(source(1), at(secs)));
    }
    assert!(table.is_marked(source(1), at(10_069)) && !table.is_marked(source(1), at(10_070)));
    table.sweep(at(10_070));
    assert_eq!(table.mark_count(), 0);
    assert!(matches!(requested(&table, 1, 10_071, &OPTIONS), Effect::Opened { .. }));
    // The longer of two lives counts, and taking it away ends it.
    table.mark(source(1), at(20_000), Duration::from_secs(500));
    table.mark(source(1), at(20_000), Duration::from_secs(100));
    assert!(table.is_marked(source(1), at(20_499)));
    assert!(table.unmark(source(1), at(20_001)) && !table.unmark(source(1), at(20_001)));
    assert!(matches!(requested(&table, 1, 20_002, &OPTIONS), Effect::Opened { .. }));
}

#[test]
fn close_and_flush_leave_no_mark() {
    let table = OutboundTable::new(10);
    requested(&table, 1, 0, &OPTIONS);
    requested(&table, 2, 0, &OPTIONS);
    assert!(table.close(source(1), at(1)).is_some() && table.close(source(1), at(1)).is_none());
    assert_eq!(table.flush(at(1)).len(), 1);
    assert!(table.is_empty() && table.mark_count() == 0);
    assert!(matches!(requested(&table, 1, 2, &OPTIONS), Effect::Opened { .. }));
}

#[test]
fn what_was_kept_comes_back() {
    let (before, after) = (OutboundTable::new(10), OutboundTable::new(10));
    requested(&before, 1, 0, &register(7, 5000));
    requested(&before, 2, 0, &OPTIONS);
    before.mark(source(3), at(0), Duration::from_secs(100));
    for (source, mark) in before.marks(at(1)) {
        after.restore_mark(source, mark, at(1));
    }
    for (source, door) in before.listed(at(1)) {
        assert!(after.restore(source, door, at(1)));
    }
    assert_eq!(after.listed(at(1)), before.listed(at(1)));
    assert_eq!(after.marks(at(1)), before.marks(at(1)));
    assert!(after.has_user(7, at(1)));
    let (_, door) = before.listed(at(1)).remove(0);
    assert!(!after.restore(source(3), door.clone(), at(1)), "a mark keeps it out");
    assert!(!after.restore(source(4), door, at(6000)), "it has run out");
    assert_eq!(requested(&after, 1, 2, &register(7, 0)), Effect::Renewed, "it is the same registration");
    assert!(!after.admits(source(1), at(66)));
}

/// What happens to a table.
#[derive(Clone, Debug)]
enum Step {
    Register { n: u8, aor: u64, secs: u64 },
    Request { n: u8, opens: bool },
    InDialog { n: u8 },
    Close { n: u8 },
    Mark { n: u8 },
    Exclude { n: u8 },
    Flush,
    Sweep,
    Restart,
    Limit { max: usize },
    Wait { secs: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0u8..6;
    prop_oneof![
        6 => (n.clone(), 0u64..8, 0u64..400).prop_map(|(n, aor, secs)| Step::Register { n, aor, secs }),
        2 => (n.clone(), any::<bool>()).prop_map(|(n, opens)| Step::Request { n, opens }),
        1 => n.clone().prop_map(|n| Step::InDialog { n }),
        1 => n.clone().prop_map(|n| Step::Close { n }),
        1 => n.clone().prop_map(|n| Step::Mark { n }),
        1 => n.prop_map(|n| Step::Exclude { n }),
        1 => Just(Step::Flush),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
        1 => (1usize..5).prop_map(|max| Step::Limit { max }),
        4 => (0u64..200).prop_map(|secs| Step::Wait { secs }),
    ]
}

proptest! {
    /// The index against a look at each registration of each open door, and the orders against the doors.
    #[test]
    fn a_user_is_known_as_long_as_a_door_is_held_for_it(steps in prop::collection::vec(step(), 0..80)) {
        let (mut table, mut now) = (OutboundTable::new(4), 0);
        for step in steps {
            match step {
                // Two accounts with one user, as with two providers.
                Step::Register { n, aor, secs } => {
                    let users = [aor / 2 + 1, if aor == 7 { 0 } else { aor / 4 + 1 }];
                    let request = OutboundRequest::Register(ContactBinding { aor, users }, Duration::from_secs(secs));
                    requested(&table, n, now, &request);
                }
                Step::Request { n, opens } => _ = requested(&table, n, now, if opens { &OPTIONS } else { &BYE }),
                Step::InDialog { n } => table.in_dialog(source(n), at(now), LIFE),
                Step::Close { n } => _ = table.close(source(n), at(now)),
                Step::Mark { n } => _ = table.mark(source(n), at(now), Duration::from_secs(100)),
                Step::Exclude { n } => {
                    let net = format!("{}/32", address(n)).parse().unwrap();
                    table.exclude(NetSet::new(&[net]), at(now));
                }
                Step::Flush => _ = table.flush(at(now)),
                Step::Sweep => _ = table.sweep(at(now)),
                Step::Restart => {
                    let next = OutboundTable::new(table.max());
                    table.marks(at(now)).into_iter().for_each(|(of, mark)| next.restore_mark(of, mark, at(now)));
                    table.listed(at(now)).into_iter().for_each(|(of, door)| _ = next.restore(of, door, at(now)));
                    table = next;
                }
                Step::Limit { max } => table.limit(max),
                Step::Wait { secs } => now += secs,
            }
            let open = table.listed(at(now));
            for user in 1..6 {
                let held = |held: &HeldBinding| at(now) < held.until && held.binding.users.contains(&user);
                let known = open.iter().any(|(_, door)| door.bindings.iter().any(held));
                prop_assert_eq!(table.has_user(user, at(now)), known, "user {} at {}", user, now);
            }
            prop_assert!(!table.has_user(0, at(now)), "no user is none");
            prop_assert_eq!(table.open_count(at(now)), open.len());
        }
        table.flush(at(now));
        prop_assert!(!table.has_users());
    }
}
