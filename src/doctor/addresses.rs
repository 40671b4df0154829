//! Addresses of this machine and of the routers that it sends through, from /proc/net.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of this thread's network namespace.
pub(super) fn own() -> Vec<IpAddr> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut addresses = local(&read("fib_trie"));
    addresses.extend(read("if_inet6").lines().filter_map(|line| address6(line.split(' ').next()?)));
    addresses
}

/// Next hops of its routes.
pub(super) fn gateways() -> Vec<IpAddr> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut addresses: Vec<_> = read("route").lines().filter_map(|line| address4(line, 2)).collect();
    addresses.extend(read("ipv6_route").lines().filter_map(|line| address6(line.split(' ').nth(4)?)));
    addresses.retain(|address| !address.is_unspecified());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Addresses that `fib_trie` calls `host LOCAL`: each stands in the line before that.
fn local(trie: &str) -> Vec<IpAddr> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let pairs = lines.iter().zip(lines.iter().skip(1)).filter(|(_, next)| next.ends_with("host LOCAL"));
    let mut addresses: Vec<IpAddr> =
        pairs.filter_map(|(line, _)| line.rsplit(' ').next()?.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A column of `route`: eight digits, in the order in which the machine has them in memory.
fn address4(line: &str, column: usize) -> Option<IpAddr> {
    let word = line.split_ascii_whitespace().nth(column).filter(|word| word.len() == 8)?;
    Some(Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()).into())
}

/// 32 digits, as they are written.
fn address6(digits: &str) -> Option<IpAddr> {
    (digits.len() == 32).then(|| Some(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?).into()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_each_form() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.1\n           /32 host LOCAL\n\
                    \x20       |-- 192.0.2.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local(trie), ["127.0.0.1", "192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let route = "up0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(address4(route, 2), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(address4("Iface\tDestination\tGateway \tFlags", 2), None);
        let digits = "20010db8000000000000000000000001";
        assert_eq!(address6(digits), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(address6("1"), None);
    }
}
