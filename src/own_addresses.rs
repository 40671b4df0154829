//! Addresses that are nobody's on the other side: those of this machine, its next hops, and those that belong to no
//! single host. No outbound door is opened for them.
//!
//! /proc tells of the network namespace: it is readable for a confined process, and lists
//! - local and broadcast addresses of IPv4, of all routing tables and interfaces, bridges too: `fib_trie`. A local route to
//!   everything, as a transparent proxy has one in a table of its own (Documentation/networking/tproxy.rst), names no address
//!   of this machine, and is left out;
//! - gateways of IPv4: `route`, which has the main table only, and of a route with several gateways the first;
//! - local addresses of IPv6: `if_inet6`, and local routes and gateways of all tables: `ipv6_route`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::NetSet;

/// The set, as it is now, with `more` networks in it. A file that is missing has no addresses: kernels without IPv6 have two files less.
///
/// # Errors
/// If a file is there and can't be read.
pub fn read(more: &[IpNet]) -> io::Result<NetSet> {
    let mut nets = fixed();
    nets.extend(more);
    nets.extend(listed()?.into_iter().map(|(_, net)| net));
    Ok(NetSet::new(&nets))
}

/// The addresses of this machine, in order, or those of the routers that it sends through. None if they can't be read.
pub(crate) fn of_role(role: Role) -> Vec<IpAddr> {
    let listed = listed().unwrap_or_default().into_iter();
    let mut addresses: Vec<_> =
        listed.filter(|(listed, _)| *listed == role).map(|(_, net)| net.addr()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The IPv4 addresses of another process's network namespace, without those of loopback.
pub(crate) fn of_process(pid: u32) -> Vec<IpAddr> {
    let mut nets = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/net/fib_trie")) {
        let _ = fib_trie(&mut BufReader::new(file), &mut nets);
    }
    let own = nets.into_iter().filter(|(role, _)| *role == Role::Own).map(|(_, net)| net.addr());
    let mut addresses: Vec<_> = own.filter(|address| !address.is_loopback()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The role of an address on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of its own.
    Own,
    /// A broadcast address, or a network that is its own by a route.
    Network,
    /// A router's.
    Gateway,
}

fn listed() -> io::Result<Vec<(Role, IpNet)>> {
    let mut listed = Vec::new();
    for (name, parse) in FILES {
        match File::open(format!("{FOLDER}/{name}")) {
            Ok(file) => parse(&mut BufReader::new(file), &mut listed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listed)
}

/// Networks that are the same everywhere. Link-local ones are among them: those of IPv6 share one source, and a trunk is
/// never link-local.
fn fixed() -> Vec<IpNet> {
    let v4 = |address: [u8; 4], prefix| Ipv4Net::new(address.into(), prefix).map(IpNet::V4);
    let v6 = |first: u16, last: u16, prefix| {
        Ipv6Net::new(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), prefix).map(IpNet::V6)
    };
    let all = [
        // "This network" and loopback (RFC 6890), link-local (RFC 3927), multicast and, behind it, what is reserved, with
        // the broadcast address.
        v4([0, 0, 0, 0], 8),
        v4([127, 0, 0, 0], 8),
        v4([169, 254, 0, 0], 16),
        v4([224, 0, 0, 0], 3),
        // Unspecified, loopback, link-local, multicast (RFC 4291, 2.4).
        v6(0, 0, 128),
        v6(0, 1, 128),
        v6(0xfe80, 0, 10),
        v6(0xff00, 0, 8),
    ];
    all.into_iter().flatten().collect()
}

/// Appends the local and broadcast addresses of fib_trie (`fib_trie_seq_show` in net/ipv4/fib_trie.c): a line with the
/// address, and below it a line for each prefix, with scope and type.
fn fib_trie(text: &mut dyn BufRead, nets: &mut Vec<(Role, IpNet)>) -> io::Result<()> {
    let mut address = None;
    for line in text.lines() {
        let line = line?;
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.trim_end().parse::<Ipv4Addr>().ok();
        } else if let Some(route) = line.strip_prefix('/')
            && let Some(address) = address
        {
            let mut words = route.split_ascii_whitespace();
            let prefix = words.next().and_then(|prefix| prefix.parse().ok());
            let kind = words.nth(1);
            if let Some(prefix) = prefix.filter(|prefix| *prefix > 0)
                && let Some(role) = match kind {
                    Some("LOCAL") => Some(Role::Own),
                    Some("BROADCAST") => Some(Role::Network),
                    _ => None,
                }
                && let Ok(net) = Ipv4Net::new(address, prefix)
            {
                nets.push((role, IpNet::V4(net)));
            }
        }
    }
    Ok(())
}

/// Appends the gateways of route (`fib_route_seq_show` in net/ipv4/fib_trie.c): interface, destination, gateway, flags;
/// addresses are printed as numbers of the machine's byte order.
fn route(text: &mut dyn BufRead, nets: &mut Vec<(Role, IpNet)>) -> io::Result<()> {
    for line in text.lines() {
        let line = line?;
        let gateway = line.split_ascii_whitespace().nth(2).filter(|gateway| gateway.len() == 8);
        let gateway = gateway.and_then(|gateway| u32::from_str_radix(gateway, 16).ok());
        if let Some(gateway) = gateway.filter(|gateway| *gateway != 0) {
            nets.push((Role::Gateway, IpNet::V4(Ipv4Addr::from(gateway.to_ne_bytes()).into())));
        }
    }
    Ok(())
}

/// Appends the addresses of if_inet6 (`if6_seq_show` in net/ipv6/addrconf.c): one in each line, first.
fn if_inet6(text: &mut dyn BufRead, nets: &mut Vec<(Role, IpNet)>) -> io::Result<()> {
    for line in text.lines() {
        if let Some(address) = line?.split_ascii_whitespace().next().and_then(ipv6) {
            nets.push((Role::Own, IpNet::V6(address.into())));
        }
    }
    Ok(())
}

/// Appends local routes and gateways of ipv6_route (`rt6_native_seq_show` in net/ipv6/ip6_fib.c): destination and its
/// prefix, source and its prefix, gateway, metric, two counts, flags, interface; numbers are hexadecimal.
fn ipv6_route(text: &mut dyn BufRead, nets: &mut Vec<(Role, IpNet)>) -> io::Result<()> {
    for line in text.lines() {
        let line = line?;
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let &[to, prefix, _from, _from_prefix, gateway, _metric, _references, _uses, flags, ..] =
            columns.as_slice()
        else {
            continue;
        };
        if let Some(gateway) = ipv6(gateway).filter(|gateway| !gateway.is_unspecified()) {
            nets.push((Role::Gateway, IpNet::V6(gateway.into())));
        }
        let local = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & (RTF_LOCAL | RTF_ANYCAST) != 0);
        let prefix = u8::from_str_radix(prefix, 16).ok().filter(|prefix| *prefix > 0);
        if let (true, Some(to), Some(prefix)) = (local, ipv6(to), prefix)
            && let Ok(net) = Ipv6Net::new(to, prefix)
        {
            nets.push((Role::Network, IpNet::V6(net)));
        }
    }
    Ok(())
}

/// An address of 32 hexadecimal digits.
fn ipv6(digits: &str) -> Option<Ipv6Addr> {
    (digits.len() == 32).then(|| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from))?
}

type Parse = fn(&mut dyn BufRead, &mut Vec<(Role, IpNet)>) -> io::Result<()>;

const FILES: [(&str, Parse); 4] =
    [("fib_trie", fib_trie), ("route", route), ("if_inet6", if_inet6), ("ipv6_route", ipv6_route)];

/// Of the thread, not of the process: its main thread may be in another network namespace.
const FOLDER: &str = "/proc/thread-self/net";

/// include/uapi/linux/ipv6_route.h.
const RTF_LOCAL: u32 = 0x8000_0000;
const RTF_ANYCAST: u32 = 0x0010_0000;

#[cfg(test)]
mod tests;
