//! Networks in which each address is a source of its own.

use super::*;
use crate::net::{Cut, Prefixes};

fn knocks() -> KnockSet {
    KnockSet::new(vec![knock("alice", "mykn0ckstr1ng")]).unwrap()
}

fn gate(nat64: &[&str]) -> Inspector {
    Inspector::new(policy(nat64), knocks(), 10)
}

fn policy(nat64: &[&str]) -> Policy {
    let nets = nat64.iter().map(|net| net.parse().unwrap()).collect();
    Policy { cut: Cut::new(Prefixes::default(), nets), ..Policy::default() }
}

#[test]
fn a_door_in_a_translators_prefix_is_for_one_address() {
    for (nat64, phone, other, expected) in [
        (&["64:ff9b::/96"][..], "64:ff9b::c000:207", "64:ff9b::c000:208", Reason::NoKnock),
        (&["2001:db8:64::/96"], "2001:db8:64::c000:207", "2001:db8:64::c000:208", Reason::NoKnock),
        (&[], "fe80::1", "fe80::2", Reason::NoKnock),
        (&[], "2001:0:1:2:3:4:5:6", "2001:0:1:2:3:4:5:7", Reason::NoKnock),
        (&["64:ff9b::/96"], "2001:db8:7::1", "2001:db8:7::2", Reason::Door),
    ] {
        let gate = gate(nat64);
        let at = |from: &str, payload: &[u8]| {
            gate.inspect(Time::from_parts(1, 0), &ipv6(from, &udp(payload))).reason
        };
        assert_eq!(at(phone, b"mykn0ckstr1ng"), Reason::Knock, "{phone}");
        assert_eq!(at(phone, b"no knock"), Reason::Door, "{phone}");
        assert_eq!(at(other, b"no knock"), expected, "{other}");
    }
}

#[test]
fn a_reload_shuts_doors_of_networks_that_are_no_sources_any_more() {
    let now = Time::from_parts(1, 0);
    let (translated, plain, old) = ("2001:db8:64::c000:207", "2001:db8:7::1", "192.0.2.7");
    // There and back: a door of an address is none once its network is a source again.
    for (before, after, shut) in
        [(&[][..], &["2001:db8:64::/96"][..], "2001:db8:64::/64"), (&["2001:db8:64::/96"], &[], translated)]
    {
        let old_gate = gate(before);
        for from in [translated, plain] {
            old_gate.inspect(now, &ipv6(from, &udp(b"mykn0ckstr1ng")));
        }
        old_gate.inspect(now, &ipv4(old, &udp(b"mykn0ckstr1ng")));
        let same = old_gate.successor(policy(before), knocks());
        assert_eq!(same.take_over(10, now, |_, _| panic!("nothing has changed")).closed, 0);
        let next = old_gate.successor(policy(after), knocks());
        let mut closed = Vec::new();
        let retired =
            next.take_over(10, now, |source, _| closed.push(source.display(old_gate.cut()).to_string()));
        assert_eq!((retired.closed, closed), (1, vec![shut.to_owned()]));
        assert_eq!(next.doors().open_count(), 2);
        let reason = |packet: &[u8]| next.inspect(now, packet).reason;
        assert_eq!(reason(&ipv6(translated, &udp(b"no knock"))), Reason::NoKnock);
        assert_eq!(reason(&ipv6(translated, &udp(b"mykn0ckstr1ng"))), Reason::Knock);
        assert_eq!(reason(&ipv6(plain, &udp(b"no knock"))), Reason::Door);
        assert_eq!(reason(&ipv4(old, &udp(b"no knock"))), Reason::Door);
    }
}
