//! TCP connections to the inspected ports of this machine, as the kernel lists them in /proc.
//!
//! `tcp` and `tcp6` are readable for a confined process, and list connections of the network namespace in every state, those
//! that a listener has not accepted too (`get_tcp4_sock` and `get_openreq4` in net/ipv4/tcp_ipv4.c, the same in
//! net/ipv6/tcp_ipv6.c).

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::stream::FlowId;

/// The connections to these ports whose sender may still send. A kernel without IPv6 has one file less.
///
/// # Errors
/// If a file is there and can't be read, or `tcp` is not there.
pub fn read(ports: &[RangeInclusive<u16>]) -> io::Result<Vec<FlowId>> {
    let mut flows = Vec::new();
    for (name, optional) in [("tcp", false), ("tcp6", true)] {
        match File::open(format!("{FOLDER}/{name}")) {
            Ok(file) => parse(&mut BufReader::new(file), ports, &mut flows)?,
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(flows)
}

/// Appends the connections of a listing: a number, the address here, the one there, the state.
fn parse(text: &mut dyn BufRead, ports: &[RangeInclusive<u16>], flows: &mut Vec<FlowId>) -> io::Result<()> {
    for line in text.lines() {
        let line = line?;
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (Some(here), Some(there), Some(state)) = (columns.next(), columns.next(), columns.next()) else {
            continue;
        };
        let (Some(destination), Some(source)) = (address(here), address(there)) else { continue };
        if !OVER.contains(&state) && ports.iter().any(|ports| ports.contains(&destination.1)) {
            flows.push(FlowId { source, destination });
        }
    }
    Ok(())
}

/// An address, printed as words of memory, and a port. One that is IPv4 in IPv6's clothes is IPv4's.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(address)?)),
        32 => {
            let words: Option<Vec<_>> = (0..4).map(|n| word(address.get(8 * n..8 * n + 8)?)).collect();
            let bytes: [u8; 16] = words?.concat().try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// TCP_TIME_WAIT, TCP_CLOSE and TCP_LISTEN (include/net/tcp_states.h).
const OVER: [&str; 3] = ["06", "07", "0A"];

/// Of the thread, not of the process: its main thread may be in another network namespace.
const FOLDER: &str = "/proc/thread-self/net";

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn listings() {
        let text = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:13C4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 010200C0:13C4 076433C6:C000 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0
   2: 010200C0:13C4 076433C6:C001 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   3: 010200C0:0016 076433C6:C002 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0
   4: 010200C0:13C7 076433C6:C003 03 00000000:00000000 01:00000000 00000000     0        0 0 1 0
   5: 0000000000000000FFFF0000010200C0:13C4 0000000000000000FFFF0000086433C6:C004 08 0:0
   6: B80D0120000000000000000001000000:13C4 B80D0120000000000000000007000000:C005 04 0:0
   7: nonsense
";
        let mut flows = Vec::new();
        parse(&mut text.as_bytes(), &[5060..=5060, 5062..=5063], &mut flows).unwrap();
        let flow = |there: &str, from, here: &str, to| FlowId {
            source: (there.parse().unwrap(), from),
            destination: (here.parse().unwrap(), to),
        };
        assert_eq!(
            flows,
            [
                flow("198.51.100.7", 0xc000, "192.0.2.1", 5060),
                flow("198.51.100.7", 0xc003, "192.0.2.1", 5063),
                flow("198.51.100.8", 0xc004, "192.0.2.1", 5060),
                flow("2001:db8::7", 0xc005, "2001:db8::1", 5060),
            ]
        );
    }

    #[test]
    fn a_connection_of_this_machine_is_listed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(here).unwrap();
        let there = client.local_addr().unwrap();
        let flows = read(&[here.port()..=here.port()]).unwrap();
        let flow = FlowId { source: (there.ip(), there.port()), destination: (here.ip(), here.port()) };
        assert_eq!(flows, [flow]);
    }
}
