use proptest::prelude::*;

use super::*;
use crate::netlink::NLMSG_ERROR;
use crate::netlink::testing::{message, nfnetlink, read_back};

/// A packet message as `nfqnl_build_packet_message` lays it out, with attributes before and behind those we read.
fn packet_message(queue: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let header = [&id.to_be_bytes()[..], &[8, 0, 1]].concat();
    let body = nfnetlink(
        queue,
        &[
            (NFQA_PACKET_HDR, &header),
            (5, &[0, 0, 0, 2]),
            (9, &[0, 6, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]),
            (NFQA_PAYLOAD, payload),
        ],
    );
    message(NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, 0, &body)
}

#[test]
fn what_goes_to_a_bound_queue() {
    let setup = Setup { copy_range: 0xffff, max_len: 16384, fail_open: true };
    let params = (NFQA_CFG_PARAMS, vec![0, 0, 0xff, 0xff, 2]);
    let length = (NFQA_CFG_QUEUE_MAXLEN, vec![0, 0, 0x40, 0]);
    let flags = [(NFQA_CFG_MASK, vec![0, 0, 0, 1]), (NFQA_CFG_FLAGS, vec![0, 0, 0, 1])];
    type Write = fn(&mut Vec<u8>, Setup);
    for (write, kind, acknowledged, attributes) in [
        (
            (|out, setup| change(out, 7, 9, setup)) as Write,
            NFQNL_MSG_CONFIG,
            NLM_F_ACK,
            [&[params.clone(), length][..], &flags].concat(),
        ),
        (|out, _| wake(out, 7, 9, 0xffff), NFQNL_MSG_CONFIG, NLM_F_ACK, vec![params]),
        (|out, _| unbind(out, 7, 9), NFQNL_MSG_CONFIG, NLM_F_ACK, vec![(NFQA_CFG_CMD, vec![2, 0, 0, 0])]),
        (
            |out, _| settle_up_to(out, 7, 9, 0x0102, Unanswered::Drop),
            NFQNL_MSG_VERDICT_BATCH,
            0,
            vec![(NFQA_VERDICT_HDR, vec![0, 0, 0, 0, 0, 0, 1, 2])],
        ),
        (
            |out, _| settle_up_to(out, 7, 9, 0x0102, Unanswered::Requeue),
            NFQNL_MSG_VERDICT_BATCH,
            0,
            vec![(NFQA_VERDICT_HDR, vec![0, 0, 0, 4, 0, 0, 1, 2])],
        ),
    ] {
        let mut out = Vec::new();
        write(&mut out, setup);
        let kind = NFNL_SUBSYS_QUEUE << 8 | kind;
        assert_eq!(read_back(&out), (kind, NLM_F_REQUEST | acknowledged, 9, 7, attributes));
    }
}

#[test]
fn the_whole_set_up_is_one_message() {
    for (fail_open, flags) in [(false, [0, 0, 0, 0]), (true, [0, 0, 0, 1])] {
        let mut out = Vec::new();
        bind(&mut out, 0x1234, 7, Setup { copy_range: 0xffff, max_len: 16384, fail_open });
        let expected = vec![
            (NFQA_CFG_CMD, vec![1, 0, 0, 0]),
            (NFQA_CFG_PARAMS, vec![0, 0, 0xff, 0xff, 2]),
            (NFQA_CFG_QUEUE_MAXLEN, vec![0, 0, 0x40, 0]),
            (NFQA_CFG_MASK, vec![0, 0, 0, 1]),
            (NFQA_CFG_FLAGS, flags.to_vec()),
        ];
        assert_eq!(read_back(&out), (0x0302, 5, 7, 0x1234, expected));
    }
}

#[test]
fn shutting_keeps_the_binding() {
    let mut out = Vec::new();
    shut(&mut out, 3, 9, true);
    let (kind, flags, sequence, queue, attributes) = read_back(&out);
    assert_eq!((kind, flags, sequence, queue), (0x0302, 5, 9, 3));
    assert_eq!(attributes[0], (NFQA_CFG_QUEUE_MAXLEN, vec![0, 0, 0, 0]));
    assert!(attributes.iter().all(|(kind, _)| *kind != NFQA_CFG_CMD));
}

#[test]
fn verdicts() {
    let mut out = Vec::new();
    verdict(&mut out, 1, 0x0102_0304, Verdict::Accept);
    let single = out.len();
    verdict_up_to(&mut out, 1, 9, 5, Verdict::Drop);
    let accept = vec![(NFQA_VERDICT_HDR, vec![0, 0, 0, 1, 1, 2, 3, 4])];
    let drop = vec![(NFQA_VERDICT_HDR, vec![0, 0, 0, 0, 0, 0, 0, 5])];
    assert_eq!(read_back(&out[..single]), (0x0301, 1, 0, 1, accept));
    assert_eq!(read_back(&out[single..]), (0x0303, 1, 9, 1, drop));
}

#[test]
fn datagrams() {
    let packet = packet_message(2, 77, b"payload");
    let queued = QueueMessage::Packet(Queued { queue: 2, id: 77, payload: b"payload" });
    let ack = message(NLMSG_ERROR, 5, &[0; 20]);
    let enoent = message(NLMSG_ERROR, 0, &[&(-2i32).to_ne_bytes()[..], &[0; 16]].concat());
    let mut headless = packet_message(2, 77, b"payload");
    headless[22] = 99;
    let mut overlong = packet_message(2, 77, b"payload");
    overlong[20..22].copy_from_slice(&500u16.to_ne_bytes());
    let mut tiny_attribute = packet_message(2, 77, b"payload");
    tiny_attribute[20..22].copy_from_slice(&3u16.to_ne_bytes());
    let length = |kind, said, got| Err(FrameError::Length { kind, said, got });
    for (name, datagram, expected) in [
        ("nothing", vec![], vec![]),
        ("a packet", packet.clone(), vec![Ok(queued)]),
        ("an acknowledgement", ack.clone(), vec![Ok(QueueMessage::Answer { sequence: 5, errno: 0 })]),
        ("an error", enoent, vec![Ok(QueueMessage::Answer { sequence: 0, errno: 2 })]),
        ("another type", message(3, 0, &[]), vec![Ok(QueueMessage::Other)]),
        (
            "several",
            [packet.clone(), ack, packet.clone()].concat(),
            vec![Ok(queued), Ok(QueueMessage::Answer { sequence: 5, errno: 0 }), Ok(queued)],
        ),
        ("less than a header", vec![0; 15], vec![]),
        ("a length below the header's", vec![0; 16], vec![length(0, 0, 16)]),
        (
            "a length beyond the datagram",
            message(3, 0, &[])[..].iter().map(|b| if *b == 16 { 99 } else { *b }).collect(),
            vec![length(3, 99, 16)],
        ),
        ("an error without a number", message(NLMSG_ERROR, 0, &[]), vec![length(NLMSG_ERROR, 4, 0)]),
        ("a packet without nfgenmsg", message(0x0300, 0, &[]), vec![length(0x0300, 4, 0)]),
        (
            "a packet without an id, then a good one",
            [headless, packet].concat(),
            vec![Err(FrameError::NoId), Ok(queued)],
        ),
        (
            "an attribute beyond its message",
            overlong.clone(),
            vec![length(NFQA_PACKET_HDR, 500, overlong.len() - 20)],
        ),
        (
            "an attribute below its header",
            tiny_attribute.clone(),
            vec![length(NFQA_PACKET_HDR, 3, tiny_attribute.len() - 20)],
        ),
    ] {
        assert_eq!(QueueMessages::new(&datagram).collect::<Vec<_>>(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn packets_survive_the_round_trip(
        packets in prop::collection::vec((any::<u16>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..2000)), 0..5),
    ) {
        let datagram: Vec<u8> = packets.iter().flat_map(|(queue, id, payload)| packet_message(*queue, *id, payload)).collect();
        let read: Vec<_> = QueueMessages::new(&datagram).collect();
        let written: Vec<_> = packets.iter()
            .map(|(queue, id, payload)| Ok(QueueMessage::Packet(Queued { queue: *queue, id: *id, payload })))
            .collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn verdicts_survive_the_round_trip(queue: u16, id: u32, accept: bool) {
        let given = if accept { Verdict::Accept } else { Verdict::Drop };
        let mut out = Vec::new();
        verdict(&mut out, queue, id, given);
        let (_, _, _, read_queue, attributes) = read_back(&out);
        let header = verdict_header(id, number(given)).to_vec();
        prop_assert_eq!((read_queue, attributes), (queue, vec![(NFQA_VERDICT_HDR, header)]));
    }

    #[test]
    fn arbitrary_bytes_end(datagram: Vec<u8>) {
        prop_assert!(QueueMessages::new(&datagram).count() <= datagram.len() / 16 + 1);
    }

    #[test]
    fn a_message_with_some_bytes_changed_ends(changes in prop::collection::vec((0usize..120, any::<u8>()), 0..6)) {
        let mut datagram = [packet_message(1, 2, b"some payload"), packet_message(1, 3, b"more")].concat();
        for (index, byte) in changes {
            if let Some(place) = datagram.get_mut(index) {
                *place = byte;
            }
        }
        for message in QueueMessages::new(&datagram).flatten() {
            if let QueueMessage::Packet(packet) = message {
                prop_assert!(packet.payload.len() <= datagram.len());
            }
        }
    }
}
