//! Sockets of transports that can carry SIP and that no rule of ours matches: SCTP and UDP-Lite, from /proc/net.

use std::fs;

use super::facts::{Other, OtherListener};

/// Those of this thread's network namespace that others can send to. `listening` reads a line of /proc/net/udp and its like,
/// and `name` tells whose the socket with an inode is.
pub(super) fn listeners(
    listening: impl Fn(&str) -> Option<(u16, u64)>,
    name: impl Fn(u64) -> Option<String>,
) -> Vec<OtherListener> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let mut found: Vec<OtherListener> = Vec::new();
    let mut add = |protocol, v6, (port, inode)| {
        let listener = OtherListener { protocol, port, process: name(inode), v6 };
        if !found.contains(&listener) {
            found.push(listener);
        }
    };
    for (file, v6) in [("udplite", false), ("udplite6", true)] {
        read(file).lines().filter_map(&listening).for_each(|socket| add(Other::UdpLite, v6, socket));
    }
    for Endpoint { port, inode, v6 } in read("sctp/eps").lines().filter_map(endpoint) {
        add(Other::Sctp, v6, (port, inode));
    }
    found
}

/// A listening SCTP socket.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    port: u16,
    inode: u64,
    v6: bool,
}

/// A line of /proc/net/sctp/eps: two pointers, type, state, bucket, port, user, inode, and its addresses
/// (sctp_eps_seq_show, net/sctp/proc.c). `None` for those that do not listen, or on loopback alone.
fn endpoint(line: &str) -> Option<Endpoint> {
    let columns: Vec<_> = line.split_ascii_whitespace().collect();
    let addresses = columns.get(8..).unwrap_or_default();
    let loopback = |address: &&str| address.starts_with("127.") || *address == "::1";
    let local = !addresses.is_empty() && addresses.iter().all(loopback);
    if *columns.get(3)? != SCTP_LISTENING || local {
        return None;
    }
    Some(Endpoint {
        port: columns.get(5)?.parse().ok()?,
        inode: columns.get(7)?.parse().ok()?,
        v6: addresses.iter().any(|address| address.contains(':')),
    })
}

/// SCTP_SS_LISTENING (include/net/sctp/constants.h).
const SCTP_LISTENING: &str = "10";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (name, line, expected) in [
            ("the head", " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS", None),
            (
                "everywhere",
                "ffff8881 ffff8882 2   10  29   5060    0 4711 0.0.0.0 ",
                Some(Endpoint { port: 5060, inode: 4711, v6: false }),
            ),
            (
                "several addresses",
                "ffff8881 ffff8882 2   10  29   5060    0 4711 127.0.0.1 192.0.2.1 ",
                Some(Endpoint { port: 5060, inode: 4711, v6: false }),
            ),
            (
                "IPv6",
                "ffff8881 ffff8882 2   10  29   5061    0 4712 :: ",
                Some(Endpoint { port: 5061, inode: 4712, v6: true }),
            ),
            ("a client", "ffff8881 ffff8882 2   0   29   40000    0 4711 0.0.0.0 ", None),
            ("loopback", "ffff8881 ffff8882 2   10  29   5060    0 4711 127.0.0.1 ", None),
            ("loopback of IPv6", "ffff8881 ffff8882 2   10  29   5060    0 4711 ::1 ", None),
            ("cut off", "ffff8881 ffff8882 2   10  29", None),
            ("nothing", "", None),
        ] {
            assert_eq!(endpoint(line), expected, "{name}");
        }
    }
}
