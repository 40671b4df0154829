//! Captures that do not show everything as it was: what commands make of them, and what they say.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/capture.rs"]
mod capture;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use capture::packets::ipv4_with;
use capture::{Frame, write_pcap};
use serde_json::{Value, json};
use sipknock::replay::capture::Capture;
use sipknock::replay::link::{LinkType, network_layer};
use tempfile::TempDir;

const EMPTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/empty.toml");

/// The knock in the captures.
const KNOCK: &str = "n=mykn0ckstr1ng";

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Exit status, stdout, stderr.
fn sipknock(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cargo_bin!("sipknock"));
    let output = command.args(["--config", EMPTY]).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The lines of `replay --json`; anything on stderr fails.
fn replay(args: &[&str]) -> Vec<Value> {
    let (status, out, err) = sipknock(&[&["replay", "--json", "--knock", KNOCK], args].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{args:?}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Number and reason of each line.
fn reasons(lines: &[Value]) -> Vec<(u64, &str)> {
    let packets = lines.iter().filter(|line| line.get("summary").is_none());
    packets.map(|line| (line["n"].as_u64().unwrap(), line["reason"].as_str().unwrap())).collect()
}

fn summary(lines: &[Value]) -> &Value {
    &lines.last().unwrap()["summary"]
}

/// The IP packets of a capture.
fn packets(name: &str) -> Vec<Frame> {
    let file = fs::read(data(name)).unwrap();
    let mut capture = Capture::open(&file[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(record) = capture.next().unwrap() {
        let nanos = record.time.as_nanos();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if let Ok(packet) = network_layer(record.link, record.data) {
            packets.push((seconds as u32, (rest / 1000) as u32, packet.to_vec()));
        }
    }
    packets
}

fn write(folder: &TempDir, name: &str, link: LinkType, frames: &[Frame]) -> String {
    write_pcap(folder.path(), name, link.0, frames)
}

/// An IPv4 packet between routers.
fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    ipv4_with("203.0.113.1", protocol, 0, &[], body)
}

#[test]
fn an_ip_length_of_0_is_the_rest_of_the_frame() {
    let (recorded, control) = (data("length0.pcap"), data("length0-control.pcap"));
    for command in [&["replay", "--json", "--knock", KNOCK][..], &["learn", "--json"], &["learn", "--toml"]] {
        let of = |file: &str| sipknock(&[command, &[file]].concat());
        let (status, out, err) = of(&control);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains("100@pbx.example") || out.contains("\"knock\""), "{out}");
        assert_eq!(of(&recorded), (0, out, String::new()), "{command:?}");
    }
    assert_eq!(reasons(&replay(&[&recorded])), [(1, "handshake"), (2, "handshake"), (3, "knock")]);
}

#[test]
fn fragments_are_put_together_as_in_front_of_input() {
    let file = data("frag6-second.pcap");
    for (args, expected, counted) in [
        (&[&*file][..], &[(2, "knock"), (3, "door")][..], 2),
        (&["--hook", "input", &file], &[(2, "knock"), (3, "door")], 2),
        (&["--hook", "forward", &file], &[(1, "no-knock"), (2, "fragment"), (3, "no-knock")], 3),
    ] {
        let lines = replay(args);
        assert_eq!(reasons(&lines), expected, "{args:?}");
        assert_eq!(
            (&summary(&lines)["packets"], &summary(&lines)["inspected"]),
            (&json!(3), &json!(counted))
        );
        assert_eq!(summary(&lines).get("incomplete"), None);
    }
    // In the first fragment, in the last, across the border, and in none.
    for name in ["fragments4.pcap", "fragments6.pcap"] {
        let lines = replay(&[&data(name)]);
        let knocks = lines.iter().filter(|line| line["reason"] == "knock");
        let sources: std::collections::BTreeSet<_> = knocks.map(|line| line["src"].to_string()).collect();
        assert_eq!(
            (sources.len(), reasons(&lines).iter().any(|(_, reason)| *reason == "fragment")),
            (3, false)
        );
    }
}

#[test]
fn every_command_reads_datagrams_that_were_in_fragments() {
    let file = data("frag6-second.pcap");
    let (_, text, _) = sipknock(&["check", "--knock", KNOCK, "--against", &file]);
    assert!(text.contains("knock \"n\" would open for 1 packet, number 2, from 2001:db8:2::7"), "{text}");
    let (_, json, _) = sipknock(&[
        "bench",
        "--quick",
        "--json",
        "--engine",
        "sipknock",
        "--knocks",
        "1",
        "--style",
        "random",
        "--capture",
        &file,
    ]);
    let measured: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(measured["traffic"]["packets"], 2, "{json}");
    let (_, json, _) = sipknock(&["learn", "--json", &file]);
    let learned: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(learned["requests"], 2, "{json}");
}

#[test]
fn fragments_that_never_become_whole_are_counted() {
    let folder = TempDir::new().unwrap();
    let frames = packets("frag6-second.pcap");
    let file = write(&folder, "one.pcap", LinkType::RAW, &frames[..1]);
    let lines = replay(&[&file]);
    assert_eq!((reasons(&lines), &summary(&lines)["incomplete"]), (vec![], &json!(1)));
    let said = "1 fragment is of datagrams that never became whole: INPUT sees none of them\n";
    for command in [&["replay", "--knock", KNOCK][..], &["learn"], &["learn", "--toml"]] {
        let (_, out, _) = sipknock(&[command, &[&file]].concat());
        assert!(out.contains(said), "{command:?}: {out}");
        assert!(!command.contains(&"--toml") || out.contains(&format!("# {said}")), "{out}");
    }
    // A datagram goes on in the next file, as tcpdump -C writes them, unless it has run out until then.
    let mut rest = frames[1..].to_vec();
    let next = write(&folder, "two.pcap", LinkType::RAW, &rest);
    assert_eq!(reasons(&replay(&[&file, &next])), [(1, "knock"), (2, "door")]);
    rest.iter_mut().for_each(|(seconds, ..)| *seconds += 60);
    let late = write(&folder, "late.pcap", LinkType::RAW, &rest);
    let lines = replay(&[&file, &late]);
    assert_eq!((reasons(&lines), &summary(&lines)["incomplete"]), (vec![(2, "no-knock")], &json!(2)));
}

#[test]
fn packets_that_a_snap_length_has_cut_are_counted() {
    let file = data("snapped.pcap");
    let lines = replay(&["--pbx", "192.0.2.1", &file]);
    assert_eq!(
        (reasons(&lines), &summary(&lines)["truncated"]),
        (vec![(1, "no-knock"), (2, "outgoing")], &json!(1))
    );
    let (_, text, _) = sipknock(&["replay", "--knock", KNOCK, "--pbx", "192.0.2.1", &file]);
    let said = "1 packet was cut by the capture's snap length: no-knock need not be true for it";
    assert!(text.contains(said), "{text}");
    let (_, json, _) = sipknock(&["learn", "--json", &file]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["truncated"], 2, "{json}");
    let (_, text, _) = sipknock(&["learn", &file]);
    assert!(text.contains("2 packets were cut by the capture's snap length"), "{text}");
    let (status, text, _) = sipknock(&["check", "--knock", KNOCK, "--against", &file]);
    let warning = format!("warning: {file}: 2 packets were cut by the capture's snap length");
    assert!(status == 0 && text.contains(&warning), "{text}");
    for whole in ["door.pcap", "tcp.pcap", "vlan.pcap", "baresip.pcapng"] {
        assert_eq!(summary(&replay(&[&data(whole)])).get("truncated"), None, "{whole}");
    }
}

#[test]
fn tunnels_are_said_or_looked_into() {
    let folder = TempDir::new().unwrap();
    let plain = packets("raw.pcap");
    let expected = replay(&[&write(&folder, "plain.pcap", LinkType::RAW, &plain)]);
    assert!(reasons(&expected).iter().any(|(_, reason)| *reason == "knock"));
    let vxlan = |packet: &[u8]| {
        let frame = [&[2; 12][..], &[8, 0], packet].concat();
        let length = u16::try_from(16 + frame.len()).unwrap();
        let udp = [50_000, 4789, length, 0].map(u16::to_be_bytes).concat();
        ipv4(17, &[&udp[..], &[8, 0, 0, 0, 0, 0, 7, 0], &frame].concat())
    };
    type Wrap<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let kinds: [(&str, &str, Wrap<'_>); 3] = [
        ("gre", "GRE", &|packet| ipv4(47, &[&[0, 0, 8, 0], packet].concat())),
        ("ipip", "IPIP", &|packet| ipv4(4, packet)),
        ("vxlan", "VXLAN", &vxlan),
    ];
    for (name, title, wrap) in kinds {
        let wrapped: Vec<_> = plain.iter().map(|(s, us, packet)| (*s, *us, wrap(packet))).collect();
        let file = write(&folder, name, LinkType::RAW, &wrapped);
        assert_eq!(replay(&["--tunnels", &file]), expected, "{name}");
        let lines = replay(&[&file]);
        let count = plain.len();
        assert_eq!((reasons(&lines), &summary(&lines)["tunnels"]), (vec![], &json!({ name: count })));
        let said =
            format!("{count} packets are of tunnels that were not decoded ({title} {count}); --tunnels");
        for command in [&["replay", "--knock", KNOCK][..], &["learn"]] {
            let (_, text, _) = sipknock(&[command, &[&file]].concat());
            assert!(text.contains(&said), "{command:?}: {text}");
        }
        let requests = |args: &[&str]| {
            let (_, json, _) = sipknock(&[&["learn", "--json"], args].concat());
            serde_json::from_str::<Value>(&json).unwrap()["requests"].clone()
        };
        assert_eq!(requests(&[&file]), 0, "{name}");
        assert_eq!(requests(&["--tunnels", &file]), requests(&[&data("raw.pcap")]), "{name}");
    }
    // Labels are what a VLAN's tag is: they are gone when the packet arrives.
    let labelled = |packet: &[u8]| [&[2; 12][..], &[0x88, 0x47, 0, 1, 1, 64], packet].concat();
    let frames: Vec<_> = plain.iter().map(|(s, us, packet)| (*s, *us, labelled(packet))).collect();
    assert_eq!(replay(&[&write(&folder, "mpls.pcap", LinkType::ETHERNET, &frames)]), expected);
}

#[test]
fn sip_on_other_ports_is_said() {
    let folder = TempDir::new().unwrap();
    let mut frames = packets("raw.pcap");
    // All of it is UDP over IPv4 without options: whichever port is 5060.
    for (_, _, packet) in &mut frames {
        for port in [20..22, 22..24] {
            if packet[port.clone()] == 5060u16.to_be_bytes() {
                packet[port].copy_from_slice(&5070u16.to_be_bytes());
            }
        }
    }
    let file = write(&folder, "5070.pcap", LinkType::RAW, &frames);
    let lines = replay(&[&file]);
    let ports = summary(&lines)["other_ports"].as_object().unwrap();
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["5070"]);
    for command in [&["replay", "--knock", KNOCK][..], &["learn"]] {
        let (_, text, _) = sipknock(&[command, &[&file]].concat());
        assert!(text.contains("SIP was seen for port 5070: --port 5070\n"), "{text}");
        let (_, text, _) = sipknock(&[command, &["--port", "5070", &file]].concat());
        assert!(!text.contains("SIP was seen"), "{text}");
    }
    let (_, _, err) = sipknock(&["bench", "--quick", "--capture", &file]);
    assert!(err.contains("SIP was seen for port 5070: --port 5070\n"), "{err}");
    assert!(Path::new(&file).exists());
}
