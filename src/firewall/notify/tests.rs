use proptest::prelude::*;

use super::*;

fn message(kind: u8, port_id: u32, body: &[u8]) -> Vec<u8> {
    message_of(u16::from(NFNL_SUBSYS_NFTABLES) << 8 | u16::from(kind), port_id, body)
}

fn message_of(kind: u16, port_id: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([0; 6]);
    message.extend(port_id.to_ne_bytes());
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// As `nf_tables_fill_gen_info` lays it out.
fn generation(id: u32, port_id: u32, pid: u32, name: &str) -> Vec<u8> {
    let named = [name.as_bytes(), &[0]].concat();
    let body = [
        vec![0, 0, 0, 9],
        attribute(NFTA_GEN_ID, &id.to_be_bytes()),
        attribute(NFTA_GEN_PROC_PID, &pid.to_be_bytes()),
        attribute(NFTA_GEN_PROC_NAME, &named),
    ];
    message(NFT_MSG_NEWGEN, port_id, &body.concat())
}

#[test]
fn datagrams() {
    let rule = message(NFT_MSG_NEWRULE, 7, &[2, 0, 0, 9, 5, 0, 1, 0, b'x', 0, 0, 0]);
    let changed = |family, port_id| Ok(Notification::Change(RulesetChange { family, port_id }));
    let ended = |id, port_id, pid, name| Ok(Notification::Generation(Generation { id, port_id, pid, name }));
    let length = |kind, said, got| Err(DecodeError::Length { kind, said, got });
    let mut overlong = generation(1, 2, 3, "nft");
    overlong[20..22].copy_from_slice(&500u16.to_ne_bytes());
    let mut tiny = generation(1, 2, 3, "nft");
    tiny[20..22].copy_from_slice(&3u16.to_ne_bytes());
    let rest = overlong.len() - 20;
    for (name, datagram, expected) in [
        ("nothing", vec![], vec![]),
        ("a rule", rule.clone(), vec![changed(2, 7)]),
        (
            "a table of another family, and its end",
            [message(NFT_MSG_DELTABLE, 7, &[1, 0, 0, 9]), generation(4, 7, 70, "nft")].concat(),
            vec![changed(1, 7), ended(4, 7, Some(70), b"nft")],
        ),
        (
            "the longest name",
            generation(u32::MAX, 7, 70, "iptables-restor"),
            vec![ended(u32::MAX, 7, Some(70), b"iptables-restor")],
        ),
        (
            "an old kernel's end",
            message(NFT_MSG_NEWGEN, 7, &[vec![0, 0, 0, 9], attribute(NFTA_GEN_ID, &[0, 0, 1, 0])].concat()),
            vec![ended(256, 7, None, b"")],
        ),
        ("a set's element", message(12, 7, &[2, 0, 0, 9]), vec![Ok(Notification::Other)]),
        ("another subsystem", message_of(0x0306, 7, &[2, 0, 0, 9]), vec![Ok(Notification::Other)]),
        ("an acknowledgement", message_of(2, 7, &[0; 20]), vec![Ok(Notification::Other)]),
        ("a chain without a body", message(NFT_MSG_NEWCHAIN, 7, &[]), vec![length(0x0a03, 4, 0)]),
        (
            "an end without a number, then a rule",
            [message(NFT_MSG_NEWGEN, 7, &[0, 0, 0, 9]), rule].concat(),
            vec![Err(DecodeError::NoId), changed(2, 7)],
        ),
        ("an attribute beyond its message", overlong, vec![length(NFTA_GEN_ID, 500, rest)]),
        ("an attribute below its header", tiny, vec![length(NFTA_GEN_ID, 3, rest)]),
        ("less than a header", vec![0; 15], vec![]),
        ("a length below the header's", vec![0; 16], vec![length(0, 0, 16)]),
    ] {
        assert_eq!(Notifications::new(&datagram).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn families_that_iptables_shows() {
    for (family, shown) in [(1, false), (2, true), (3, false), (7, false), (10, true)] {
        assert_eq!(RulesetChange { family, port_id: 0 }.is_of_iptables(), shown, "{family}");
    }
}

proptest! {
    #[test]
    fn generations_survive_the_round_trip(
        all in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), "[a-z-]{0,15}"), 0..5),
    ) {
        let made = all.iter().map(|(id, port_id, pid, name)| generation(*id, *port_id, *pid, name));
        let datagram: Vec<u8> = made.flatten().collect();
        let read: Vec<_> = Notifications::new(&datagram).map(Result::unwrap).collect();
        let expected: Vec<_> = all.iter().map(|(id, port_id, pid, name)| {
            Notification::Generation(Generation { id: *id, port_id: *port_id, pid: Some(*pid), name: name.as_bytes() })
        }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(Notifications::new(&bytes).count() <= bytes.len() / 16 + 1);
    }
}
