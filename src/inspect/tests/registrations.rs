//! Doors that go by registrations.

use super::*;
use crate::door::{Door, Grant};

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
            Some(DoorChange::Opened { door, .. } | DoorChange::Renewed(door)) => {
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
            Some(DoorChange::Opened { door, .. } | DoorChange::Renewed(door)) => {
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

/// How long the phone asks to be registered stands behind its knock, and may come in a segment of its own.
#[test]
fn a_registration_in_pieces_lives_as_long_as_it_asks_whatever_its_flow_is() {
    let lines = [
        "REGISTER sip:a SIP/2.0",
        "From: <sip:1@a>;tag=1",
        "User-Agent: s3cret-one",
        "Contact: <sip:1@b>;+sip.instance=\"<s3cret-one>\"",
        "Expires: 60",
        "Content-Length: 0",
        "",
        "",
    ];
    let call =
        b"INVITE sip:1@a SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nTo: <sip:1@a>\r\nContent-Length: 0\r\n\r\n";
    let parts = [Part::Anywhere, Part::UserAgent, Part::ContactInstance];
    let flows =
        ["strange", "begun before the gate", "called", "called, behind a call", "doubted", "through a door"];
    let mut wrong = Vec::new();
    for (part, flow) in parts.iter().flat_map(|part| flows.map(|flow| (part, flow))) {
        for (end, text) in [("CR LF", lines.join("\r\n")), ("LF", lines.join("\n"))] {
            let text = text.as_bytes();
            let length = text.len();
            let cuts = (1..length).map(|cut| vec![cut]);
            let twice = (1..length - 20).step_by(7).map(|cut| vec![cut, cut + 20]);
            let small = (8..40).map(|size| (size..length).step_by(size).collect());
            for cuts in cuts.chain(twice).chain(small) {
                let knock =
                    Knock { part: part.clone(), door: Life::Registration, ..knock("a", "s3cret-one") };
                let policy = Policy { outbound: Some(Duration::from_secs(1000)), ..Policy::default() };
                let gate = Inspector::new(policy, KnockSet::new(vec![knock]).unwrap(), 10);
                let source = gate.cut().source(PHONE.parse().unwrap());
                let mut number = 1000;
                let mut send = |flags, payload: &[u8]| {
                    let reason = gate.inspect(at(0), &ipv4(PHONE, &tcp_at(number, flags, payload))).reason;
                    number += u32::try_from(payload.len()).unwrap() + u32::from(flags == SYN);
                    reason
                };
                if flow.starts_with("called") {
                    gate.outgoing(at(0), &outbound::options(PHONE)).unwrap();
                }
                if flow == "doubted" {
                    gate.streams().doubt_all(at(0));
                }
                if flow == "through a door" {
                    let by_hand =
                        Grant { knock: Door::by_hand(), life: Duration::from_secs(10), registration: None };
                    gate.doors().knock(source, at(0), &[by_hand]);
                }
                if flow != "begun before the gate" {
                    send(SYN, b"");
                }
                if flow == "called, behind a call" {
                    assert_eq!(send(0, call), Reason::Outbound);
                }
                let ends = cuts.iter().copied().chain([length]);
                let starts = [0].into_iter().chain(cuts.iter().copied());
                let reasons: Vec<_> = starts.zip(ends).map(|(from, to)| send(0, &text[from..to])).collect();
                let life = gate.doors().door(source, at(0)).map(|door| door.expires.since(at(0)).as_secs());
                if life != Some(90) {
                    wrong.push(format!("{part}, {flow}, {end}, cut at {cuts:?}: {life:?}, {reasons:?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them: {:#?}",
        wrong.len(),
        wrong.iter().step_by(1 + wrong.len() / 30).collect::<Vec<_>>()
    );
}
