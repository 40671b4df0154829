//! Sets of networks, and source addresses cut to a prefix.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

/// A set of networks that answers in logarithmic time, for a trusted list of any length.
///
/// The families are kept apart: `::/0` is every IPv6 address, and no IPv4 one. An IPv4-mapped IPv6 address counts as
/// the IPv4 address it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetSet {
    v4: Ranges,
    v6: Ranges,
}

impl NetSet {
    /// The union of networks; host bits are ignored.
    pub fn new<'a>(nets: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) = nets.into_iter().partition(|net| matches!(net, IpNet::V4(_)));
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }

    /// Whether an address is in one of the networks.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        !ranges.0.is_empty() && ranges.contains(number(address))
    }
}

impl NetSet {
    /// The first address of each range of networks that touch, IPv4 before IPv6.
    pub fn firsts(&self) -> impl Iterator<Item = IpAddr> {
        let ranges = self.v4.0.iter().chain(&self.v6.0);
        ranges.map(|&(first, _)| IpAddr::from(Ipv6Addr::from_bits(first)).to_canonical())
    }
}

/// First and last address of each range of one family, sorted, disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    fn new(nets: Vec<&IpNet>) -> Self {
        let mut sorted: Vec<_> =
            nets.into_iter().map(|net| (number(net.network()), number(net.broadcast()))).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self(ranges)
    }

    fn contains(&self, address: u128) -> bool {
        let following = self.0.partition_point(|&(first, _)| first <= address);
        let candidate = following.checked_sub(1).and_then(|index| self.0.get(index));
        candidate.is_some_and(|&(_, last)| address <= last)
    }
}

/// How many leading bits of an address make a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// For IPv4, 0 to 32.
    pub v4: u8,
    /// For IPv6, 0 to 128.
    pub v6: u8,
}

impl Default for Prefixes {
    /// An IPv4 address stands for itself; an IPv6 host picks its addresses from a /64 as it likes (RFC 8981).
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

/// How addresses are cut to sources: by the lengths of prefixes, and not at all in networks where one prefix is the way of
/// strangers to each other.
///
/// Such are the prefixes of translators (NAT64, RFC 6052), behind which each IPv4 host is an address of the same /64;
/// link-local addresses (RFC 4291, 2.5.6), which every host of a link has in fe80::/64; and Teredo's (RFC 4380), whose
/// clients of one server are in one /64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    prefixes: Prefixes,
    nat64: Vec<IpNet>,
    /// Networks in which each address is a source of its own.
    whole: Ranges,
}

impl Default for Cut {
    fn default() -> Self {
        Self::new(Prefixes::default(), NAT64.map(IpNet::V6).to_vec())
    }
}

impl Cut {
    /// One with these lengths, and these networks of translators. IPv4 networks among them have no effect.
    pub fn new(prefixes: Prefixes, nat64: Vec<IpNet>) -> Self {
        let named = nat64.iter().filter_map(|net| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some(*net),
        });
        // A prefix is never cut in two, so that no source is both an address and a network.
        let longest = prefixes.v6.clamp(MIN_WHOLE, 128);
        let widened =
            |net: Ipv6Net| Ipv6Net::new(net.addr(), net.prefix_len().min(longest)).map(|net| net.trunc());
        let whole: Vec<_> =
            named.chain(ALWAYS_WHOLE).filter_map(|net| widened(net).ok()).map(IpNet::V6).collect();
        Self { prefixes, whole: Ranges::new(whole.iter().collect()), nat64 }
    }

    /// The same networks, with other lengths of prefixes.
    pub fn with_prefixes(self, prefixes: Prefixes) -> Self {
        Self::new(prefixes, self.nat64)
    }

    /// The lengths of the prefixes.
    pub fn prefixes(&self) -> Prefixes {
        self.prefixes
    }

    /// The source that an address belongs to.
    #[inline]
    pub fn source(&self, address: IpAddr) -> Source {
        let source = Source::new(address, self.prefixes);
        match address {
            IpAddr::V4(_) => source,
            IpAddr::V6(v6) => self.whole_or(v6, source),
        }
    }

    // Out of the way of IPv4.
    #[inline(never)]
    fn whole_or(&self, address: Ipv6Addr, source: Source) -> Source {
        let number = u128::from(address);
        let whole = address.to_ipv4_mapped().is_none() && self.whole.contains(number);
        if whole { Source::of_number(number) } else { source }
    }

    /// Whether a source is one by this rule. One that was made by another rule may hold a door for addresses that are
    /// sources of their own here, and no address finds it.
    pub fn makes(&self, source: Source) -> bool {
        match source.first_address() {
            // A prefix that is shorter than theirs may begin in one of these networks.
            IpAddr::V6(v6) if self.whole.contains(u128::from(v6)) => {
                !self.is_prefix(source) || self.prefixes.v6 >= 128 || self.prefixes.v6 < MIN_WHOLE
            }
            _ => self.is_prefix(source),
        }
    }

    /// Whether a source may be a prefix as a whole. The first address of one is no host's (RFC 4291, 2.6.1).
    fn is_prefix(&self, source: Source) -> bool {
        Source::new(source.first_address(), self.prefixes) == source
    }

    /// The number of leading bits of a source.
    fn length(&self, source: Source) -> u8 {
        match source.first_address() {
            IpAddr::V4(_) => self.prefixes.v4.min(32),
            IpAddr::V6(_) if !self.is_prefix(source) => 128,
            IpAddr::V6(_) => self.prefixes.v6.min(128),
        }
    }
}

/// The prefix that translators have unless they are given one of their own (RFC 6052, 2.1).
pub const NAT64: [Ipv6Net; 1] = [Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)];

/// Whatever is configured: link-local addresses, Teredo's, and the prefix for translators within a network (RFC 8215).
const ALWAYS_WHOLE: [Ipv6Net; 3] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
];

/// The shortest prefix to which networks are widened: whoever makes one source of more than that means it.
const MIN_WHOLE: u8 = 32;

/// A TCP connection, as both ends name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The other side. An IPv4-mapped IPv6 address is given as the IPv4 address it stands for.
    pub peer: SocketAddr,
    /// This machine, with the same treatment.
    pub local: SocketAddr,
}

impl Connection {
    /// One between these addresses and ports.
    pub fn new(peer: (IpAddr, u16), local: (IpAddr, u16)) -> Self {
        let end = |(address, port): (IpAddr, u16)| SocketAddr::new(address.to_canonical(), port);
        Self { peer: end(peer), local: end(local) }
    }
}

/// A source: a client's address, cut to its prefix. Doors belong to sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(
    /// High half first. A `u128` wants 16 bytes of alignment, which would cost a million doors 8 bytes each.
    [u64; 2],
);

/// As one number, which hashers take at once: an array would have its length hashed as well, for each packet.
impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(self.0[0]) << 64 | u128::from(self.0[1]));
    }
}

impl Source {
    /// The prefix that an address belongs to. That is its source unless [`Cut`] says otherwise.
    #[inline]
    pub fn new(address: IpAddr, prefixes: Prefixes) -> Self {
        let unused = match address.to_canonical() {
            IpAddr::V4(_) => 32u32.saturating_sub(prefixes.v4.into()),
            IpAddr::V6(_) => 128u32.saturating_sub(prefixes.v6.into()),
        };
        let mask = u128::MAX.checked_shl(unused).unwrap_or(0);
        Self::of_number(number(address) & mask)
    }

    #[inline]
    fn of_number(number: u128) -> Self {
        Self([(number >> 64) as u64, number as u64])
    }

    /// The address as two numbers, the high half first, IPv4 at its IPv4-mapped place.
    pub const fn to_bits(self) -> [u64; 2] {
        self.0
    }

    /// The source that had these bits.
    pub const fn from_bits(bits: [u64; 2]) -> Self {
        Self(bits)
    }

    /// The network, as people write it.
    pub fn network(self, cut: &Cut) -> IpNet {
        IpNet::new(self.first_address(), cut.length(self)).unwrap_or_default()
    }

    /// Its first address: an IPv4 address itself, unless sources are networks.
    pub fn first_address(self) -> IpAddr {
        let [high, low] = self.0;
        IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low))).to_canonical()
    }

    /// Written as an address where the prefix is the whole address, else as a network.
    pub fn display(self, cut: &Cut) -> impl fmt::Display + use<> {
        SourceName(self.network(cut))
    }
}

struct SourceName(IpNet);

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// One number space for both families: IPv4 stands at its IPv4-mapped place (RFC 4291, 2.5.5.2).
#[inline]
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn membership() {
        let nets: Vec<IpNet> =
            ["10.10.1.0/24", "10.10.1.128/25", "192.0.2.7/32", "2001:db8:1::/48", "10.10.2.0/24"]
                .iter()
                .map(|net| net.parse().unwrap())
                .collect();
        let set = NetSet::new(&nets);
        for (address, inside) in [
            ("10.10.0.255", false),
            ("10.10.1.0", true),
            ("10.10.1.255", true),
            ("10.10.2.255", true),
            ("10.10.3.0", false),
            ("192.0.2.6", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::ffff", false),
            ("2001:db8:1::", true),
            ("2001:db8:1:ffff::1", true),
            ("2001:db8:2::", false),
            ("::ffff:10.10.1.5", true),
            ("::", false),
            ("ffff::", false),
        ] {
            assert_eq!(set.contains(ip(address)), inside, "{address}");
        }
        assert!(!NetSet::default().contains(ip("10.0.0.1")));
    }

    #[test]
    fn everything_is_in_a_net_of_length_zero_of_its_own_family_only() {
        let v4 = NetSet::new(&["0.0.0.0/0".parse().unwrap()]);
        assert!(v4.contains(ip("203.0.113.9")));
        assert!(!v4.contains(ip("2001:db8::1")));
        let v6 = NetSet::new(&["::/0".parse().unwrap()]);
        assert!(v6.contains(ip("2001:db8::1")));
        assert!(!v6.contains(ip("203.0.113.9")) && !v6.contains(ip("::ffff:203.0.113.9")));
    }

    #[test]
    fn sources_are_cut_to_their_prefix() {
        for (v4, v6, address, shown) in [
            (32, 64, "203.0.113.7", "203.0.113.7"),
            (24, 64, "203.0.113.7", "203.0.113.0/24"),
            (0, 64, "203.0.113.7", "0.0.0.0/0"),
            (32, 64, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            (32, 128, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
            (32, 0, "2001:db8:1:2:3:4:5:6", "::/0"),
            (32, 64, "::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            let cut = Cut::new(Prefixes { v4, v6 }, Vec::new());
            assert_eq!(cut.source(ip(address)).display(&cut).to_string(), shown);
        }
    }

    #[test]
    fn where_one_prefix_is_everybodys_each_address_is_a_source() {
        let own = || vec!["2001:db8:64::/96".parse().unwrap(), "2001:db8:6464::/40".parse().unwrap()];
        for (nat64, v6, address, shown) in [
            (NAT64.map(IpNet::V6).to_vec(), 64, "64:ff9b::c000:207", "64:ff9b::c000:207"),
            (own(), 64, "64:ff9b::c000:207", "64:ff9b::/64"),
            (own(), 64, "2001:db8:64::c000:207", "2001:db8:64::c000:207"),
            (own(), 64, "2001:db8:64:0:1::1", "2001:db8:64:0:1::1"),
            (own(), 64, "2001:db8:64:1::1", "2001:db8:64:1::/64"),
            (own(), 64, "2001:db8:64cb:7100:700::", "2001:db8:64cb:7100:700::"),
            (own(), 96, "2001:db8:64:0:1::1", "2001:db8:64:0:1::/96"),
            (own(), 128, "2001:db8:64::7", "2001:db8:64::7"),
            (own(), 0, "2001:db9::1", "::/0"),
            (own(), 16, "2001:db9::1", "2001::/16"),
            (own(), 64, "64:ff9b:1::c000:207", "64:ff9b:1::c000:207"),
            (own(), 64, "fe80::1234", "fe80::1234"),
            (own(), 64, "febf::1234", "febf::1234"),
            (own(), 64, "fec0::1234", "fec0::/64"),
            (own(), 64, "2001:0:53aa:64c:1:2:3:4", "2001:0:53aa:64c:1:2:3:4"),
            (own(), 64, "2001:1::1", "2001:1::/64"),
            (own(), 64, "192.0.2.7", "192.0.2.7"),
            (vec!["192.0.2.0/24".parse().unwrap()], 64, "192.0.2.7", "192.0.2.7"),
        ] {
            let cut = Cut::new(Prefixes { v4: 32, v6 }, nat64);
            let source = cut.source(ip(address));
            assert_eq!(source.display(&cut).to_string(), shown, "{address}");
            assert!(cut.makes(source), "{address}");
        }
    }

    #[test]
    fn sources_of_another_rule_are_told() {
        let plain = |text: &str| Source::new(ip(text), Prefixes::default());
        let cut = Cut::default();
        for (source, made) in [
            (plain("64:ff9b::c000:207"), false),
            (plain("fe80::1"), false),
            (plain("2001:0:1:2:3::"), false),
            (plain("2001:db8::1"), true),
            (plain("192.0.2.7"), true),
            (
                Cut::new(Prefixes::default(), vec!["2001:db8::/96".parse().unwrap()])
                    .source(ip("2001:db8::7")),
                false,
            ),
            (Cut::new(Prefixes { v4: 24, v6: 64 }, vec![]).source(ip("192.0.2.0")), true),
        ] {
            assert_eq!(cut.makes(source), made, "{source:?}");
        }
    }
}
