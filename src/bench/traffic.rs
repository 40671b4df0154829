//! Packets to search.

use super::style::{BenchPattern, Dice};

/// So many different REGISTERs of [`LENGTH`] bytes, with a `+sip.instance` as phones send it and without a knock.
pub fn registers(count: usize) -> Vec<Vec<u8>> {
    (0..count as u64).map(|number| register(&mut Dice::new(SEED + number))).collect()
}

/// Packets in which some of the knocks stand, whole, in the other case, or short of their last byte. Engines that find
/// nothing in any packet would agree, too.
pub fn knocking(packets: &[Vec<u8>], wanted: &[BenchPattern]) -> Vec<Vec<u8>> {
    let every = wanted.len().div_ceil(KNOCKING).max(1);
    let mut made = Vec::new();
    for (number, knock) in wanted.iter().step_by(every).enumerate() {
        let Some(packet) = packets.get(number % packets.len().max(1)) else { break };
        let other: Vec<_> = knock
            .bytes
            .iter()
            .map(|&byte| byte ^ if byte.is_ascii_alphabetic() { 0x20 } else { 0 })
            .collect();
        // What comes behind it should not make another knock of it.
        let short = [knock.bytes.split_last().map_or(&[][..], |(_, short)| short), b"~"].concat();
        // At another place each time, the very beginning and the very end among them.
        let (before, after) = packet.split_at(packet.len() * number / KNOCKING.min(wanted.len()).max(1));
        for text in [&knock.bytes, &other, &short] {
            made.push([before, text, after].concat());
        }
        made.push([packet, &knock.bytes, &other, &knock.bytes[..]].concat());
    }
    made
}

/// A phone's REGISTER.
fn register(dice: &mut Dice) -> Vec<u8> {
    let user = 100 + dice.below(900);
    let host = format!("192.168.{}.{}", dice.below(256), dice.below(256));
    let (branch, tag, call, uuid) = (dice.hex(16), dice.hex(10), dice.hex(24), dice.uuid());
    let sequence = 1 + dice.below(60_000);
    let mut packet = format!(
        "REGISTER sip:pbx.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Desk {user}\" <sip:{user}@pbx.example.com>;tag={tag}\r\n\
         To: \"Desk {user}\" <sip:{user}@pbx.example.com>\r\n\
         Call-ID: {call}@{host}\r\n\
         CSeq: {sequence} REGISTER\r\n\
         Contact: <sip:{user}@{host}:5060;transport=udp>;+sip.instance=\"<{uuid}>\";expires=3600\r\n\
         Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE\r\n\
         User-Agent: Yealink SIP-T46S 66.85.0.5\r\n\
         Supported: path, replaces\r\n\
         Allow-Events: talk, hold, conference, refer, check-sync"
    )
    .into_bytes();
    // White space at the end of a header field means nothing (RFC 3261, 7.3.1).
    packet.resize(LENGTH.saturating_sub(END.len()).max(packet.len()), b' ');
    packet.extend(END);
    packet
}

/// Bytes of a REGISTER. Phones send between 500 and 900.
pub const LENGTH: usize = 700;

/// So many REGISTERs that a processor does not learn one by heart, and so few that they stay in its second-level cache:
/// a packet that has just arrived is in a cache, too.
pub const COUNT: usize = 256;

const END: &[u8] = b"\r\nContent-Length: 0\r\n\r\n";

/// Those of packets are no seeds of knocks.
const SEED: u64 = 1_000;

/// For how many knocks there are packets that hold them. An engine that misses any knock misses more than one.
const KNOCKING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Style;
    use crate::knock::matcher::Matcher;
    use crate::sip::Message;

    #[test]
    fn registers_are_different_and_sip_and_without_a_knock() {
        let packets = registers(COUNT);
        for packet in &packets {
            let text = String::from_utf8_lossy(packet);
            assert_eq!(packet.len(), LENGTH, "{text}");
            let message = Message::parse(packet).unwrap();
            assert!(message.header("Contact").is_some(), "{text}");
        }
        assert!(packets.windows(2).all(|two| two[0] != two[1]));
        for style in [Style::Random, Style::Uuid, Style::Words] {
            let wanted: Vec<_> = style.knocks(1_000);
            let patterns =
                wanted.iter().map(|bytes| crate::knock::matcher::Pattern { bytes, ignore_case: true });
            let matcher = Matcher::new(patterns).unwrap();
            assert!(packets.iter().all(|packet| matcher.occurring(packet).is_empty()));
        }
    }

    #[test]
    fn knocks_stand_in_packets_made_for_it() {
        let knocks = Style::Words.knocks(100).into_iter();
        let wanted: Vec<_> = knocks.map(|bytes| BenchPattern { bytes, ignore_case: false }).collect();
        let matcher = Matcher::new(wanted.iter().map(BenchPattern::pattern)).unwrap();
        let packets = knocking(&registers(3), &wanted);
        let found: Vec<_> = packets.iter().map(|packet| matcher.occurring(packet).len()).collect();
        assert_eq!(found.len(), 50 * 4);
        assert!(found.chunks(4).all(|found| found == [1, 0, 0, 1]), "{found:?}");
        assert!(knocking(&[], &wanted).is_empty() && knocking(&packets, &[]).is_empty());
    }
}
