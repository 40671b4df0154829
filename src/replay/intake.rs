//! From the frames of a capture to the packets that a netfilter hook sees.

use std::borrow::Cow;

use super::capture::CaptureRecord;
use super::defrag::{Defrag, Defragged};
use super::gaps::Gaps;
use super::link::{ETHER_MPLS, ETHER_MPLS_MULTICAST, LinkType, Skip, network_layer};
use super::tunnel::{Tunnel, TunnelKind};
use crate::inspect::Scope;
use crate::net::NetSet;
use crate::packet::{Body, Flow, Malformed, Packet, Transport};
use crate::sip::Message;
use crate::time::Time;

/// The hook whose view of packets a capture is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Hook {
    /// Fragments are put together first, as in front of INPUT
    #[default]
    Input,
    /// Each fragment is a packet of its own, as in FORWARD without conntrack
    Forward,
}

/// Reads the packets of captures, and counts what can't be read of them.
#[derive(Debug)]
pub struct Intake {
    hook: Hook,
    looks_into_tunnels: bool,
    scope: Scope,
    /// The ports of the PBX and of those that it calls.
    known: Scope,
    pbx: NetSet,
    defrag: Defrag,
    gaps: Gaps,
}

impl Intake {
    /// As INPUT sees packets. Gaps are counted only if they may concern `scope`.
    pub fn new(scope: Scope) -> Self {
        Self {
            hook: Hook::Input,
            looks_into_tunnels: false,
            known: scope.clone(),
            pbx: NetSet::default(),
            defrag: Defrag::new(scope.clone()),
            gaps: Gaps::default(),
            scope,
        }
    }

    /// The same for another hook.
    pub fn at(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    /// Takes the packets in tunnels for those that arrive, as if the tunnels ended at the gate.
    pub fn into_tunnels(self, looks_into_tunnels: bool) -> Self {
        Self { looks_into_tunnels, ..self }
    }

    /// Packets of the PBX need no knock, and `outbound` ports are not other ports.
    pub fn with_pbx(self, pbx: NetSet, outbound: Scope) -> Self {
        Self { pbx, known: outbound, ..self }
    }

    /// The gaps so far.
    pub fn gaps(&self) -> Gaps {
        Gaps { incomplete: self.defrag.incomplete(), ..self.gaps.clone() }
    }

    /// The packet that a record brings to the hook, from its IP header on. `None` if there is none for now, or none at all.
    ///
    /// A length of 0 in an IP header means that the rest of the frame is the packet: the machine that recorded it has its
    /// network card cut large TCP segments (TSO).
    ///
    /// # Errors
    /// If there is no IP packet in the record, with the reason.
    pub fn packet<'a>(&mut self, record: &CaptureRecord<'a>) -> Result<Option<Cow<'a, [u8]>>, Skip> {
        let wire = (record.wire_len as usize).max(record.data.len());
        let frame = IntakeFrame { link: record.link, bytes: Cow::Borrowed(record.data), wire };
        let packet = self.network_layer(frame)?;
        Ok(self.arrive(record.time, packet))
    }

    fn arrive<'a>(&mut self, time: Time, mut packet: Sized<'a>) -> Option<Cow<'a, [u8]>> {
        for depth in 0.. {
            if self.hook == Hook::Input {
                match self.defrag.packet(time, &packet.bytes) {
                    Defragged::Alone => {}
                    Defragged::Withheld => return None,
                    Defragged::Whole(bytes) => packet.bytes = Cow::Owned(bytes),
                }
            }
            let Some(Tunnel { kind, inner }) = Tunnel::of(&packet.bytes) else { break };
            let Some((at, link)) = inner.filter(|_| self.looks_into_tunnels && depth < MAX_DEPTH) else {
                *self.gaps.tunnels.entry(kind).or_default() += 1;
                break;
            };
            let wire = said(&packet.bytes).unwrap_or(packet.bytes.len()).saturating_sub(at);
            let bytes = tail(packet.bytes, at);
            // Neighbour discovery and the like go through tunnels, too.
            packet = self.network_layer(IntakeFrame { link, bytes, wire }).ok()?;
        }
        self.note(&packet);
        Some(packet.bytes)
    }

    fn network_layer<'a>(&mut self, frame: IntakeFrame<'a>) -> Result<Sized<'a>, Skip> {
        let found = network_layer(frame.link, &frame.bytes).map(<[u8]>::len);
        if let Err(Skip::NotIp(protocol)) = found
            && [ETHER_MPLS, ETHER_MPLS_MULTICAST].map(u32::from).contains(&protocol)
        {
            *self.gaps.tunnels.entry(TunnelKind::Mpls).or_default() += 1;
        }
        let at = frame.bytes.len() - found?;
        Ok(Sized::of(tail(frame.bytes, at), frame.wire.saturating_sub(at)))
    }

    /// Counts what is missing of a packet, and SIP that goes elsewhere.
    fn note(&mut self, packet: &Sized<'_>) {
        let Ok(parsed) = Packet::parse(&packet.bytes) else { return };
        let is_cut = packet.is_cut || packet.bytes.len() < parsed.length as usize;
        self.gaps.truncated += u64::from(is_cut && self.may_need_knock(&parsed));
        if let Body::Segment(segment) = parsed.body
            && !self.knows(segment.flow)
            && let Some(method) = Message::parse(segment.payload).and_then(|message| message.method())
        {
            self.gaps.other_ports.add(segment.flow.destination_port, method == b"REGISTER");
        }
    }

    fn may_need_knock(&self, packet: &Packet<'_>) -> bool {
        match packet.body {
            _ if self.pbx.contains(packet.source) => false,
            Body::Malformed(Malformed::UdpHeader(_), None) => self.scope.transports.contains(&Transport::Udp),
            Body::Malformed(Malformed::TcpHeader(_), None) => self.scope.transports.contains(&Transport::Tcp),
            _ => packet.flow().is_some_and(|flow| self.scope.covers(flow)),
        }
    }

    fn knows(&self, flow: Flow) -> bool {
        let ports = [flow.source_port, flow.destination_port];
        self.known.ports.iter().any(|range| ports.iter().any(|port| range.contains(port)))
    }
}

/// A frame, and how long it was on the wire.
struct IntakeFrame<'a> {
    link: LinkType,
    bytes: Cow<'a, [u8]>,
    wire: usize,
}

/// An IP packet whose header says how long it is.
struct Sized<'a> {
    bytes: Cow<'a, [u8]>,
    /// It is longer than a header can say.
    is_cut: bool,
}

impl<'a> Sized<'a> {
    /// `wire` is how many bytes the frame leaves for the packet.
    fn of(bytes: Cow<'a, [u8]>, wire: usize) -> Self {
        let Some((place, before)) = place_of_length(&bytes) else { return Self { bytes, is_cut: false } };
        let length = wire.saturating_sub(before);
        let mut owned = bytes.into_owned();
        let said = u16::try_from(length).unwrap_or(u16::MAX);
        if let Some(field) = owned.get_mut(place..place + 2) {
            field.copy_from_slice(&said.to_be_bytes());
        }
        Self { bytes: Cow::Owned(owned), is_cut: usize::from(said) < length }
    }
}

/// The place of a length of 0 that stands for the rest of the frame, and the number of header bytes that it does not count.
fn place_of_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.first()? >> 4 {
        4 if bytes.len() >= 20 && bytes.get(2..4)? == [0, 0] => Some((2, 0)),
        6 if bytes.len() >= IPV6_HEADER && bytes.get(4..6)? == [0, 0] => {
            let next = *bytes.get(6)?;
            // Nothing follows, or a jumbogram says its length itself (RFC 2675).
            let has_length = next == NO_NEXT || next == HOP_BY_HOP && has_jumbo(bytes.get(IPV6_HEADER..)?);
            (!has_length).then_some((4, IPV6_HEADER))
        }
        _ => None,
    }
}

/// Whether hop-by-hop options (RFC 8200, 4.3) hold the jumbo payload one.
fn has_jumbo(options: &[u8]) -> bool {
    let end = options.get(1).map_or(0, |&length| (usize::from(length) + 1) * 8);
    let mut rest = options.get(2..end).or(options.get(2..)).unwrap_or_default();
    while let Some((&kind, behind)) = rest.split_first() {
        rest = match (kind, behind.split_first()) {
            (JUMBO, _) => return true,
            (PAD1, _) => behind,
            (_, Some((&length, data))) => data.get(length.into()..).unwrap_or_default(),
            (_, None) => &[],
        };
    }
    false
}

/// The bytes from `at` on.
fn tail(bytes: Cow<'_, [u8]>, at: usize) -> Cow<'_, [u8]> {
    match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(at..).unwrap_or_default()),
        Cow::Owned(bytes) => Cow::Owned(bytes.get(at..).unwrap_or_default().to_vec()),
    }
}

/// How long a packet was on the wire, by its header.
fn said(packet: &[u8]) -> Option<usize> {
    Packet::parse(packet).ok().map(|packet| packet.length as usize)
}

/// Tunnels in tunnels that are followed.
const MAX_DEPTH: u32 = 4;

/// RFC 8200, 3.
const IPV6_HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const NO_NEXT: u8 = 59;
const PAD1: u8 = 0;
/// RFC 2675, 2.
const JUMBO: u8 = 0xc2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ipv4, ipv4_fragment, ipv4_with, ipv6, ipv6_with, tcp, udp};

    fn scope() -> Scope {
        Scope { ports: vec![5060..=5060], transports: vec![Transport::Udp, Transport::Tcp] }
    }

    fn record(data: &[u8], wire: usize) -> CaptureRecord<'_> {
        let wire_len = u32::try_from(wire).unwrap();
        CaptureRecord { number: 1, time: Time::default(), link: LinkType::RAW, data, wire_len }
    }

    /// The packets that arrive of these, which are whole in the capture.
    fn arrived(intake: &mut Intake, packets: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
        let mut arrive = |packet: &Vec<u8>| {
            let arrived = intake.packet(&record(packet, packet.len())).unwrap();
            arrived.map(Cow::into_owned)
        };
        packets.iter().map(&mut arrive).collect()
    }

    /// A packet with 0 in place of its length.
    fn without_length(packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let place = if packet[0] >> 4 == 4 { 2..4 } else { 4..6 };
        packet[place].fill(0);
        packet
    }

    #[test]
    fn a_length_of_0_is_the_rest_of_the_frame() {
        let hop_by_hop = [&[6, 0, 1, 4, 0, 0, 0, 0], &tcp(b"x")[..]].concat();
        for packet in [
            ipv4("192.0.2.7", &tcp(b"REGISTER")),
            ipv4_with("192.0.2.7", 6, 0, &[1; 8], &tcp(b"REGISTER")),
            ipv6_with("2001:db8::7", 6, &tcp(b"REGISTER")),
            ipv6_with("2001:db8::7", 0, &hop_by_hop),
        ] {
            let cut = without_length(&packet);
            let mut intake = Intake::new(scope());
            assert_eq!(arrived(&mut intake, std::slice::from_ref(&cut)), [Some(packet.clone())]);
            assert_eq!(intake.gaps(), Gaps::default());
            // The snap length has taken the end of it.
            let kept = intake.packet(&record(&cut[..cut.len() - 3], cut.len())).unwrap().unwrap();
            assert_eq!(*kept, packet[..packet.len() - 3]);
            assert_eq!(intake.gaps().truncated, 1);
            assert!(matches!(
                Packet::parse(&cut).map(|packet| packet.body),
                Ok(Body::Malformed(..)) | Err(_)
            ));
        }
    }

    #[test]
    fn a_length_of_0_that_is_none() {
        let jumbo = [&[6, 0, 0xc2, 4, 0, 1, 0, 0], &tcp(b"x")[..]].concat();
        let padded_jumbo = [&[6, 1, 0, 1, 1, 9, 0xc2, 4, 0, 1, 0, 0, 1, 2, 0, 0], &tcp(b"x")[..]].concat();
        for packet in [
            without_length(&ipv6_with("2001:db8::7", 0, &jumbo)),
            without_length(&ipv6_with("2001:db8::7", 0, &padded_jumbo)),
            // Nothing follows, and the frame is padded.
            without_length(&ipv6_with("2001:db8::7", 59, &[0; 6])),
        ] {
            assert_eq!(
                arrived(&mut Intake::new(scope()), std::slice::from_ref(&packet)),
                [Some(packet.clone())]
            );
        }
    }

    #[test]
    fn a_frame_longer_than_a_header_can_say_is_counted_as_cut() {
        let large = [&without_length(&ipv4("192.0.2.7", &tcp(b"")))[..], &vec![b'x'; 70_000]].concat();
        let mut intake = Intake::new(scope());
        let packets = arrived(&mut intake, &[large]);
        assert_eq!(Packet::parse(packets[0].as_ref().unwrap()).unwrap().length, 65_535);
        assert_eq!(intake.gaps().truncated, 1);
    }

    #[test]
    fn what_a_snap_length_cuts_is_counted_if_it_may_be_for_us() {
        let (ours, text) = (ipv4("192.0.2.7", &udp(b"REGISTER")), ipv4("192.0.2.7", &tcp(b"REGISTER")));
        let mut other = ours.clone();
        other[23] = 53;
        let icmp = ipv4_with("192.0.2.7", 1, 0, &[], &[8; 30]);
        for (packet, kept, count) in [
            (&ours, ours.len(), 0),
            (&ours, ours.len() - 1, 1),
            (&ours, 24, 1),
            (&ours, 22, 1),
            (&ours, 12, 0),
            (&text, 41, 1),
            (&text, 22, 1),
            (&other, 30, 0),
            (&icmp, 30, 0),
        ] {
            let mut intake = Intake::new(scope());
            intake.packet(&record(&packet[..kept], packet.len())).unwrap();
            assert_eq!(intake.gaps().truncated, count, "{kept} of {packet:02x?}");
        }
        // Padding of the link layer is not missed.
        let mut intake = Intake::new(scope());
        intake.packet(&record(&ours, ours.len() + 9)).unwrap();
        assert_eq!(intake.gaps(), Gaps::default());
        let udp_only = Scope { transports: vec![Transport::Udp], ..scope() };
        let mut intake = Intake::new(udp_only);
        intake.packet(&record(&text[..22], text.len())).unwrap();
        assert_eq!(intake.gaps().truncated, 0);
    }

    #[test]
    fn a_hook_sees_datagrams_or_fragments() {
        let datagram = udp(b"REGISTER mykn0ckstr1ng");
        let parts = [
            ipv4_fragment("192.0.2.7", 0, true, &datagram[..24]),
            ipv4_fragment("192.0.2.7", 3, false, &datagram[24..]),
        ];
        let mut expected = ipv4("192.0.2.7", &datagram);
        expected[6..8].fill(0);
        assert_eq!(arrived(&mut Intake::new(scope()), &parts), [None, Some(expected)]);
        let mut forward = Intake::new(scope()).at(Hook::Forward);
        assert_eq!(arrived(&mut forward, &parts), parts.clone().map(Some));
        let mut missing = Intake::new(scope());
        arrived(&mut missing, &parts[..1]);
        assert_eq!((missing.gaps().incomplete, forward.gaps().incomplete), (1, 0));
    }

    #[test]
    fn tunnels_are_counted_or_looked_into() {
        let inner = ipv6("2001:db8::7", &udp(b"OPTIONS"));
        let frame = [&[2; 12][..], &[0x86, 0xdd], &inner].concat();
        let gre = |frame: &[u8]| ipv4_with("192.0.2.9", 47, 0, &[], &[&[0, 0, 0x65, 0x58], frame].concat());
        let mut to_vxlan = udp(&[&[8, 0, 0, 0, 0, 0, 7, 0], &frame[..]].concat());
        to_vxlan[2..4].copy_from_slice(&4789u16.to_be_bytes());
        let vxlan = ipv4("192.0.2.9", &to_vxlan);
        let nested = gre(&[&[2; 12][..], &[8, 0], &vxlan].concat());
        for (packet, kind) in
            [(gre(&frame), TunnelKind::Gre), (vxlan, TunnelKind::Vxlan), (nested, TunnelKind::Gre)]
        {
            let mut intake = Intake::new(scope());
            let found = arrived(&mut intake, std::slice::from_ref(&packet));
            assert_eq!(found, [Some(packet.clone())]);
            assert_eq!(intake.gaps().tunnels.into_iter().collect::<Vec<_>>(), [(kind, 1)]);
            let mut intake = Intake::new(scope()).into_tunnels(true);
            assert_eq!(arrived(&mut intake, std::slice::from_ref(&packet)), [Some(inner.clone())]);
            assert_eq!(intake.gaps(), Gaps::default());
        }
        // The tunnel's own packets come in fragments, and those in it have no length.
        let packet = gre(&[&[2; 12][..], &[0x86, 0xdd], &without_length(&inner)].concat());
        let parts = [
            ipv4_with("192.0.2.9", 47, 0x2000, &[], &packet[20..60]),
            ipv4_with("192.0.2.9", 47, 5, &[], &packet[60..]),
        ];
        let mut intake = Intake::new(scope()).into_tunnels(true);
        assert_eq!(arrived(&mut intake, &parts), [None, Some(inner.clone())]);
        let arp = gre(&[&[2; 12][..], &[8, 6], &[0; 28]].concat());
        assert_eq!(arrived(&mut intake, &[arp]), [None]);
        assert_eq!(intake.gaps(), Gaps::default());
    }

    #[test]
    fn labels_without_an_ip_packet_are_a_tunnel() {
        let frame = [&[2; 12][..], &[0x88, 0x47, 0, 1, 0x41, 64, 0, 0, 0, 0]].concat();
        let record = CaptureRecord { link: LinkType::ETHERNET, ..record(&frame, frame.len()) };
        let mut intake = Intake::new(scope());
        assert_eq!(intake.packet(&record), Err(Skip::NotIp(0x8847)));
        assert_eq!(intake.gaps().tunnels.into_iter().collect::<Vec<_>>(), [(TunnelKind::Mpls, 1)]);
    }

    #[test]
    fn sip_for_other_ports_is_noticed() {
        let to = |port: u16, payload: &[u8]| {
            let mut packet = ipv4("192.0.2.7", &udp(payload));
            packet[22..24].copy_from_slice(&port.to_be_bytes());
            packet
        };
        let from_5060 = |port: u16, payload: &[u8]| {
            let mut packet = to(port, payload);
            packet[20..22].copy_from_slice(&5060u16.to_be_bytes());
            packet
        };
        let options = b"OPTIONS sip:x SIP/2.0\r\n\r\n";
        for (packet, port) in [
            (to(5070, options), Some("5070")),
            (to(5060, options), None),
            (from_5060(41_000, options), None),
            (to(5070, b"SIP/2.0 200 OK\r\n\r\n"), None),
            (to(8080, b"GET / HTTP/1.1\r\n\r\n"), None),
        ] {
            let mut intake = Intake::new(scope());
            arrived(&mut intake, &[packet]);
            let said = intake.gaps().sentences(true);
            let expected = port.map(|port| format!("SIP was seen for port {port}: --port {port}"));
            assert_eq!(said.first(), expected.as_ref());
        }
        let outbound = Scope { ports: vec![5070..=5070], ..scope() };
        let mut intake = Intake::new(scope()).with_pbx(NetSet::default(), outbound);
        arrived(&mut intake, &[to(5070, options)]);
        assert_eq!(intake.gaps(), Gaps::default());
    }
}
