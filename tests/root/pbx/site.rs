//! The network: a PBX on one side, and phones, trunks and strangers in a network of their own on the other.

use std::path::Path;

use tempfile::TempDir;

use super::hosts::{Family, Host};

/// A PBX and the world, joined by a wire, or by a router between them. The namespaces go with it.
pub(crate) struct Site {
    pub(crate) pbx: Host,
    /// The machine between the PBX and the world, if there is one.
    pub(crate) router: Option<Host>,
    /// The network of everybody else: a router with a bridge.
    pub(crate) street: Host,
    folder: TempDir,
}

impl Site {
    /// The gate stands on the PBX's machine.
    pub(crate) fn new() -> Self {
        let (pbx, street) = (Self::pbx(), Self::street());
        street.wire(("pbx", &lan(GATEWAY4, GATEWAY6)), &pbx, ("eth0", &lan(PBX4, PBX6)));
        pbx.ip(&format!("route add default via {GATEWAY4}\nroute add default via {GATEWAY6}\n"));
        Self { pbx, router: None, street, folder: tempfile::tempdir().unwrap() }
    }

    /// The gate stands on a router between the PBX and the world.
    pub(crate) fn with_router() -> Self {
        let (pbx, street) = (Self::pbx(), Self::street());
        let router = Host::new("router", ROUTER4, ROUTER6);
        router.forward();
        router.wire(("lan", &lan(GATEWAY4, GATEWAY6)), &pbx, ("eth0", &lan(PBX4, PBX6)));
        pbx.ip(&format!("route add default via {GATEWAY4}\nroute add default via {GATEWAY6}\n"));
        street.wire(
            ("router", &lan("203.0.113.1", "2001:db8:2::1")),
            &router,
            ("wan", &lan(ROUTER4, ROUTER6)),
        );
        router.ip("route add default via 203.0.113.1\nroute add default via 2001:db8:2::1\n");
        street
            .ip(&format!("route add 192.0.2.0/24 via {ROUTER4}\nroute add 2001:db8:1::/64 via {ROUTER6}\n"));
        Self { pbx, router: Some(router), street, folder: tempfile::tempdir().unwrap() }
    }

    fn pbx() -> Host {
        Host::new("pbx", PBX4, PBX6)
    }

    fn street() -> Host {
        let street = Host::new("street", "198.51.100.254", "2001:db8:7::fe");
        street.forward();
        // Without an address of its own a bridge takes another one with each host that comes.
        street.ip("link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0\naddr add 198.51.100.254/24 dev br0\nlink set br0 up\n");
        street
    }

    /// A host of the world: 198.51.100.NUMBER and 2001:db8:NUMBER::1.
    pub(crate) fn host(&self, number: u8) -> Host {
        let host = Host::new(
            &format!("h{number}"),
            &format!("198.51.100.{number}"),
            &format!("2001:db8:{number}::1"),
        );
        let port = format!("h{number}");
        self.street.wire((&port, &[]), &host, ("eth0", &lan(&host.v4, &host.v6)));
        // IPv4 hosts are of one network, and IPv6 hosts of one each: doors there are by prefix.
        self.street
            .ip(&format!("link set {port} master br0\naddr add 2001:db8:{number}::fe/64 dev br0 nodad\n"));
        host.ip(&format!(
            "route add default via 198.51.100.254\nroute add default via 2001:db8:{number}::fe\n"
        ));
        host
    }

    /// Counts what of a host's gets past the gate: datagrams, and TCP segments that push data. Table security stands
    /// behind table filter in every hook.
    pub(crate) fn watch(&self, host: &Host) {
        for (family, protocol) in Family::BOTH.iter().flat_map(|family| WATCHED.map(|it| (*family, it))) {
            let address = host.address(family);
            for chain in ["INPUT", "FORWARD"] {
                self.gate().iptables(family, &format!("-t security -A {chain} -s {address} -p {protocol}"));
            }
        }
    }

    /// The packets of a watched host that have got past the gate, towards the PBX's ports.
    pub(crate) fn passed(&self, host: &Host) -> u64 {
        let count = |family, chain| {
            let from = format!("-s {}/", host.address(family));
            self.gate().counted(family, "security", chain, &from)
        };
        Family::BOTH.iter().map(|family| count(*family, "INPUT") + count(*family, "FORWARD")).sum()
    }

    /// The machine of the gate.
    pub(crate) fn gate(&self) -> &Host {
        self.router.as_ref().unwrap_or(&self.pbx)
    }

    /// A folder for whatever a test writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

const WATCHED: [&str; 2] = ["udp --dport 5060", "tcp --dport 5060 --tcp-flags PSH PSH"];

/// Addresses with the lengths of their prefixes.
fn lan(v4: &str, v6: &str) -> Vec<String> {
    vec![format!("{v4}/24"), format!("{v6}/64")]
}

/// The address that SIP URIs hold.
pub(crate) fn uri_host(family: Family) -> String {
    if family == Family::V4 { PBX4.to_owned() } else { format!("[{PBX6}]") }
}

pub(crate) const PBX4: &str = "192.0.2.1";
pub(crate) const PBX6: &str = "2001:db8:1::1";
/// The PBX's next hop.
const GATEWAY4: &str = "192.0.2.254";
const GATEWAY6: &str = "2001:db8:1::fe";
/// The router's address on the side of the world.
pub(crate) const ROUTER4: &str = "203.0.113.2";
pub(crate) const ROUTER6: &str = "2001:db8:2::2";
