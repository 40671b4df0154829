//! Fragments put together as in front of INPUT, worked out byte by byte.

use std::collections::HashMap;

use super::model::{ipv4, ipv6, u16_at};

/// The fate of a packet.
pub(crate) enum Fate {
    Alone,
    Withheld,
    Whole(Vec<u8>),
}

/// Addresses, identification and, of IPv4, protocol.
type Key = (Vec<u8>, u32, u8);

#[derive(Default)]
pub(crate) struct Datagrams {
    waiting: HashMap<Key, Datagram>,
    lost: Vec<(Option<u16>, u64)>,
    /// Fragments of IPv4 by their source.
    of_source: HashMap<Vec<u8>, u64>,
}

#[derive(Default)]
struct Datagram {
    begun: u64,
    /// `None` until the first fragment has come, and if that has no ports.
    dport: Option<u16>,
    fragments: u64,
    /// The headers, as they stand in front of the whole datagram.
    front: Option<Vec<u8>>,
    /// The byte at a place, if it was captured, and the run that it belongs to.
    bytes: HashMap<u32, (Option<u8>, u32)>,
    runs: u32,
    end: u32,
    has_last: bool,
    ecn: Vec<u8>,
    latest: u64,
}

/// A fragment, as its packet says.
struct Fragment<'a> {
    key: Key,
    source: Option<Vec<u8>>,
    front: Vec<u8>,
    from: u32,
    to: u32,
    more: bool,
    ecn: u8,
    data: &'a [u8],
}

impl Datagrams {
    /// Lost fragments, and those that still wait.
    pub(crate) fn lost(self) -> Vec<(Option<u16>, u64)> {
        let mut lost = self.lost;
        for (key, datagram) in self.waiting {
            note(&mut lost, &key, datagram.dport, datagram.fragments);
        }
        lost
    }

    pub(crate) fn packet(&mut self, nanos: u64, ip: &[u8]) -> Fate {
        let fragment = match ip.first().map(|byte| byte >> 4) {
            Some(4) => of_v4(ip),
            Some(6) => of_v6(ip),
            _ => None,
        };
        let Some(fragment) = fragment else { return Fate::Alone };
        let is_v6 = fragment.source.is_none();
        let is_over = |key: &Key, begun: u64| {
            let life = if key.0.len() == 32 { 60 } else { 30 };
            nanos.abs_diff(begun) >= life * 1_000_000_000
        };
        let over = self.waiting.iter().filter(|(key, datagram)| is_over(key, datagram.begun));
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.give_up(&key);
        }
        let count = match &fragment.source {
            Some(source) => {
                let count = self.of_source.entry(source.clone()).or_default();
                *count += 1;
                *count
            }
            None => 0,
        };
        let key = fragment.key.clone();
        let begin = || Datagram { begun: nanos, latest: count, ..Datagram::default() };
        let datagram = self.waiting.entry(key.clone()).or_insert_with(begin);
        if !datagram.bytes.is_empty() && count > datagram.latest + 64 {
            let before = std::mem::replace(datagram, begin());
            note(&mut self.lost, &key, before.dport, before.fragments);
        }
        datagram.latest = count;
        let dport = if fragment.from == 0 { port_of(ip) } else { None };
        if fragment.from == 0 {
            datagram.dport = dport;
        }
        if is_v6 && fragment.to > 65_535 {
            note(&mut self.lost, &key, dport, 1);
            return Fate::Withheld;
        }
        if is_v6 && fragment.more && fragment.to % 8 != 0 {
            self.give_up(&key);
            return Fate::Alone;
        }
        let to = if fragment.more { fragment.to / 8 * 8 } else { fragment.to };
        let contradicts = match fragment.more {
            true => datagram.has_last && to > datagram.end,
            false => to < datagram.end || datagram.has_last && to != datagram.end,
        };
        if !contradicts {
            datagram.has_last |= !fragment.more;
            datagram.end = datagram.end.max(to);
        }
        if contradicts || to <= fragment.from {
            if is_v6 {
                note(&mut self.lost, &key, dport, 1);
            } else {
                datagram.fragments += 1;
                self.give_up(&key);
            }
            return Fate::Withheld;
        }
        datagram.fragments += 1;
        let there: Vec<_> = (fragment.from..to).filter_map(|at| datagram.bytes.get(&at)).collect();
        if !there.is_empty() {
            let is_inside =
                there.len() as u32 == to - fragment.from && there.iter().all(|(_, run)| *run == there[0].1);
            if !is_inside {
                self.give_up(&key);
            }
            return Fate::Withheld;
        }
        datagram.take(fragment, to);
        if !datagram.has_last || datagram.front.is_none() || datagram.bytes.len() as u32 != datagram.end {
            return Fate::Withheld;
        }
        match datagram.whole(is_v6) {
            Some(whole) => {
                self.waiting.remove(&key);
                Fate::Whole(whole)
            }
            None => {
                self.give_up(&key);
                Fate::Withheld
            }
        }
    }

    fn give_up(&mut self, key: &Key) {
        if let Some(datagram) = self.waiting.remove(key) {
            note(&mut self.lost, key, datagram.dport, datagram.fragments);
        }
    }
}

impl Datagram {
    fn take(&mut self, fragment: Fragment<'_>, to: u32) {
        let from = fragment.from;
        let run = match self.bytes.keys().max().is_some_and(|last| last + 1 == from) {
            true => self.bytes[&(from - 1)].1,
            false => {
                self.runs += 1;
                self.runs
            }
        };
        for at in from..to {
            self.bytes.insert(at, (fragment.data.get((at - from) as usize).copied(), run));
        }
        self.ecn.push(fragment.ecn);
        if from == 0 {
            self.front = Some(fragment.front);
        }
    }

    /// Up to the first byte that was not captured.
    fn whole(&self, is_v6: bool) -> Option<Vec<u8>> {
        let mut packet = self.front.clone()?;
        let knows = self.ecn.iter().filter(|ecn| **ecn != 0).count();
        let counted = packet.len() - if is_v6 { 40 } else { 0 };
        let length = u16::try_from(counted + self.end as usize).ok()?;
        if knows > 0 && knows < self.ecn.len() {
            return None;
        }
        let place = if is_v6 { 4 } else { 2 };
        packet[place..place + 2].copy_from_slice(&length.to_be_bytes());
        packet.extend((0..self.end).map_while(|at| self.bytes[&at].0));
        Some(packet)
    }
}

fn of_v4(ip: &[u8]) -> Option<Fragment<'_>> {
    if ip.len() < 20 {
        return None;
    }
    let header = usize::from(ip[0] & 0xf) * 4;
    let (total, flags) = (usize::from(u16_at(ip, 2)?), u16_at(ip, 6)?);
    if flags & 0x3fff == 0 || header < 20 || total < header || ip.len() < header {
        return None;
    }
    let mut front = ip[..header].to_vec();
    front[6..8].fill(0);
    let from = u32::from(flags & 0x1fff) * 8;
    Some(Fragment {
        key: (ip[12..20].to_vec(), u16_at(ip, 4)?.into(), ip[9]),
        source: Some(ip[12..16].to_vec()),
        front,
        from,
        to: from + (total - header) as u32,
        more: flags & 0x2000 != 0,
        ecn: ip[1] & 3,
        data: &ip[header..total.min(ip.len())],
    })
}

fn of_v6(ip: &[u8]) -> Option<Fragment<'_>> {
    if ip.len() < 40 || ip[4..6] == [0, 0] {
        return None;
    }
    let end = 40 + usize::from(u16_at(ip, 4)?);
    let kept = &ip[..end.min(ip.len())];
    // The byte that says what follows, and where that begins.
    let (mut says, mut at) = (6, 40);
    while kept[says] != 44 {
        let len = header_len(kept, kept[says], at)?;
        (says, at) = (at, at + len);
        kept.get(says)?;
    }
    let header = kept.get(at..at + 8)?;
    let (flags, next) = (u16_at(header, 2)?, header[0]);
    let (from, more) = (u32::from(flags & 0xfff8), flags & 1 != 0);
    if from == 0 && is_header_cut(kept, end, next, at + 8) {
        return None;
    }
    let mut front = ip[..at].to_vec();
    front[says] = next;
    Some(Fragment {
        key: (ip[8..40].to_vec(), u32::from(u16_at(header, 4)?) << 16 | u32::from(u16_at(header, 6)?), 0),
        source: None,
        front,
        from,
        to: from + (end - at - 8) as u32,
        more,
        ecn: ip[1] >> 4 & 3,
        data: &kept[at + 8..],
    })
}

/// How long an extension header is, fragment headers excepted.
fn header_len(ip: &[u8], kind: u8, at: usize) -> Option<usize> {
    let len = usize::from(*ip.get(at + 1)?);
    match kind {
        0 | 43 | 60 => Some((len + 1) * 8),
        51 => Some((len + 2) * 4),
        _ => None,
    }
}

/// Whether the packet ends, or the capture has it end, inside the headers.
fn is_header_cut(ip: &[u8], end: usize, mut next: u8, mut at: usize) -> bool {
    loop {
        let least = match next {
            6 => 20,
            17 | 58 => 8,
            59 => return false,
            0 | 43 | 51 | 60 => match header_len(ip, next, at) {
                Some(len) => {
                    next = ip[at];
                    at += len;
                    continue;
                }
                None => return false,
            },
            44 => match (ip.get(at), u16_at(ip, at + 2)) {
                (Some(&byte), Some(flags)) if flags & 0xfff8 == 0 => {
                    next = byte;
                    at += 8;
                    continue;
                }
                _ => return false,
            },
            _ => 1,
        };
        return at + least > end;
    }
}

/// The destination port in a first fragment: of TCP it is none of those that the trials inspect.
fn port_of(ip: &[u8]) -> Option<u16> {
    let found = if ip[0] >> 4 == 4 { ipv4(ip) } else { ipv6(ip) }?;
    match found.protocol {
        17 if found.inside.len() >= 4 => u16_at(found.inside, 2),
        6 if found.inside.len() >= 4 => Some(0),
        _ => None,
    }
}

/// Other protocols than UDP and TCP are not missed where the packet says so.
fn note(lost: &mut Vec<(Option<u16>, u64)>, key: &Key, dport: Option<u16>, fragments: u64) {
    let (addresses, _, protocol) = key;
    if addresses.len() == 32 || [6, 17].contains(protocol) {
        lost.push((dport, fragments));
    }
}
