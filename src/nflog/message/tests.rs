use proptest::prelude::*;

use super::*;
use crate::netlink::NLMSG_ERROR;
use crate::netlink::testing::{message, nfnetlink, read_back};

/// A packet message as `__build_packet_message` lays it out, with attributes before and behind those that are read.
fn packet_message(group: u16, number: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let number = number.map(u32::to_be_bytes);
    let mut attributes: Vec<(u16, &[u8])> =
        vec![(1, &[8, 0, 3, 0]), (10, b"a prefix\0"), (5, &[0, 0, 0, 2]), (11, &[0, 0, 0, 0])];
    attributes.extend(number.iter().map(|number| (NFULA_SEQ, &number[..])));
    attributes.push((NFULA_PAYLOAD, payload));
    message(NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, 0, &nfnetlink(group, &attributes))
}

#[test]
fn the_whole_set_up_is_one_message() {
    let bound = (NFULA_CFG_CMD, vec![1]);
    let settings = [
        (NFULA_CFG_MODE, vec![0, 0, 8, 0, 2, 0]),
        (NFULA_CFG_QTHRESH, vec![0, 0, 0, 1]),
        (NFULA_CFG_FLAGS, vec![0, 1]),
    ];
    type Write = fn(&mut Vec<u8>, u16, u32, u32);
    for (write, attributes) in
        [(bind as Write, [&[bound][..], &settings].concat()), (change, settings.to_vec())]
    {
        let mut out = b"before".to_vec();
        write(&mut out, 0x1234, 7, 2048);
        assert_eq!(read_back(&out[6..]), (0x0401, 5, 7, 0x1234, attributes));
    }
}

#[test]
fn datagrams() {
    let packet = packet_message(2, Some(77), b"payload");
    let copied = NflogMessage::Packet(Copied { group: 2, number: Some(77), payload: b"payload" });
    let ack = message(NLMSG_ERROR, 5, &[0; 20]);
    let eperm = message(NLMSG_ERROR, 1, &[&(-1i32).to_ne_bytes()[..], &[0; 16]].concat());
    let mut overlong = packet_message(2, Some(77), b"payload");
    overlong[20..22].copy_from_slice(&500u16.to_ne_bytes());
    let mut tiny_attribute = packet_message(2, Some(77), b"payload");
    tiny_attribute[20..22].copy_from_slice(&3u16.to_ne_bytes());
    let length = |kind, said, got| Err(FrameError::Length { kind, said, got });
    for (name, datagram, expected) in [
        ("nothing", vec![], vec![]),
        ("a packet", packet.clone(), vec![Ok(copied)]),
        (
            "a packet without a number",
            packet_message(3, None, b"early"),
            vec![Ok(NflogMessage::Packet(Copied { group: 3, number: None, payload: b"early" }))],
        ),
        (
            "a packet without bytes",
            packet_message(3, Some(1), b""),
            vec![Ok(NflogMessage::Packet(Copied { group: 3, number: Some(1), payload: b"" }))],
        ),
        ("an acknowledgement", ack.clone(), vec![Ok(NflogMessage::Answer { sequence: 5, errno: 0 })]),
        ("an error", eperm, vec![Ok(NflogMessage::Answer { sequence: 1, errno: 1 })]),
        ("a queue's packet", message(0x0300, 0, &[0; 8]), vec![Ok(NflogMessage::Other)]),
        (
            "several",
            [packet.clone(), ack, message(3, 0, &[2, 0, 0, 2]), packet].concat(),
            vec![
                Ok(copied),
                Ok(NflogMessage::Answer { sequence: 5, errno: 0 }),
                Ok(NflogMessage::Other),
                Ok(copied),
            ],
        ),
        ("less than a header", vec![0; 15], vec![]),
        ("a length below the header's", vec![0; 16], vec![length(0, 0, 16)]),
        ("an error without a number", message(NLMSG_ERROR, 0, &[]), vec![length(NLMSG_ERROR, 4, 0)]),
        ("a packet without nfgenmsg", message(0x0400, 0, &[]), vec![length(0x0400, 4, 0)]),
        ("an attribute beyond its message", overlong.clone(), vec![length(1, 500, overlong.len() - 20)]),
        (
            "an attribute below its header",
            tiny_attribute.clone(),
            vec![length(1, 3, tiny_attribute.len() - 20)],
        ),
    ] {
        assert_eq!(NflogMessages::new(&datagram).collect::<Vec<_>>(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn packets_survive_the_round_trip(
        packets in prop::collection::vec(
            (any::<u16>(), any::<Option<u32>>(), prop::collection::vec(any::<u8>(), 0..2049)), 0..5,
        ),
    ) {
        let datagram: Vec<u8> =
            packets.iter().flat_map(|(group, number, payload)| packet_message(*group, *number, payload)).collect();
        let read: Vec<_> = NflogMessages::new(&datagram).collect();
        let written: Vec<_> = packets.iter()
            .map(|(group, number, payload)| Ok(NflogMessage::Packet(Copied { group: *group, number: *number, payload })))
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn set_ups_survive_the_round_trip(group: u16, sequence: u32, copy_range: u32) {
        let mut out = Vec::new();
        bind(&mut out, group, sequence, copy_range);
        let (kind, flags, read_sequence, read_group, attributes) = read_back(&out);
        prop_assert_eq!((kind, flags, read_sequence, read_group), (0x0401, 5, sequence, group));
        let [a, b, c, d] = copy_range.to_be_bytes();
        prop_assert_eq!(&attributes[1], &(NFULA_CFG_MODE, vec![a, b, c, d, 2, 0]));
        prop_assert!(NflogMessages::new(&out).eq([Ok(NflogMessage::Other)]));
    }

    #[test]
    fn arbitrary_bytes_end(datagram: Vec<u8>) {
        prop_assert!(NflogMessages::new(&datagram).count() <= datagram.len() / 16 + 1);
    }

    #[test]
    fn a_message_with_some_bytes_changed_ends(changes in prop::collection::vec((0usize..150, any::<u8>()), 0..6)) {
        let mut datagram = [packet_message(1, Some(2), b"some payload"), packet_message(1, None, b"more")].concat();
        for (index, byte) in changes {
            if let Some(place) = datagram.get_mut(index) {
                *place = byte;
            }
        }
        for message in NflogMessages::new(&datagram).flatten() {
            if let NflogMessage::Packet(packet) = message {
                prop_assert!(packet.payload.len() <= datagram.len());
            }
        }
    }
}
