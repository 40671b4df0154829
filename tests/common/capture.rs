//! Captures that tests write, and the packets in them.
#![allow(dead_code)]

use std::path::Path;
use std::{fs, path::PathBuf};

#[path = "../../src/testing.rs"]
pub(crate) mod packets;

/// Seconds and microseconds since 1970, and the bytes of a frame.
pub(crate) type Frame = (u32, u32, Vec<u8>);

/// Writes a pcap file of this link type (pcap-linktype(7)) into a folder, and returns its path.
pub(crate) fn write_pcap(folder: &Path, name: &str, link: u16, frames: &[Frame]) -> String {
    let numbers = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, u32::from(link)];
    let mut file = numbers.map(u32::to_le_bytes).concat();
    for (seconds, micros, bytes) in frames {
        let length = u32::try_from(bytes.len()).unwrap();
        file.extend([*seconds, *micros, length, length].map(u32::to_le_bytes).concat());
        file.extend(bytes);
    }
    let path: PathBuf = folder.join(name);
    fs::write(&path, file).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The same of UDP datagrams from 203.0.113.7:5061 to 192.0.2.1:5060 with these payloads, a second apart, as raw IP.
pub(crate) fn write_datagrams(folder: &Path, first: u32, payloads: &[&str]) -> String {
    let datagram = |payload: &str| packets::ipv4("203.0.113.7", &packets::udp(payload.as_bytes()));
    let frames: Vec<_> =
        (first..).zip(payloads).map(|(second, payload)| (second, 0, datagram(payload))).collect();
    write_pcap(folder, "capture.pcap", RAW_IP, &frames)
}

/// LINKTYPE_RAW.
const RAW_IP: u16 = 101;
