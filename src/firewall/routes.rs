//! Which interface leads to a network, by the kernel's main routing tables.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The routes of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    some: Vec<Route>,
    /// Those to everybody else.
    defaults: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    net: IpNet,
    metric: u32,
    interface: String,
    /// A next hop is between.
    gateway: bool,
}

impl Routes {
    /// The routes of the calling thread's network namespace; none if they can't be read.
    pub fn look() -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
        Self::parse(&read("route"), &read("ipv6_route"))
    }

    /// Reads /proc/net/route and /proc/net/ipv6_route.
    pub(crate) fn parse(v4: &str, v6: &str) -> Self {
        let routes = v4.lines().filter_map(Route::v4).chain(v6.lines().filter_map(Route::v6));
        let (some, defaults) = routes.partition(|route| route.net.prefix_len() > 0);
        Self { some, defaults }
    }

    /// The interfaces behind which the addresses of a net are: that of the longest route that holds all of it, and those
    /// of routes to parts of it. None: no route but a default one leads there.
    pub fn interfaces(&self, net: &IpNet) -> Vec<String> {
        let holding = self.some.iter().filter(|route| route.net.contains(net));
        let best = holding.min_by_key(|route| (u8::MAX - route.net.prefix_len(), route.metric));
        let parts = self.some.iter().filter(|route| net.contains(&route.net) && route.net != *net);
        let mut interfaces: Vec<String> = Vec::new();
        for route in best.into_iter().chain(parts) {
            if !interfaces.contains(&route.interface) {
                interfaces.push(route.interface.clone());
            }
        }
        interfaces
    }

    /// The interfaces by which packets to a net leave: as [`Routes::interfaces`] has it, and that of a default route if no
    /// other one holds all of the net.
    pub(crate) fn towards(&self, net: &IpNet) -> Vec<String> {
        let mut interfaces = self.interfaces(net);
        if !self.some.iter().any(|route| route.net.contains(net)) {
            let defaults = self.defaults.iter().filter(|route| route.net.contains(net));
            interfaces.extend(defaults.min_by_key(|route| route.metric).map(|route| route.interface.clone()));
        }
        interfaces
    }

    /// Networks that interfaces are in themselves, each with its interface; without link-local and multicast ones.
    pub(crate) fn attached(&self) -> impl Iterator<Item = (IpNet, &str)> {
        let own = self
            .some
            .iter()
            .filter(|route| !route.gateway && route.net.prefix_len() < route.net.max_prefix_len());
        let elsewhere = |net: &IpNet| match net {
            IpNet::V4(net) => {
                !net.addr().is_link_local() && !net.addr().is_multicast() && !net.addr().is_loopback()
            }
            IpNet::V6(net) => !net.addr().is_unicast_link_local() && !net.addr().is_multicast(),
        };
        own.filter(move |route| elsewhere(&route.net)).map(|route| (route.net, route.interface.as_str()))
    }

    /// Whether some route by an interface leads to IPv4 addresses that are in none of these nets.
    pub(crate) fn leads_elsewhere(&self, interface: &str, nets: &[IpNet]) -> bool {
        let routes = self.some.iter().chain(&self.defaults);
        let mut by_it =
            routes.filter(|route| route.interface == interface && matches!(route.net, IpNet::V4(_)));
        by_it.any(|route| !nets.iter().any(|net| net.contains(&route.net)))
    }
}

impl Route {
    /// Interface, destination, gateway, flags, two counts, metric, mask; addresses as the machine has them in memory
    /// (fib_route_seq_show, net/ipv4/fib_trie.c).
    fn v4(line: &str) -> Option<Self> {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let hex = |column: usize| u32::from_str_radix(columns.get(column)?, 16).ok();
        let usable = hex(3)? & (UP | REJECT) == UP;
        let (net, mask) = (hex(1)?.to_ne_bytes(), hex(7)?.to_ne_bytes());
        let length = u32::from_be_bytes(mask).leading_ones().try_into().ok()?;
        usable.then_some(Self {
            net: Ipv4Net::new(Ipv4Addr::from(net), length).ok()?.trunc().into(),
            metric: columns.get(6)?.parse().ok()?,
            interface: (*columns.first()?).to_owned(),
            gateway: hex(2)? != 0,
        })
    }

    /// Destination, its prefix length, source, its prefix length, next hop, metric, two counts, flags, interface
    /// (rt6_info_route, net/ipv6/route.c).
    fn v6(line: &str) -> Option<Self> {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let hex = |column: usize| u32::from_str_radix(columns.get(column)?, 16).ok();
        let usable = hex(8)? & (UP | REJECT | LOCAL) == UP;
        let net = u128::from_str_radix(columns.first()?, 16).ok()?;
        let length = u8::from_str_radix(columns.get(1)?, 16).ok()?;
        usable.then_some(Self {
            net: Ipv6Net::new(Ipv6Addr::from(net), length).ok()?.trunc().into(),
            metric: hex(5)?,
            interface: (*columns.get(9)?).to_owned(),
            gateway: columns.get(4)?.bytes().any(|digit| digit != b'0'),
        })
    }
}

/// RTF_UP, RTF_REJECT (include/uapi/linux/route.h) and RTF_LOCAL (include/uapi/linux/ipv6_route.h).
const UP: u32 = 0x1;
const REJECT: u32 = 0x200;
const LOCAL: u32 = 0x8000_0000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_longest_prefix_wins() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  br-1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                  br-2\t000212AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  *\t000312AC\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  slow\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0\n\
                  fast\t0000000A\t00000000\t0001\t0\t0\t50\t000000FF\t0\t0\t0\n";
        let v6 = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth1\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n\
                  fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo\n";
        let routes = Routes::parse(v4, v6);
        for (net, interfaces) in [
            ("172.18.0.5/32", &["br-1"][..]),
            ("172.18.2.5/32", &["br-2"]),
            ("172.18.3.5/32", &["br-1"]),
            ("172.18.0.0/16", &["br-1", "br-2"]),
            ("172.16.0.0/12", &["br-1", "br-2"]),
            ("10.1.2.3/32", &["fast"]),
            ("198.51.100.7/32", &[]),
            ("fd00::2/128", &["eth1"]),
            ("2001:db8::1/128", &[]),
        ] {
            assert_eq!(routes.interfaces(&net.parse().unwrap()), interfaces, "{net}");
        }
    }
}
