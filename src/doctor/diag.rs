//! The receive buffers of netlink sockets, asked of the kernel (sock_diag(7), include/uapi/linux/netlink_diag.h).

use std::time::Duration;

use rustix::net::netlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

/// The receive buffer of the netfilter socket with this port id, in the measure in which it was asked for. `None` where
/// the kernel does not tell (CONFIG_NETLINK_DIAG).
pub(super) fn receive_buffer(port_id: u32) -> Option<usize> {
    let socket =
        rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::SOCK_DIAG)).ok()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).ok()?;
    rustix::net::send(&socket, &request(), SendFlags::empty()).ok()?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, _) = rustix::net::recv(&socket, &mut *buffer, RecvFlags::empty()).ok()?;
        match find(buffer.get(..length)?, port_id) {
            Found::Buffer(size) => return Some(size),
            Found::End => return None,
            Found::NotYet => {}
        }
    }
}

/// `struct nlmsghdr` and `struct netlink_diag_req`.
fn request() -> Vec<u8> {
    const LENGTH: u32 = 16 + 20;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend([0; 8]);
    message.extend([AF_NETLINK, NETLINK_NETFILTER, 0, 0]);
    message.extend([0; 4]);
    message.extend(NDIAG_SHOW_MEMINFO.to_ne_bytes());
    message.extend([0; 8]);
    message
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Buffer(usize),
    NotYet,
    End,
}

/// Looks through the messages of an answer.
fn find(mut answer: &[u8], port_id: u32) -> Found {
    while let Some(length) = number(answer, 0).map(|length| length as usize).filter(|length| *length >= 16) {
        let (Some(message), Some(kind)) = (answer.get(..length), number(answer, 4).map(|word| word & 0xffff))
        else {
            return Found::End;
        };
        // On a big-endian machine the type is in the other half.
        let kind =
            if cfg!(target_endian = "big") { number(message, 4).map_or(0, |word| word >> 16) } else { kind };
        if kind != u32::from(SOCK_DIAG_BY_FAMILY) {
            return Found::End;
        }
        // The header, then family, type, protocol and state, and the port id.
        if number(message, 16 + 4) == Some(port_id)
            && let Some(size) = memory(message.get(16 + 28..).unwrap_or_default())
        {
            return Found::Buffer(size);
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Found::NotYet
}

/// SK_MEMINFO_RCVBUF of the attribute NETLINK_DIAG_MEMINFO. The kernel doubles what was asked for (socket(7)).
fn memory(mut attributes: &[u8]) -> Option<usize> {
    loop {
        let head = number(attributes, 0)?.to_ne_bytes();
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        if kind == NETLINK_DIAG_MEMINFO {
            return number(attributes.get(..length)?, 4 + 4).map(|doubled| doubled as usize / 2);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const AF_NETLINK: u8 = 16;
const NETLINK_NETFILTER: u8 = 12;
const NDIAG_SHOW_MEMINFO: u32 = 0x1;
const NETLINK_DIAG_MEMINFO: u16 = 0;

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, port_id: u32, attributes: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(16 + 28 + attributes.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend([AF_NETLINK, 3, NETLINK_NETFILTER, 0]);
        message.extend(port_id.to_ne_bytes());
        message.extend([0; 20]);
        message.extend(attributes);
        message
    }

    #[test]
    fn answers() {
        let mut attribute = 16u16.to_ne_bytes().to_vec();
        attribute.extend(NETLINK_DIAG_MEMINFO.to_ne_bytes());
        [7u32, 425_984, 9].iter().for_each(|number| attribute.extend(number.to_ne_bytes()));
        let ours = message(SOCK_DIAG_BY_FAMILY, 42, &attribute);
        let other = message(SOCK_DIAG_BY_FAMILY, 43, &attribute);
        let done = message(3, 0, &[]);
        for (name, answer, found) in [
            ("ours", ours.clone(), Found::Buffer(212_992)),
            ("behind another", [other.clone(), ours.clone()].concat(), Found::Buffer(212_992)),
            ("another", other.clone(), Found::NotYet),
            ("the end", [other, done].concat(), Found::End),
            ("cut off", ours[..40].to_vec(), Found::End),
            ("nothing", vec![], Found::NotYet),
            ("no attribute", message(SOCK_DIAG_BY_FAMILY, 42, &[]), Found::NotYet),
        ] {
            assert_eq!(find(&answer, 42), found, "{name}");
        }
    }
}
