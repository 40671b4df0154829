//! Facts of this machine, without any judgement.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

use crate::doctor::{self, facts::Listener};
use crate::firewall::{Family, Firewall, Listing, Routes};
use crate::own_addresses;
use crate::processes;
use crate::rules_watch::managers;

/// The facts that settings follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FoundMachine {
    /// Sockets for SIP.
    pub sip: Vec<SipSocket>,
    /// Networks that interfaces of this machine are in.
    pub networks: Vec<OwnNetwork>,
    /// The kind of container that this process is in, as in `docker`; `None` on a machine of its own.
    pub container: Option<String>,
    /// PBXs in containers of this machine.
    pub contained: Vec<ContainedPbx>,
    /// Chain DOCKER-USER is there.
    pub docker_user: bool,
    /// Programs that manage firewall rules, too.
    pub managers: BTreeSet<Manager>,
    /// systemd runs, and whether it has a unit for the gate.
    pub systemd: bool,
    /// The unit is there.
    pub unit: bool,
}

/// A socket that takes SIP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SipSocket {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// Its port.
    pub port: u16,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The process is a PBX or an SBC by its name.
    pub pbx: bool,
    /// SIP is inside TLS there.
    pub tls: bool,
}

/// A network of this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OwnNetwork {
    /// The network.
    #[serde(serialize_with = "as_text")]
    pub net: IpNet,
    /// The interface.
    pub interface: String,
}

fn as_text<S: serde::Serializer>(net: &IpNet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(net)
}

/// A PBX in another network namespace, which this machine forwards packets to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainedPbx {
    /// The process.
    pub process: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A program that manages firewall rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// ufw, enabled.
    Ufw,
    /// firewalld, running.
    Firewalld,
    /// fail2ban, running.
    Fail2ban,
    /// nftables.service, enabled.
    NftablesService,
    /// netfilter-persistent, enabled.
    NetfilterPersistent,
    /// Docker, running.
    Docker,
    /// FreePBX's firewall: its chains are there.
    FreepbxFirewall,
    /// FreePBX without its firewall.
    Freepbx,
    /// CSF.
    Csf,
    /// Shorewall.
    Shorewall,
    /// CrowdSec's bouncer.
    Crowdsec,
}

names! {
    /// For people.
    pub Manager {
        Ufw = "ufw",
        Firewalld = "firewalld",
        Fail2ban = "fail2ban",
        NftablesService = "nftables.service",
        NetfilterPersistent = "netfilter-persistent",
        Docker = "Docker",
        FreepbxFirewall = "FreePBX's firewall",
        Freepbx = "FreePBX",
        Csf = "CSF",
        Shorewall = "Shorewall",
        Crowdsec = "CrowdSec's bouncer",
    }
}

impl FoundMachine {
    /// Looks at this machine, or rather at the calling thread's network namespace. It changes nothing.
    pub fn look() -> Self {
        let listings: Vec<_> =
            Family::ALL.into_iter().filter_map(|family| Firewall::default().listing(family).ok()).collect();
        let tables: Vec<_> = listings.iter().map(|text| Listing::parse(text)).collect();
        let root = Path::new("/");
        let running = running();
        let mut found = managers_of(root, &running);
        found.extend(tables.iter().flat_map(managers::known).filter_map(manager_by_name));
        if found.contains(&Manager::FreepbxFirewall) {
            found.remove(&Manager::Freepbx);
        }
        let routes = Routes::look();
        let systemd = root.join("run/systemd/system").is_dir();
        Self {
            sip: sip_sockets(&doctor::listeners()),
            networks: own_networks(&routes),
            container: container(root),
            contained: contained(&routes),
            docker_user: tables.iter().any(|tables| tables.has_chain(|name| name == "DOCKER-USER")),
            managers: found,
            systemd,
            unit: systemd && doctor::has_unit(),
        }
    }
}

fn sip_sockets(listeners: &[Listener]) -> Vec<SipSocket> {
    let mut found: Vec<_> = listeners
        .iter()
        .filter(|listener| doctor::may_be_sip(listener))
        .map(|listener| SipSocket {
            transport: listener.transport.name(),
            port: listener.port,
            process: listener.process.clone(),
            pbx: listener.process.as_deref().is_some_and(doctor::is_pbx),
            tls: doctor::is_tls(listener),
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Networks of routes without a next hop. Bridges of containers and machines are left out: nobody's phones are there.
fn own_networks(routes: &Routes) -> Vec<OwnNetwork> {
    let mut found: Vec<_> = routes
        .attached()
        .filter(|(_, interface)| !INNER.iter().any(|start| interface.starts_with(start)))
        .map(|(net, interface)| OwnNetwork { net, interface: interface.to_owned() })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The kind of container that process 1 is in (systemd's CONTAINER_INTERFACE, and the files that runtimes leave).
fn container(root: &Path) -> Option<String> {
    if root.join(".dockerenv").exists() {
        return Some("docker".to_owned());
    }
    if root.join("run/.containerenv").exists() {
        return Some("podman".to_owned());
    }
    let kind = fs::read_to_string(root.join("run/systemd/container")).ok();
    kind.map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty())
}

/// PBX processes of other network namespaces whose addresses a route of this one leads to.
fn contained(routes: &Routes) -> Vec<ContainedPbx> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = namespace("thread-self");
    let ours = own_addresses::of_role(own_addresses::Role::Own);
    let mut found: Vec<ContainedPbx> = Vec::new();
    for pid in processes::all() {
        let Some(process) = processes::name(pid).filter(|name| doctor::is_pbx(name)) else { continue };
        let theirs = namespace(&pid.to_string());
        if theirs.is_none() || theirs == own {
            continue;
        }
        let mut addresses = own_addresses::of_process(pid);
        // Another network of the same addresses is none that packets are forwarded to.
        addresses.retain(|address| {
            !ours.contains(address) && !routes.interfaces(&IpNet::from(*address)).is_empty()
        });
        if !addresses.is_empty() {
            found.push(ContainedPbx { process, addresses });
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Names of all processes that run.
fn running() -> BTreeSet<String> {
    processes::all().filter_map(processes::name).collect()
}

/// Managers that files below `root` or running processes show.
fn managers_of(root: &Path, running: &BTreeSet<String>) -> BTreeSet<Manager> {
    let has = |path: &str| root.join(path).symlink_metadata().is_ok();
    let enabled = |unit: &str| {
        ["sysinit.target.wants", "multi-user.target.wants", "basic.target.wants"]
            .iter()
            .any(|target| has(&format!("etc/systemd/system/{target}/{unit}")))
    };
    let ufw = || {
        let text = fs::read_to_string(root.join("etc/ufw/ufw.conf")).unwrap_or_default();
        text.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
    };
    let runs = |name: &str| running.contains(name);
    let all = [
        (Manager::Ufw, ufw()),
        (Manager::Firewalld, runs("firewalld")),
        (Manager::Fail2ban, runs("fail2ban-server")),
        (Manager::NftablesService, enabled("nftables.service")),
        (
            Manager::NetfilterPersistent,
            enabled("netfilter-persistent.service") || enabled("iptables.service"),
        ),
        (Manager::Docker, runs("dockerd")),
        (Manager::FreepbxFirewall, runs("voipfirewalld")),
        (Manager::Freepbx, has("etc/freepbx.conf")),
    ];
    all.into_iter().filter_map(|(manager, there)| there.then_some(manager)).collect()
}

/// A manager that is known by its chains.
fn manager_by_name(name: &str) -> Option<Manager> {
    Some(match name {
        "FreePBX's firewall" => Manager::FreepbxFirewall,
        "fail2ban" => Manager::Fail2ban,
        "Docker" => Manager::Docker,
        "ufw" => Manager::Ufw,
        "firewalld" => Manager::Firewalld,
        "shorewall" => Manager::Shorewall,
        "csf" => Manager::Csf,
        "crowdsec's bouncer" => Manager::Crowdsec,
        _ => return None,
    })
}

/// Beginnings of names of interfaces that containers and virtual machines are behind, or none at all.
const INNER: [&str; 10] =
    ["docker", "br-", "veth", "virbr", "lxc", "lxdbr", "cni", "podman", "flannel", "lo"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Transport;

    #[test]
    fn sockets_for_sip() {
        let listener = |transport, port, process: &str| Listener {
            transport,
            port,
            process: Some(process.to_owned()),
            v6: false,
        };
        let found = sip_sockets(&[
            listener(Transport::Udp, 5060, "asterisk"),
            listener(Transport::Udp, 5060, "asterisk"),
            listener(Transport::Tcp, 5061, "asterisk"),
            listener(Transport::Udp, 4569, "asterisk"),
            listener(Transport::Udp, 5070, "python3"),
            listener(Transport::Tcp, 22, "sshd"),
        ]);
        let shown: Vec<_> = found.iter().map(|sip| (sip.transport, sip.port, sip.pbx, sip.tls)).collect();
        assert_eq!(
            shown,
            [("tcp", 5061, true, true), ("udp", 5060, true, false), ("udp", 5070, false, false)]
        );
    }

    #[test]
    fn managers_and_containers_are_known_by_their_files() {
        let root = tempfile::tempdir().unwrap();
        let none = BTreeSet::new();
        assert_eq!((managers_of(root.path(), &none), container(root.path())), (BTreeSet::new(), None));
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/ufw/ufw.conf", "# x\nENABLED=yes\n");
        write("etc/systemd/system/sysinit.target.wants/nftables.service", "");
        write("etc/systemd/system/multi-user.target.wants/netfilter-persistent.service", "");
        write("etc/freepbx.conf", "");
        write("run/systemd/container", "lxc\n");
        let running = BTreeSet::from(["fail2ban-server".to_owned(), "dockerd".to_owned()]);
        assert_eq!(
            managers_of(root.path(), &running),
            BTreeSet::from([
                Manager::Ufw,
                Manager::NftablesService,
                Manager::NetfilterPersistent,
                Manager::Freepbx,
                Manager::Fail2ban,
                Manager::Docker
            ])
        );
        assert_eq!(container(root.path()).as_deref(), Some("lxc"));
        write("etc/ufw/ufw.conf", "ENABLED=no\n");
        assert!(!managers_of(root.path(), &none).contains(&Manager::Ufw));
    }

    #[test]
    fn own_networks_are_those_of_interfaces_to_the_outside() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  eth0\t0009000A\t010200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let expected = if cfg!(target_endian = "little") {
            vec!["10.0.2.0/24".parse::<IpNet>().unwrap()]
        } else {
            return;
        };
        let found: Vec<_> = own_networks(&Routes::parse(v4, "")).into_iter().map(|own| own.net).collect();
        assert_eq!(found, expected);
    }
}
