//! Packets, right and wrong.

use sipknock::knock::Knock;

use crate::configurations::uuid;
use crate::dice::Dice;

/// A UDP datagram to port 5060.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap();
    [&5061_u16.to_be_bytes()[..], &5060_u16.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A TCP segment to port 5060.
pub(crate) fn tcp(payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
    [&5061_u16.to_be_bytes()[..], &5060_u16.to_be_bytes(), &rest, payload].concat()
}

/// An IPv4 packet; TCP if the transport header says so.
pub(crate) fn ipv4(transport: &[u8]) -> Vec<u8> {
    let is_tcp = transport.get(12) == Some(&0x50) && transport.get(13) == Some(&0x18);
    ipv4_with(if is_tcp { 6 } else { 17 }, 0, &[], transport)
}

pub(crate) fn ipv4_with(protocol: u8, fragment: u16, options: &[u8], data: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + data.len()).unwrap();
    let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    packet.extend(total.to_be_bytes());
    packet.extend(0x1234_u16.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 203, 0, 113, 7, 192, 0, 2, 1]);
    packet.extend(options);
    packet.extend(data);
    packet
}

pub(crate) fn ipv6(udp: &[u8]) -> Vec<u8> {
    ipv6_with(17, udp)
}

pub(crate) fn ipv6_with(next: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let address = |last: u8| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 64], &address(7), &address(1), data].concat()
}

/// A phone's REGISTER of some 500 bytes, with this as its display name.
pub(crate) fn register(display: &str) -> Vec<u8> {
    message(display, "<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>", "8c2a41f09e").into_bytes()
}

fn message(display: &str, instance: &str, tag: &str) -> String {
    format!(
        "REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bK{tag};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"{display}\" <sip:100@pbx.example.com>;tag={tag}\r\nTo: <sip:100@pbx.example.com>\r\n\
         Call-ID: {tag}5c4b3928@192.168.1.5\r\nCSeq: 2 REGISTER\r\nContact: <sip:100@192.168.1.5:5060;transport=udp>;\
         +sip.instance=\"{instance}\";expires=3600\r\nUser-Agent: Yealink SIP-T46S 66.85.0.5\r\nX-Door: none\r\n\
         Allow-Events: presence, message-summary\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A stranger's REGISTER of some 700 bytes, with names, tags and an instance of its own.
pub(crate) fn stranger(dice: &mut Dice) -> Vec<u8> {
    let display = *dice.of(&["Alice", "Front Desk", "200", "\u{00fc}nknown", "sipvicious", "Anonymous"]);
    let tag = dice.text("abcdefghijklmnopqrstuvwxyz0123456789", 20);
    let instance = format!("<{}>", uuid(dice));
    let text = message(display, &instance, &tag);
    let nonce = dice.text("0123456789abcdef", 32);
    text.replace("Content-Length", &format!("Authorization: Digest nonce=\"{nonce}\"\r\nContent-Length"))
        .into_bytes()
}

/// A packet of any kind, likely one with a knock in it or something like one.
pub(crate) fn random(dice: &mut Dice, knocks: &[Knock]) -> Vec<u8> {
    let payload = payload(dice, knocks);
    let mut transport = if dice.once_in(12) { tcp(&payload) } else { udp(&payload) };
    if dice.once_in(12) {
        // A wrong length or header length.
        let at = 4 + dice.below(10);
        transport[at.min(7)] = *dice.of(&[0, 1, 4, 7, 8, 9, 0x40, 0x60, 0xf0, 0xff]);
    }
    let mut packet =
        if dice.once_in(2) { random_ipv4(dice, &transport) } else { random_ipv6(dice, &transport) };
    match dice.below(16) {
        0 => packet.truncate((20 + dice.below(60)).min(packet.len())),
        1 => {
            let length = 1 + dice.below(30);
            packet.extend(dice.bytes(length));
        }
        2 => {
            let at = dice.below(packet.len().min(60));
            packet[at] ^= 1 << dice.below(8);
        }
        _ => {}
    }
    // The kernel runs no program on less than a header.
    let header = if packet.first().is_some_and(|first| first >> 4 == 6) { 40 } else { 20 };
    packet.resize(packet.len().max(header), 0);
    packet
}

fn random_ipv4(dice: &mut Dice, transport: &[u8]) -> Vec<u8> {
    let protocol = if transport.get(12) == Some(&0x50) { 6 } else { 17 };
    let protocol = if dice.once_in(40) { 1 } else { protocol };
    let fragment = if dice.once_in(12) { *dice.of(&[0x2000, 0x2001, 1, 0x1fff, 0x4000]) } else { 0 };
    let words = if dice.once_in(6) { dice.below(11) } else { 0 };
    let options = dice.bytes(4 * words);
    ipv4_with(protocol, fragment, &options, transport)
}

fn random_ipv6(dice: &mut Dice, transport: &[u8]) -> Vec<u8> {
    let mut next = if transport.get(12) == Some(&0x50) { 6 } else { 17 };
    let mut data = transport.to_vec();
    let extensions = if dice.once_in(3) { dice.below(11) } else { 0 };
    for _ in 0..extensions {
        let kind = *dice.of(&[0, 43, 44, 51, 60]);
        let header = match kind {
            44 => {
                let flags = *dice.of(&[0_u8, 0, 0, 1, 8]);
                vec![next, dice.bytes(1)[0], 0, flags, 0, 0, 0, 1]
            }
            51 => {
                let words = 1 + dice.below(4);
                let said = if dice.once_in(20) { 0 } else { u8::try_from(words).unwrap() };
                [vec![next, said], vec![1; words * 4 + 6]].concat()
            }
            _ => {
                let words = dice.below(3);
                [vec![next, u8::try_from(words).unwrap()], vec![1; words * 8 + 6]].concat()
            }
        };
        data = [header, data].concat();
        next = kind;
    }
    ipv6_with(next, &data)
}

/// A payload of at most 2,200 bytes.
fn payload(dice: &mut Dice, knocks: &[Knock]) -> Vec<u8> {
    let mut payload = match dice.below(8) {
        0 => {
            let length = dice.below(2_200);
            dice.bytes(length)
        }
        1 => {
            [dice.of(&["SIP/", "sip/", "SIQ/", "SIP"]).as_bytes(), b"2.0 200 OK\r\n", &register("x")].concat()
        }
        2 => {
            let message = stranger(dice);
            message.repeat(1 + dice.below(4))
        }
        3 => {
            let message = stranger(dice);
            message[..dice.below(message.len())].to_vec()
        }
        _ => stranger(dice),
    };
    if dice.once_in(2) {
        let part =
            ["\"Alice\"", "\"Front Desk\"", "\"200\"", "Yealink SIP-T46S 66.85.0.5", "none", "<urn:uuid:"];
        let text = written(dice, knocks);
        let place = *dice.of(&part);
        // In its part as likely as anywhere.
        match payload.windows(place.len()).position(|window| window == place.as_bytes()) {
            Some(at) if dice.once_in(2) => drop(payload.splice(at + 1..at + 2, text)),
            _ => {
                let at = dice.below(payload.len() + 1);
                drop(payload.splice(at..at, text));
            }
        }
    }
    if dice.once_in(12) {
        let at = dice.below(payload.len() + 1);
        payload.insert(at, b'\\');
    }
    payload.truncate(2_200);
    payload
}

/// A knock, or nearly one, as somebody may write it.
fn written(dice: &mut Dice, knocks: &[Knock]) -> Vec<u8> {
    let mut text = dice.of(knocks).secret.expose().to_vec();
    match dice.below(8) {
        0 => text.truncate(dice.below(text.len())),
        1 => drop(text.drain(..dice.below(text.len()))),
        2 => {
            let at = dice.below(text.len());
            text[at] ^= 1 << dice.below(8);
        }
        3 => text.make_ascii_uppercase(),
        4 => text = String::from_utf8_lossy(&text).replace(' ', "\r\n ").into_bytes(),
        5 => text = String::from_utf8_lossy(&text).replace('"', "\\\"").into_bytes(),
        _ => {}
    }
    text
}
