//! Sets of networks, and source addresses cut to a prefix.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

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
    /// The source that an address belongs to.
    #[inline]
    pub fn new(address: IpAddr, prefixes: Prefixes) -> Self {
        let unused = match address.to_canonical() {
            IpAddr::V4(_) => 32u32.saturating_sub(prefixes.v4.into()),
            IpAddr::V6(_) => 128u32.saturating_sub(prefixes.v6.into()),
        };
        let mask = u128::MAX.checked_shl(unused).unwrap_or(0);
        let number = number(address) & mask;
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
    pub fn network(self, prefixes: Prefixes) -> IpNet {
        match self.first_address() {
            IpAddr::V4(address) => Ipv4Net::new(address, prefixes.v4.min(32)).map(IpNet::V4),
            IpAddr::V6(address) => Ipv6Net::new(address, prefixes.v6.min(128)).map(IpNet::V6),
        }
        .unwrap_or_default()
    }

    /// Its first address: an IPv4 address itself, unless sources are networks.
    pub fn first_address(self) -> IpAddr {
        let [high, low] = self.0;
        IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low))).to_canonical()
    }

    /// Written as an address where the prefix is the whole address, else as a network.
    pub fn display(self, prefixes: Prefixes) -> impl fmt::Display {
        let net = self.network(prefixes);
        SourceName(net)
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
            let prefixes = Prefixes { v4, v6 };
            assert_eq!(Source::new(ip(address), prefixes).display(prefixes).to_string(), shown);
        }
    }
}
