//! Capture files: read, and written.

use std::fs::{self, File};
use std::path::Path;

use sipknock::replay::capture::Capture;
use sipknock::replay::link::{LinkType, network_layer};

/// What a file holds, as far as the trials look at it.
pub(crate) struct Contents {
    /// Every packet, IP or not.
    pub(crate) count: u64,
    pub(crate) frames: Vec<Frame>,
    /// Nothing is wrong with the file up to its last byte.
    pub(crate) whole: bool,
}

/// An IP packet in it.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Its place in the file, from 1.
    pub(crate) number: u64,
    pub(crate) nanos: u64,
    /// From the IP header on, with whatever padding there is.
    pub(crate) ip: Vec<u8>,
    /// How many bytes behind that were not captured.
    pub(crate) cut_off: u32,
}

impl Contents {
    pub(crate) fn read(path: &Path) -> Self {
        let mut contents = Self { count: 0, frames: Vec::new(), whole: false };
        let Ok(mut capture) = Capture::open(File::open(path).unwrap()) else { return contents };
        loop {
            match capture.next() {
                Ok(Some(record)) => {
                    contents.count += 1;
                    if let Ok(ip) = network_layer(record.link, record.data) {
                        contents.frames.push(Frame {
                            number: record.number,
                            nanos: record.time.as_nanos(),
                            ip: ip.to_vec(),
                            cut_off: record.wire_len.saturating_sub(record.data.len() as u32),
                        });
                    }
                }
                Ok(None) => {
                    contents.whole = true;
                    return contents;
                }
                Err(_) => return contents,
            }
        }
    }
}

/// Writes a pcap with nanoseconds.
pub(crate) fn write(path: &Path, link: LinkType, frames: &[Frame]) {
    let mut file = Vec::new();
    for number in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x0004_0000, u32::from(link.0)] {
        file.extend(u32::to_le_bytes(number));
    }
    let ethernet: &[u8] = if link == LinkType::ETHERNET { &[2; 12] } else { &[] };
    for Frame { nanos, ip, cut_off, .. } in frames {
        let ether_type: &[u8] = match (ethernet, ip.first().map(|byte| byte >> 4)) {
            ([], _) => &[],
            (_, Some(6)) => &[0x86, 0xdd],
            _ => &[0x08, 0x00],
        };
        let frame = [ethernet, ether_type, ip].concat();
        let len = frame.len() as u32;
        for number in [(nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, len, len + cut_off] {
            file.extend(number.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file).unwrap();
}
