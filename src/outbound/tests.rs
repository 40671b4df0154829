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

fn register(aor: u64, secs: u64) -> Request {
    Request::Register(Binding { aor, users: [aor | 1, 0] }, Duration::from_secs(secs))
}

const OPTIONS: Request = Request::Opening(Method::Options);
const BYE: Request = Request::Other(Method::Other);

fn requested(table: &OutboundTable, n: u8, secs: u64, request: &Request) -> Effect {
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
fn a_full_table_evicts_the_one_called_longest_ago() {
    let table = OutboundTable::new(2);
    requested(&table, 1, 0, &OPTIONS);
    requested(&table, 2, 1, &OPTIONS);
    requested(&table, 1, 2, &BYE);
    requested(&table, 3, 3, &OPTIONS);
    let open: Vec<_> = table.listed(at(4)).into_iter().map(|(source, _)| source).collect();
    assert_eq!(open, [source(1), source(3)]);
    assert_eq!(table.len(), 2);
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
    table.exclude(NetSet::new(&["192.0.2.1/32".parse().unwrap()]));
    assert_eq!(requested(&table, 1, 0, &OPTIONS), Effect::Nothing);
    assert_eq!(requested(&table, 2, 0, &OPTIONS), Effect::Opened { expires: at(1000) });
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
