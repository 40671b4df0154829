use std::net::IpAddr;

use super::*;

fn parsed(parse: Parse, text: &str) -> Vec<String> {
    let mut nets = Vec::new();
    parse(&mut text.as_bytes(), &mut nets).unwrap();
    nets.iter().map(|(_, net)| net.to_string()).collect()
}

#[test]
fn local_and_broadcast_addresses() {
    let text = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.1
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
Local:
  +-- 192.0.2.0/24 2 0 2
     |-- 192.0.2.0
        /32 link BROADCAST
        /24 link UNICAST
     |-- 192.0.2.1
        /32 host LOCAL
     |-- 203.0.113.0
        /24 universe BLACKHOLE
Id 100:
  +-- 0.0.0.0/0 0 0 1
     |-- 198.51.100.0
        /24 host LOCAL
     |-- none
        /32 host LOCAL
     |-- 198.51.100.1
        /33 host LOCAL
        /32
";
    let nets = parsed(fib_trie, text);
    let expected = ["172.17.0.1/32", "172.17.255.255/32", "192.0.2.0/32", "192.0.2.1/32", "198.51.100.0/24"];
    assert_eq!(nets, expected);
}

#[test]
fn gateways() {
    let number = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
    let (gateway, none) = (number([192, 0, 2, 254]), number([0; 4]));
    let text = format!(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
         eth0\t{none}\t{gateway}\t0003\t0\t0\t0\t{none}\t0\t0\t0\n\
         eth0\t000200C0\t{none}\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
         *\t00000000\tC0\t0003\n\n"
    );
    assert_eq!(parsed(route, &text), ["192.0.2.254/32"]);
}

#[test]
fn addresses_of_ipv6() {
    let text = "fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
fd00 04 40 00 82 eth0
zd000000000000000000000000000002 04 40 00 82     eth0
";
    assert_eq!(parsed(if_inet6, text), ["fd00::2/128", "fe80::fc:ff:fe00:1/128", "::1/128"]);
}

#[test]
fn routes_of_ipv6() {
    let zero = "00000000000000000000000000000000";
    let line = |to: &str, prefix: &str, gateway: &str, flags: &str| {
        format!("{to} {prefix} {zero} 00 {gateway} 00000400 00000002 00000000 {flags}     eth0\n")
    };
    let (net, gateway) = ("20010db8000100000000000000000000", "fe800000000000000000000000000001");
    let text = [
        line(net, "40", zero, "00000001"),
        line(zero, "00", gateway, "00000003"),
        line("20010db8000100000000000000000005", "80", zero, "80200001"),
        line("20010db8000200000000000000000000", "40", zero, "80200001"),
        line("20010db8000300000000000000000000", "80", zero, "00300001"),
        line(net, "ff", zero, "80200001"),
        "20010db8 40\n".to_owned(),
    ];
    let expected = ["fe80::1/128", "2001:db8:1::5/128", "2001:db8:2::/64", "2001:db8:3::/128"];
    assert_eq!(parsed(ipv6_route, &text.concat()), expected);
}

#[test]
fn addresses_that_are_never_a_single_host() {
    let set = NetSet::new(&fixed());
    for (address, fixed) in [
        ("0.0.0.0", true),
        ("127.1.2.3", true),
        ("169.254.169.254", true),
        ("224.0.1.75", true),
        ("239.255.255.255", true),
        ("255.255.255.255", true),
        ("223.255.255.255", false),
        ("192.0.2.1", false),
        ("10.0.0.1", false),
        ("::", true),
        ("::1", true),
        ("fe80::1", true),
        ("febf::1", true),
        ("ff02::1", true),
        ("::2", false),
        ("fd00::1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(set.contains(address.parse().unwrap()), fixed, "{address}");
    }
}

#[test]
fn this_machine() {
    let set = read(&["203.0.113.128/25".parse().unwrap()]).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(set.contains(socket.local_addr().unwrap().ip()));
    // The address from which a packet to elsewhere would go, if there is a way.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.77:9").is_ok() {
        assert!(set.contains(socket.local_addr().unwrap().ip()));
    }
    assert!(set.contains(IpAddr::from([203, 0, 113, 129])) && !set.contains(IpAddr::from([203, 0, 113, 7])));
}

/// As the kernel prints them for `ip route add local default dev lo table 100`, and the same with -6.
#[test]
fn a_transparent_proxy_s_route_is_no_own_address() {
    assert_eq!(parsed(fib_trie, "Id 100:\n  |-- 0.0.0.0\n     /0 host LOCAL\n"), [] as [&str; 0]);
    let zero = "00000000000000000000000000000000";
    let line = format!("{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 80000001       lo\n");
    assert_eq!(parsed(ipv6_route, &line), [] as [&str; 0]);
}
