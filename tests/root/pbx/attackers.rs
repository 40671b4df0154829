//! Requests that name somebody, and what these get by that: nothing. Over UDP they come from a forged address, over TCP from
//! the address itself: whoever shares it, or sits on the way, can do the handshake.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::ends::{Ear, Mouth};
use super::guard::{Guard, Sentinel, Settings, invite, options};
use super::hosts::{Family, Host, pbx as pbx_at};
use super::site::{Site, uri_host};
use super::software::{Pbx, Phone, Trunk, WAYS, Way};
use super::trunk::is_shut_out;
use crate::common::gate::PORT;

/// Messages from the address of somebody who may pass. [`fill`] completes them.
struct Forged {
    name: &'static str,
    from: Source,
    messages: &'static [&'static str],
    to: Target,
    /// The beginning of what the PBX sends the attacker because of each message; none if it sends nothing.
    earns: &'static [&'static str],
    /// Whether the messages themselves reach the PBX.
    passes: bool,
}

#[derive(PartialEq)]
enum Source {
    /// A phone with an open door.
    Phone,
    /// The trunk, which has an outbound door.
    Trunk,
}

#[derive(PartialEq)]
enum Target {
    Kamailio,
    /// A PBX that sends its answers to `maddr`, as RFC 3261 says and pjsip does (18.2.2). Kamailio does not. Over TCP,
    /// where the RFC wants the connection of the request, this one does so as well.
    AnswersMaddr,
}

const FORGED: &[Forged] = &[
    Forged {
        name: "an answer, and a challenge to a registration, to maddr",
        from: Source::Phone,
        to: Target::AnswersMaddr,
        messages: &[
            "OPTIONS sip:s@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;maddr=ATTACKER;branch=z9hG4bK1\r\n\
             From: <sip:a@a>;tag=1\r\nTo: <sip:s@PBX>\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            "REGISTER sip:PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;maddr=ATTACKER;branch=z9hG4bK3\r\n\
             From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:201@ATTACKER:5060;PARAMETER>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
        ],
        earns: &["SIP/2.0 200 ", "SIP/2.0 401 "],
        passes: true,
    },
    Forged {
        name: "a BYE to the Contact of a dialog without a tag in From",
        from: Source::Phone,
        to: Target::Kamailio,
        messages: &[
            "INVITE sip:hangup@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5099;branch=z9hG4bK2\r\nFrom: <sip:a@a>\r\n\
             To: <sip:hangup@PBX>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\nContact: <sip:a@ATTACKER:5060;PARAMETER>\r\n\
             Content-Length: 0\r\n\r\n",
        ],
        earns: &["BYE "],
        passes: true,
    },
    Forged {
        name: "a request of a dialog along a Route",
        from: Source::Phone,
        to: Target::Kamailio,
        messages: &[
            "OPTIONS sip:a@ATTACKER;PARAMETER SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5099;branch=z9hG4bK4\r\n\
             Route: <sip:PBX;PARAMETER;lr>, <sip:ATTACKER;PARAMETER;lr>\r\nFrom: <sip:a@a>;tag=1\r\n\
             To: <sip:a@ATTACKER>;tag=2\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
        ],
        earns: &["OPTIONS "],
        passes: true,
    },
    Forged {
        name: "a call with a Route",
        from: Source::Phone,
        to: Target::Kamailio,
        messages: &["INVITE sip:a@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5099;branch=z9hG4bK5\r\n\
             Route: <sip:ATTACKER;PARAMETER;lr>\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:a@PBX>\r\nCall-ID: CALL\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:a@ATTACKER:5060;PARAMETER>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"],
        earns: &[],
        passes: true,
    },
    Forged {
        name: "a trunk's request with a tag in From, which may pass",
        from: Source::Trunk,
        to: Target::Kamailio,
        messages: &[
            "OPTIONS sip:s@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;branch=z9hG4bK6\r\nFrom: <sip:a@a>;tag=1\r\n\
             To: <sip:s@PBX>\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        ],
        earns: &[],
        passes: true,
    },
    Forged {
        name: "a trunk's call without a tag in From, or with one inside its URI alone",
        from: Source::Trunk,
        to: Target::Kamailio,
        messages: &[
            "INVITE sip:hangup@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;branch=z9hG4bK7\r\nFrom: <sip:a@a>\r\n\
             To: <sip:hangup@PBX>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\nContact: <sip:a@ATTACKER:5060;PARAMETER>\r\n\
             Content-Length: 0\r\n\r\n",
            "INVITE sip:hangup@PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;branch=z9hG4bK8\r\n\
             From: \";tag=1\" <sip:a@a;tag=1>\r\nTo: <sip:hangup@PBX>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@ATTACKER:5060;PARAMETER>\r\nContent-Length: 0\r\n\r\n",
        ],
        earns: &[],
        passes: false,
    },
    Forged {
        name: "a trunk's REGISTER, plain and in disguise",
        from: Source::Trunk,
        to: Target::Kamailio,
        messages: &[
            "REGISTER sip:PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;branch=z9hG4bK10\r\n\
             From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:201@ATTACKER:5060;PARAMETER>\r\nContent-Length: 0\r\n\r\n",
            "\r\n\r\nReGiStEr sip:PBX SIP/2.0\r\nVia: SIP/2.0/TRANSPORT SOURCE:5060;branch=z9hG4bK9\r\n\
             From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\nCSeq: 1 ReGiStEr\r\n\
             Contact: <sip:201@ATTACKER:5060;PARAMETER>\r\nContent-Length: 0\r\n\r\n",
        ],
        earns: &[],
        passes: false,
    },
];

/// The parties of the test.
struct Scene {
    site: Site,
    guard: Guard,
    pbx: Pbx,
    sentinel: Sentinel,
    trunk: Trunk,
    /// One for each way.
    phones: Vec<Phone>,
}

pub(crate) fn attackers_earn_nothing() {
    let site = Site::new();
    let trunk = Trunk::start(&site, 20);
    let guard = Guard::start(&site, &Settings::default());
    let pbx = Pbx::start_with(&site, &WAYS.map(|way| (&trunk.host, way)));
    let sentinel = Sentinel::new(&site);
    let phones = Phone::start_all(&site, &pbx);
    trunk.wait_for_registrations(&WAYS);
    site.pbx.ip(&format!("addr add {OTHER4}/24 dev eth0\naddr add {OTHER6}/64 dev eth0 nodad\n"));
    let scene = Scene { site, guard, pbx, sentinel, trunk, phones };
    let mut number = 100;
    for (way, phone) in WAYS.into_iter().zip(&scene.phones) {
        let other = Ear::open_at(&scene.site.pbx, way, other(way.family));
        for forged in FORGED {
            // Each has an attacker of its own, so that none profits from another's work.
            attack(&scene, forged, way, phone, &other, number);
            number += 1;
        }
    }
}

/// One row over one way.
fn attack(scene: &Scene, forged: &Forged, way: Way, phone: &Phone, other: &Ear, number: u8) {
    let Scene { site, guard, pbx, sentinel, trunk, .. } = scene;
    let name = format!("{} ({way:?})", forged.name);
    let attacker = site.host(number);
    site.watch(&attacker);
    is_shut_out(site, pbx, sentinel, &attacker);
    let source = if forged.from == Source::Phone { &phone.host } else { &trunk.host };
    let ear = Ear::open(&attacker, way);
    let target = match forged.to {
        Target::Kamailio => pbx_at(way.family),
        Target::AnswersMaddr => other.address(),
    };
    for (index, message) in forged.messages.iter().enumerate() {
        let message = fill(message, way, source, &attacker);
        // The attacker's own words, in its own name.
        let own = format!("own-{number}-{index}");
        let _connection = Mouth::own(&attacker, way).say(&message.replace("CALL", &own), target);

        let call_id = format!("forged-{number}-{index}");
        let mouth = Mouth::forged(&attacker, source, way);
        let _connection = mouth.say(&message.replace("CALL", &call_id), target);
        if forged.to == Target::AnswersMaddr {
            let request = other.hears().expect("it passes");
            // And not the attacker's own.
            assert!(request.contains(&call_id), "{name}: {request}");
            answer_maddr(site, other, &request, forged.earns[index], &attacker, way);
        } else {
            sentinel.settle(pbx);
            assert_eq!(pbx.heard_call(&call_id), forged.passes, "{name}: {:#?}", pbx.log());
        }
        if let Some(beginning) = forged.earns.get(index) {
            assert!(ear.hears_of(beginning), "{name}: the PBX sent nothing that begins with {beginning:?}");
        }
        assert!(!pbx.heard_call(&own), "{name}: {:#?}", pbx.log());
    }
    tries_everything(&attacker, &ear, way, other.address());
    is_shut_out(site, pbx, sentinel, &attacker);
    assert_eq!(site.passed(&attacker), 0, "{name}");
    for door in [attacker.v4.clone(), format!("{}/64", attacker.v6.strip_suffix('1').unwrap())] {
        assert!(guard.doors(&door).is_empty(), "{name}: {:?}", guard.doors(&door));
    }
    eprintln!("{name}: nothing of its sender has passed");
}

/// Names the parties of a message, by their addresses of a family.
fn fill(message: &str, way: Way, source: &Host, attacker: &Host) -> String {
    message
        .replace("TRANSPORT", &way.transport.to_uppercase())
        .replace("PARAMETER", &format!("transport={}", way.transport))
        .replace("SOURCE", &host_of(source, way.family))
        .replace("ATTACKER", &host_of(attacker, way.family))
        .replace("PBX", &uri_host(way.family))
}

/// The host of a SIP URI.
fn host_of(host: &Host, family: Family) -> String {
    if family == Family::V4 { host.v4.clone() } else { format!("[{}]", host.v6) }
}

/// Sends an answer to the address in `maddr`: from the very port over UDP, and over a connection of its own over TCP.
fn answer_maddr(site: &Site, pbx: &Ear, request: &str, answer: &str, attacker: &Host, way: Way) {
    assert!(request.contains(&format!("maddr={};", host_of(attacker, way.family))), "{request}");
    let (_, headers) = request.split_once("\r\n").unwrap();
    let to = SocketAddr::new(attacker.address(way.family), PORT);
    let answer = format!("{answer}\r\n{headers}");
    match way.transport {
        "udp" => pbx.say(&site.pbx, &answer, to),
        _ => _ = Mouth::own(&site.pbx, way).say(&answer, to),
    }
}

/// From the very port to which the PBX has sent: an answer, a call, a BYE, junk.
fn tries_everything(attacker: &Host, ear: &Ear, way: Way, other: SocketAddr) {
    let request = options("attacker", attacker, way, "stranger");
    let headers = request.split_once("\r\n").unwrap().1;
    let mut messages = vec![
        format!("SIP/2.0 200 OK\r\n{headers}"),
        format!("BYE sip:s@{} SIP/2.0\r\n{}", uri_host(way.family), headers.replace("OPTIONS", "BYE")),
        request.clone(),
        invite(attacker, way, "stranger"),
        "junk\r\n\r\n".to_owned(),
    ];
    // Over TCP line ends and the beginning of a header block pass, whoever sends them.
    if way.transport == "udp" {
        messages.extend(["\r\n\r\n", "junk"].map(str::to_owned));
    }
    for message in messages {
        for pbx in [pbx_at(way.family), other] {
            ear.say(attacker, &message, pbx);
        }
        // A copy of what the PBX sends may be on its way.
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where the other PBX listens.
fn other(family: Family) -> SocketAddr {
    let address = if family == Family::V4 { OTHER4 } else { OTHER6 };
    SocketAddr::new(address.parse().unwrap(), PORT)
}

const OTHER4: &str = "192.0.2.3";
const OTHER6: &str = "2001:db8:1::3";
