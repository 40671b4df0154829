//! Doors that go by registrations.

use super::*;

#[test]
fn a_registrations_life_is_the_doors() {
    let life = |text: &str, ends| {
        let message = format!("REGISTER sip:a SIP/2.0\r\nTo: <sip:100@a>\r\nFrom: s3cret-one\r\n{text}\r\n");
        let knock = Knock { door: Life::Registration, ..knock("a", "s3cret-one") };
        let bounds = Bounds { min: Duration::from_secs(60), max: Duration::from_secs(7200) };
        let policy = Policy { registrations: bounds, ..Policy::default() };
        let gate = Inspector::new(policy, KnockSet::new(vec![knock]).unwrap(), 10);
        if ends {
            gate.inspect(
                at(0),
                &ipv4(
                    PHONE,
                    &udp(b"REGISTER sip:a SIP/2.0\r\nTo: <sip:100@a>\r\nX: s3cret-one\r\nm: sip:a@b\r\n\r\n"),
                ),
            );
        }
        match gate.inspect(at(100), &ipv4(PHONE, &udp(message.as_bytes()))).change() {
            Some(Change::Opened { door, .. } | Change::Renewed(door)) => {
                door.expires.since(at(100)).as_secs()
            }
            other => panic!("{other:?}"),
        }
    };
    for (text, expected) in [
        ("", 3960),
        ("Expires: 600\r\n", 660),
        ("Expires: 120\r\n", 150),
        ("Expires: 10\r\n", 60),
        ("Expires: 86400\r\n", 7200),
        ("Expires: 600\r\nContact: <sip:a@b>;expires=300\r\n", 330),
        ("Expires: 600\r\nm: <sip:a@b;expires=5>, <sip:c@d>;expires=0\r\n", 660),
        ("Expires: soon\r\n", 3960),
        ("Expires: 0\r\nContact: *\r\n", 32),
        ("Contact: <sip:a@b>;expires=0\r\n", 32),
    ] {
        assert_eq!(life(text, false), expected, "{text:?}");
    }
    assert_eq!(life("Contact: <sip:a@b>;expires=0\r\n", true), 32);
}

/// Neither says an instance, as many desk phones.
#[test]
fn one_phone_that_leaves_shuts_out_no_other_of_the_same_user() {
    let knock = Knock { door: Life::Registration, ..knock("a", "s3cret-one") };
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    for (secs, host, expires) in [(0, 11, 3600), (0, 12, 3600), (10, 11, 0)] {
        let message = format!(
            "REGISTER sip:a SIP/2.0\r\nTo: s3cret-one <sip:1@a>\r\nContact: <sip:1@10.0.0.{host}>;expires={expires}\r\n\r\n"
        );
        assert_eq!(gate.inspect(at(secs), &ipv4(PHONE, &udp(message.as_bytes()))).reason, Reason::Knock);
    }
    assert_eq!(gate.inspect(at(3000), &ipv4(PHONE, &udp(PLAIN))).reason, Reason::Door);
}

const URN: &str = "+sip.instance=\"<urn:uuid:3d3f9a2e-6c1b-4e7d-9a55-0d2f7c41be90>\"";

/// When a door shuts to which only registrations are claims: REGISTERs at their seconds, each with its contacts.
fn shuts_after(registers: &[(u64, &str)]) -> u64 {
    let knock = Knock { door: Life::Registration, ..knock("a", "s3cret-one") };
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    let mut shuts = 0;
    for (secs, contacts) in registers {
        let message = format!("REGISTER sip:a SIP/2.0\r\nTo: s3cret-one <sip:1@a>\r\n{contacts}\r\n\r\n");
        match gate.inspect(at(*secs), &ipv4(PHONE, &udp(message.as_bytes()))).change() {
            Some(Change::Opened { door, .. } | Change::Renewed(door)) => {
                shuts = door.expires.since(at(0)).as_secs()
            }
            other => panic!("{other:?}"),
        }
    }
    shuts
}

#[test]
fn a_registration_is_an_instance_and_its_flow_or_a_contact() {
    let [one, two, device] =
        [";reg-id=1", ";reg-id=2", ""].map(|flow| format!("Contact: <sip:1@b>;{URN}{flow}"));
    let (over, both) =
        (|contact: &str| format!("{contact};expires=0"), |a: &str, b: &str| format!("{a}\r\n{b}"));
    let moved = device.replace("1@b", "1@d");
    let (here, there) = ("Contact: <sip:1@b>", "Contact: <sip:1@c>");
    for (name, registers, shuts) in [
        ("a flow ends", vec![(0, one.clone()), (1, two.clone()), (20, over(&one))], 3961),
        ("both flows end", vec![(0, one.clone()), (1, two.clone()), (20, over(&one)), (21, over(&two))], 53),
        ("both flows in one message", vec![(0, both(&one, &two)), (20, over(&one)), (21, over(&two))], 53),
        (
            "a device without a flow moves",
            vec![(0, device.clone()), (1, moved.clone()), (20, over(&moved))],
            52,
        ),
        ("it moves and says so", vec![(0, device.clone()), (1, both(&moved, &over(&device)))], 3961),
        ("a contact ends", vec![(0, here.into()), (1, there.into()), (20, over(here))], 3961),
        ("beside another", vec![(0, here.into()), (1, both(there, &over(here))), (20, over(there))], 52),
        ("before another", vec![(0, here.into()), (1, both(&over(here), there)), (20, over(there))], 52),
        ("one of two", vec![(0, both(here, there)), (20, over(here))], 3960),
        ("all", vec![(0, both(here, there)), (20, "Contact: *\r\nExpires: 0".into())], 52),
        ("two at once", vec![(0, both(here, there)), (20, both(&over(here), &over(there)))], 52),
    ] {
        let registers: Vec<_> = registers.iter().map(|(secs, text)| (*secs, text.as_str())).collect();
        assert_eq!(shuts_after(&registers), shuts, "{name}");
    }
}

/// A REGISTER of as many contacts as fit in a datagram takes no more of a door than some.
#[test]
fn no_message_makes_more_than_a_few_claims() {
    let contacts: Vec<_> = (0..900).map(|n| format!("m: <sip:{n}@b>")).collect();
    let knock = Knock { door: Life::Registration, ..knock("a", "s3cret-one") };
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    let message =
        format!("REGISTER sip:a SIP/2.0\r\nTo: s3cret-one <sip:1@a>\r\n{}\r\n\r\n", contacts.join("\r\n"));
    assert_eq!(gate.inspect(at(0), &ipv4(PHONE, &udp(message.as_bytes()))).reason, Reason::Knock);
    let source = gate.cut().source(PHONE.parse().unwrap());
    assert_eq!(gate.doors().look(source, at(1)).unwrap().claims.len(), 32);
}

#[test]
fn the_packets_that_end_a_registration_still_pass() {
    let knock = Knock { door: Life::Registration, ..knock("a", "s3cret-one") };
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    let message =
        |expires| format!("REGISTER sip:a SIP/2.0\r\nTo: s3cret-one <sip:1@a>\r\nExpires: {expires}\r\n\r\n");
    for (secs, payload, reason) in [
        (0, message(3600), Reason::Knock),
        (10, message(0), Reason::Knock),
        (41, PLAIN_TEXT.to_owned(), Reason::Door),
        (42, PLAIN_TEXT.to_owned(), Reason::Expired),
        (43, message(3600), Reason::Knock),
        (3000, PLAIN_TEXT.to_owned(), Reason::Door),
    ] {
        let decision = gate.inspect(at(secs), &ipv4(PHONE, &udp(payload.as_bytes())));
        assert_eq!(decision.reason, reason, "at {secs}");
    }
}
