//! From the bytes of an IP packet to a checked view of it.
//!
//! The view answers what the rest of the core asks: who sent it, to which port, and which bytes may hold a
//! knock. Lengths are checked once, here; whatever is handed on is a subslice that exists.
//!
//! A *truncated copy* (a capture with a short snap length, or a queue with a short copy range) is not malformed:
//! lengths are checked against what the IP header says was on the wire, and the payload is what was kept of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, TcpHeaderSlice, UdpHeaderSlice, ip_number,
};

/// A transport that can carry SIP and that sipknock can look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP, RFC 768.
    Udp,
    /// TCP, RFC 9293.
    Tcp,
}

names! {
    /// As configs, logs and iptables write it.
    pub Transport { Udp = "udp", Tcp = "tcp" }
}

/// A packet whose IP header could be read, as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender. An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) is given as the IPv4 address it stands for.
    pub source: IpAddr,
    /// The receiver, with the same treatment.
    pub destination: IpAddr,
    /// Bytes on the wire, from the first of the IP header on.
    pub length: u32,
    /// What follows the IP header and its extension headers.
    pub body: Body<'a>,
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A segment or datagram of an inspected transport, or the first fragment of one.
    Segment(Segment<'a>),
    /// A fragment other than the first: it has no ports, and its payload starts somewhere inside a datagram.
    LaterFragment(Fragment),
    /// Not readable as UDP or TCP. The ports are there when the first four bytes of the transport header were.
    Malformed(Malformed, Option<Flow>),
}

/// Transport and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// UDP or TCP.
    pub transport: Transport,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
}

impl Flow {
    /// The flow of what is answered.
    pub const fn reversed(self) -> Self {
        Self { source_port: self.destination_port, destination_port: self.source_port, ..self }
    }
}

/// A UDP datagram or a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Transport and ports.
    pub flow: Flow,
    /// What the transport carries, by the transport's own length: link padding is not in it.
    pub payload: &'a [u8],
    /// Set on the first fragment of a datagram whose later fragments are packets of their own.
    pub fragment: Option<Fragment>,
    /// Where a TCP segment stands in its stream; `None` for UDP.
    pub sequence: Option<Sequence>,
}

/// What a TCP header says about its segment's place in the stream (RFC 9293, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// The sequence number, that of a SYN where there is one.
    pub number: u32,
    /// Payload bytes on the wire; a truncated copy has fewer.
    pub length: u32,
    /// The stream begins here: its first byte has the number behind this one.
    pub syn: bool,
    /// The sender has nothing more to send.
    pub fin: bool,
    /// The sender knows nothing of such a connection.
    pub rst: bool,
    /// Some byte of the stream, this one's or a later one's, is urgent: the receiver may not see it in its place.
    pub urgent: bool,
    /// Multipath TCP is offered or in use: bytes of the stream may come over other connections (RFC 8684, 3.1).
    pub multipath: bool,
}

/// What ties the fragments of one datagram together, beside its addresses (RFC 791, 2.3; RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The identification field.
    pub id: u32,
    /// The protocol of what was fragmented (17 for UDP).
    pub protocol: u8,
}

/// Why bytes are not an IP packet with UDP or TCP in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No bytes at all, or a version other than 4 and 6.
    #[error("not an IP packet: version {0}")]
    Version(u8),
    /// The IPv4 header is cut short or contradicts itself.
    #[error("bad IPv4 header in {0} bytes")]
    Ipv4(usize),
    /// The IPv6 header is cut short.
    #[error("bad IPv6 header in {0} bytes")]
    Ipv6(usize),
    /// An IPv6 extension header is cut short, or in a place where none may be.
    #[error("bad IPv6 extension header, number {0}")]
    Extension(u8),
    /// Neither UDP nor TCP.
    #[error("IP protocol {0} is neither UDP nor TCP")]
    Protocol(u8),
    /// The UDP header is cut short.
    #[error("UDP header needs 8 bytes, got {0}")]
    UdpHeader(usize),
    /// The UDP length field says less than a header or more than the IP packet has.
    #[error("UDP length field says {said}, the IP packet has {got}")]
    UdpLength {
        /// The field's value.
        said: u16,
        /// What the IP header leaves for it.
        got: usize,
    },
    /// The TCP header is cut short, or its data offset points outside the segment.
    #[error("bad TCP header in {0} bytes")]
    TcpHeader(usize),
}

impl<'a> Packet<'a> {
    /// Reads an IP packet, from the first byte of its IP header, as the kernel queues it.
    ///
    /// # Errors
    /// Only where not even the sender can be read. Everything else is in [`Body::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_inline(bytes)
    }

    /// The same, compiled into its caller with all that a UDP packet takes: a returned packet is copied in wider words
    /// than it was written in, which a processor waits for.
    #[inline(always)]
    pub(crate) fn parse_inline(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|byte| byte >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            version => Err(Malformed::Version(version.unwrap_or(0))),
        }
    }

    /// Transport and ports, where the packet has them.
    pub fn flow(&self) -> Option<Flow> {
        match self.body {
            Body::Segment(segment) => Some(segment.flow),
            Body::Malformed(_, flow) => flow,
            Body::LaterFragment(_) => None,
        }
    }

    #[inline(always)]
    fn parse_v4(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bad = Malformed::Ipv4(bytes.len());
        let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| bad)?;
        let on_wire = header.payload_len().map_err(|_| bad)?;
        let rest = bytes.get(header.slice().len()..).ok_or(bad)?;
        let payload = IpPayload { kept: truncate(rest, on_wire.into()), on_wire: on_wire.into() };
        let fragment = Fragment { id: header.identification().into(), protocol: header.protocol().0 };
        let body = if header.fragments_offset().value() != 0 {
            Body::LaterFragment(fragment)
        } else {
            let fragment = header.more_fragments().then_some(fragment);
            payload.transport(header.protocol(), fragment)
        };
        Ok(Self {
            source: IpAddr::V4(Ipv4Addr::from(header.source())),
            destination: IpAddr::V4(Ipv4Addr::from(header.destination())),
            length: header.total_len().into(),
            body,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let bad = Malformed::Ipv6(bytes.len());
        let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| bad)?;
        let rest = bytes.get(header.slice().len()..).ok_or(bad)?;
        // A payload length of 0 stands for a jumbogram (RFC 2675); neither UDP nor TCP of ours comes as one.
        let on_wire = usize::from(header.payload_length());
        let payload = IpPayload { kept: truncate(rest, on_wire), on_wire };
        Ok(Self {
            source: IpAddr::V6(Ipv6Addr::from(header.source())).to_canonical(),
            destination: IpAddr::V6(Ipv6Addr::from(header.destination())).to_canonical(),
            length: IPV6_HEADER + u32::from(header.payload_length()),
            body: payload.after_extensions(header.next_header()),
        })
    }
}

/// The bytes behind an IP header.
#[derive(Clone, Copy)]
struct IpPayload<'a> {
    /// What was kept of them.
    kept: &'a [u8],
    /// How many the IP header says there were.
    on_wire: usize,
}

impl<'a> IpPayload<'a> {
    /// Walks the extension headers of RFC 8200, section 4, as the kernel's `ipv6_skip_exthdr`
    /// (net/ipv6/exthdrs_core.c) does.
    fn after_extensions(mut self, mut next: IpNumber) -> Body<'a> {
        let mut fragment = None;
        loop {
            let bad = Body::Malformed(Malformed::Extension(next.0), None);
            let skipped = match next {
                ip_number::IPV6_HOP_BY_HOP | ip_number::IPV6_DEST_OPTIONS | ip_number::IPV6_ROUTE => {
                    match Ipv6RawExtHeaderSlice::from_slice(self.kept) {
                        Ok(header) => {
                            next = header.next_header();
                            header.slice().len()
                        }
                        Err(_) => return bad,
                    }
                }
                ip_number::AUTH => match IpAuthHeaderSlice::from_slice(self.kept) {
                    Ok(header) => {
                        next = header.next_header();
                        header.slice().len()
                    }
                    Err(_) => return bad,
                },
                ip_number::IPV6_FRAG => match Ipv6FragmentHeaderSlice::from_slice(self.kept) {
                    Ok(header) => {
                        next = header.next_header();
                        let this = Fragment { id: header.identification(), protocol: next.0 };
                        if header.fragment_offset().value() != 0 {
                            return Body::LaterFragment(this);
                        }
                        if header.more_fragments() {
                            fragment = Some(this);
                        }
                        header.slice().len()
                    }
                    Err(_) => return bad,
                },
                _ => return self.transport(next, fragment),
            };
            match (self.kept.get(skipped..), self.on_wire.checked_sub(skipped)) {
                (Some(kept), Some(on_wire)) => self = Self { kept, on_wire },
                _ => return bad,
            }
        }
    }

    #[inline(always)]
    fn transport(self, protocol: IpNumber, fragment: Option<Fragment>) -> Body<'a> {
        match protocol {
            ip_number::UDP => self.udp(fragment),
            ip_number::TCP => self.tcp(fragment),
            IpNumber(other) => Body::Malformed(Malformed::Protocol(other), None),
        }
    }

    #[inline(always)]
    fn udp(self, fragment: Option<Fragment>) -> Body<'a> {
        let Ok(header) = UdpHeaderSlice::from_slice(self.kept) else {
            return self.malformed(Malformed::UdpHeader(self.kept.len()), Transport::Udp);
        };
        let said = usize::from(header.length());
        // On the first fragment the length is that of the whole datagram.
        let fits = said <= self.on_wire || fragment.is_some();
        match said.checked_sub(header.slice().len()) {
            Some(length) if fits => Body::Segment(Segment {
                flow: Flow {
                    transport: Transport::Udp,
                    source_port: header.source_port(),
                    destination_port: header.destination_port(),
                },
                payload: truncate(self.kept.get(header.slice().len()..).unwrap_or_default(), length),
                fragment,
                sequence: None,
            }),
            _ => {
                let error = Malformed::UdpLength { said: header.length(), got: self.on_wire };
                self.malformed(error, Transport::Udp)
            }
        }
    }

    #[inline(always)]
    fn tcp(self, fragment: Option<Fragment>) -> Body<'a> {
        match TcpHeaderSlice::from_slice(self.kept) {
            Ok(header) if header.slice().len() <= self.on_wire => Body::Segment(Segment {
                flow: Flow {
                    transport: Transport::Tcp,
                    source_port: header.source_port(),
                    destination_port: header.destination_port(),
                },
                payload: self.kept.get(header.slice().len()..).unwrap_or_default(),
                fragment,
                sequence: Some(Sequence {
                    number: header.sequence_number(),
                    length: u32::try_from(self.on_wire - header.slice().len()).unwrap_or(u32::MAX),
                    syn: header.syn(),
                    fin: header.fin(),
                    rst: header.rst(),
                    urgent: header.urg(),
                    multipath: is_multipath(header.options()),
                }),
            }),
            _ => self.malformed(Malformed::TcpHeader(self.kept.len()), Transport::Tcp),
        }
    }

    /// A broken transport header, with the ports where they are readable: the kernel's port match reads no
    /// more of it either (net/netfilter/xt_tcpudp.c), so such a packet does reach the queue.
    fn malformed(self, error: Malformed, transport: Transport) -> Body<'a> {
        let flow = self.kept.first_chunk::<4>().map(|&[a, b, c, d]| Flow {
            transport,
            source_port: u16::from_be_bytes([a, b]),
            destination_port: u16::from_be_bytes([c, d]),
        });
        Body::Malformed(error, flow)
    }
}

/// Whether TCP options have one of Multipath TCP. They are walked as `tcp_parse_options` (net/ipv4/tcp_input.c) does.
#[inline]
fn is_multipath(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (END_OF_OPTIONS, _) => return false,
            (NO_OPERATION, _) => rest,
            (MULTIPATH, _) => return true,
            (_, [length, ..]) => match options.get(usize::from(*length)..) {
                Some(behind) if *length >= 2 => behind,
                _ => return false,
            },
            _ => return false,
        };
    }
    false
}

/// The first `length` bytes, or all where there are fewer.
fn truncate(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

/// RFC 8200, 3.
const IPV6_HEADER: u32 = 40;

/// RFC 9293, 3.2.
const END_OF_OPTIONS: u8 = 0;
/// RFC 9293, 3.2.
const NO_OPERATION: u8 = 1;
/// RFC 8684, 3.
const MULTIPATH: u8 = 30;

#[cfg(test)]
mod tests;
