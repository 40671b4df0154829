//! One forged datagram, and what its sender gets by that: nothing.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::guard::{Guard, Sentinel, Settings, invite, options};
use super::hosts::{Family, Host, pbx as pbx_at};
use super::site::Site;
use super::software::{Pbx, Phone, Trunk, WAYS};
use super::trunk::is_shut_out;
use crate::common::gate::PORT;
use crate::common::program::patiently;

/// A datagram with the source address of somebody who may pass. `SOURCE`, `ATTACKER` and `CALL` are filled in.
struct Forged {
    name: &'static str,
    from: Source,
    message: &'static str,
    to: Target,
    /// The beginning of what the PBX sends the attacker because of it; none if it sends nothing.
    earns: &'static str,
    /// Whether the datagram itself reaches the PBX.
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
    /// A PBX that sends its answers to `maddr`, as RFC 3261 says and pjsip does (18.2.2). Kamailio does not.
    AnswersMaddr,
}

const FORGED: &[Forged] = &[
    Forged {
        name: "an answer to maddr",
        from: Source::Phone,
        to: Target::AnswersMaddr,
        message: "OPTIONS sip:s@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;maddr=ATTACKER;branch=z9hG4bK1\r\n\
                  From: <sip:a@a>;tag=1\r\nTo: <sip:s@192.0.2.1>\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\n\
                  Content-Length: 0\r\n\r\n",
        earns: "SIP/2.0 200 ",
        passes: true,
    },
    Forged {
        name: "a BYE to the Contact of a dialog without a tag in From",
        from: Source::Phone,
        to: Target::Kamailio,
        message: "INVITE sip:hangup@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5099;branch=z9hG4bK2\r\n\
                  From: <sip:a@a>\r\nTo: <sip:hangup@192.0.2.1>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\n\
                  Contact: <sip:a@ATTACKER:5060>\r\nContent-Length: 0\r\n\r\n",
        earns: "BYE ",
        passes: true,
    },
    Forged {
        name: "a challenge to maddr for a registration of its Contact",
        from: Source::Phone,
        to: Target::AnswersMaddr,
        message: "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;maddr=ATTACKER;branch=z9hG4bK3\r\n\
                  From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\n\
                  CSeq: 1 REGISTER\r\nContact: <sip:201@ATTACKER:5060>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
        earns: "SIP/2.0 401 ",
        passes: true,
    },
    Forged {
        name: "a request of a dialog along a Route",
        from: Source::Phone,
        to: Target::Kamailio,
        message: "OPTIONS sip:a@ATTACKER SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5099;branch=z9hG4bK4\r\n\
                  Route: <sip:192.0.2.1;lr>, <sip:ATTACKER;lr>\r\nFrom: <sip:a@a>;tag=1\r\n\
                  To: <sip:a@ATTACKER>;tag=2\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
                  Content-Length: 0\r\n\r\n",
        earns: "OPTIONS ",
        passes: true,
    },
    Forged {
        name: "a call with a Route",
        from: Source::Phone,
        to: Target::Kamailio,
        message: "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5099;branch=z9hG4bK5\r\n\
                  Route: <sip:ATTACKER;lr>\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: CALL\r\n\
                  CSeq: 1 INVITE\r\nContact: <sip:a@ATTACKER:5060>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        earns: "",
        passes: true,
    },
    Forged {
        name: "a trunk's request with a tag in From, which may pass",
        from: Source::Trunk,
        to: Target::Kamailio,
        message: "OPTIONS sip:s@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;branch=z9hG4bK6\r\n\
                  From: <sip:a@a>;tag=1\r\nTo: <sip:s@192.0.2.1>\r\nCall-ID: CALL\r\nCSeq: 1 OPTIONS\r\n\
                  Content-Length: 0\r\n\r\n",
        earns: "",
        passes: true,
    },
    Forged {
        name: "a trunk's call without a tag in From",
        from: Source::Trunk,
        to: Target::Kamailio,
        message: "INVITE sip:hangup@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;branch=z9hG4bK7\r\n\
                  From: <sip:a@a>\r\nTo: <sip:hangup@192.0.2.1>\r\nCall-ID: CALL\r\nCSeq: 1 INVITE\r\n\
                  Contact: <sip:a@ATTACKER:5060>\r\nContent-Length: 0\r\n\r\n",
        earns: "",
        passes: false,
    },
    Forged {
        name: "a trunk's call with a tag inside the URI of From alone",
        from: Source::Trunk,
        to: Target::Kamailio,
        message: "INVITE sip:hangup@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;branch=z9hG4bK8\r\n\
                  From: \";tag=1\" <sip:a@a;tag=1>\r\nTo: <sip:hangup@192.0.2.1>\r\nCall-ID: CALL\r\n\
                  CSeq: 1 INVITE\r\nContact: <sip:a@ATTACKER:5060>\r\nContent-Length: 0\r\n\r\n",
        earns: "",
        passes: false,
    },
    Forged {
        name: "a trunk's REGISTER in disguise",
        from: Source::Trunk,
        to: Target::Kamailio,
        message: "\r\n\r\nReGiStEr sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;branch=z9hG4bK9\r\n\
                  From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\n\
                  CSeq: 1 ReGiStEr\r\nContact: <sip:201@ATTACKER:5060>\r\nContent-Length: 0\r\n\r\n",
        earns: "",
        passes: false,
    },
    Forged {
        name: "a trunk's REGISTER",
        from: Source::Trunk,
        to: Target::Kamailio,
        message: "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP SOURCE:5060;branch=z9hG4bK10\r\n\
                  From: <sip:201@pbx.example>;tag=1\r\nTo: <sip:201@pbx.example>\r\nCall-ID: CALL\r\n\
                  CSeq: 1 REGISTER\r\nContact: <sip:201@ATTACKER:5060>\r\nContent-Length: 0\r\n\r\n",
        earns: "",
        passes: false,
    },
];

pub(crate) fn attackers_earn_nothing() {
    let site = Site::new();
    let trunk = Trunk::start(&site, 20);
    let guard = Guard::start(&site, &Settings::default());
    let pbx = Pbx::start_with(&site, &[(&trunk.host, WAYS[0])]);
    let sentinel = Sentinel::new(&site);
    let phone = Phone::start(&site, 201, WAYS[0]);
    pbx.wait_for_registrations(1, &phone);
    trunk.wait_for_registrations(&WAYS[..1]);
    site.pbx.ip("addr add 192.0.2.3/24 dev eth0\n");
    let other = site.pbx.udp(format!("192.0.2.3:{PORT}").parse().unwrap());
    // Each has an attacker of its own, so that none profits from another's work.
    for (number, forged) in (100..).zip(FORGED) {
        let attacker = site.host(number);
        site.watch(&attacker);
        is_shut_out(&site, &pbx, &sentinel, &attacker);
        let ear = attacker.udp(format!("{}:{PORT}", attacker.v4).parse().unwrap());
        let source = if forged.from == Source::Phone { &phone.host } else { &trunk.host };
        let call_id = format!("forged-{number}");
        let message = forged.message.replace("SOURCE", &source.v4).replace("ATTACKER", &attacker.v4);
        // A port of its own: those of phone and trunk are theirs.
        let mouth = attacker.forged_udp(format!("{}:5099", source.v4).parse().unwrap());
        let message = message.replace("CALL", &call_id);
        if forged.to == Target::AnswersMaddr {
            mouth.send_to(message.as_bytes(), other.local_addr().unwrap()).unwrap();
            answer_maddr(&other, forged.earns, &attacker);
        } else {
            mouth.send_to(message.as_bytes(), pbx_at(Family::V4)).unwrap();
            sentinel.settle(&pbx);
            assert_eq!(pbx.heard_call(&call_id), forged.passes, "{}: {:#?}", forged.name, pbx.log());
        }
        if !forged.earns.is_empty() {
            let heard = hears(&ear, forged.earns);
            assert!(heard, "{}: the PBX sent nothing that begins with {:?}", forged.name, forged.earns);
        }
        tries_everything(&attacker, &ear, other.local_addr().unwrap());
        is_shut_out(&site, &pbx, &sentinel, &attacker);
        assert_eq!(site.passed(&attacker), 0, "{}", forged.name);
        assert!(guard.doors(&attacker.v4).is_empty(), "{}: {:?}", forged.name, guard.doors(&attacker.v4));
        eprintln!("{}: nothing of its sender has passed", forged.name);
    }
}

/// Takes a request, and sends its answer to the address in `maddr`.
fn answer_maddr(pbx: &UdpSocket, answer: &str, attacker: &Host) {
    let mut buffer = [0; 4096];
    let (length, _) = patiently(|| pbx.recv_from(&mut buffer).ok()).expect("the forged datagram passes");
    let request = String::from_utf8_lossy(&buffer[..length]);
    assert!(request.contains(&format!("maddr={};", attacker.v4)), "{request}");
    let (_, headers) = request.split_once("\r\n").unwrap();
    let to = format!("{}:{PORT}", attacker.v4);
    pbx.send_to(format!("{answer}\r\n{headers}").as_bytes(), to).unwrap();
}

/// Whether a datagram comes that begins so.
fn hears(ear: &UdpSocket, beginning: &str) -> bool {
    let mut buffer = [0; 4096];
    patiently(|| {
        let (length, _) = ear.recv_from(&mut buffer).ok()?;
        buffer[..length].starts_with(beginning.as_bytes()).then_some(())
    })
    .is_some()
}

/// From the very port to which the PBX has sent: an answer, a call, a BYE, junk.
fn tries_everything(attacker: &Host, ear: &UdpSocket, other: SocketAddr) {
    let way = WAYS[0];
    let answer = options("attacker", attacker, way, "stranger");
    let answer = answer.split_once("\r\n").unwrap().1;
    for message in [
        format!("SIP/2.0 200 OK\r\n{answer}"),
        format!("BYE sip:s@192.0.2.1 SIP/2.0\r\n{}", answer.replace("OPTIONS", "BYE")),
        options("attacker", attacker, way, "stranger"),
        invite(attacker, way, "stranger"),
        "\r\n\r\n".to_owned(),
        "junk".to_owned(),
    ] {
        for pbx in [pbx_at(Family::V4), other] {
            ear.send_to(message.as_bytes(), pbx).unwrap();
        }
        // A copy of what the PBX sends may be on its way.
        thread::sleep(Duration::from_millis(10));
    }
}
