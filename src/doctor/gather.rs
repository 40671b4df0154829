//! Gathering the facts: /proc, iptables, nft. It changes nothing; what a kernel can do is tried with
//! `iptables-restore --test`.

use std::borrow::Cow;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::config::{Config, DEFAULT_PATH, whole_path};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{ControlRequest, Reply, Stats};
use crate::diag;
use crate::firewall::{
    Family, FamilyState, Firewall, FirewallError, Listing, Plan, Programs, Routes, Status,
};
use crate::harden::user_name;
use crate::own_addresses::{Role, of_role};
use crate::packet::Transport;
use crate::processes::{self, SocketOwners};
use crate::queue::kernel::{self, QueueRow};
use crate::resolve;

use super::facts::{Facts, Fed, Listener, Need, ProcessFacts, QueueFacts, ReversePath, Rights, Tables};
use super::nft::{self, Nft, Offload};
use super::unmatched;

/// Looks at this machine, or rather at the calling thread's network namespace.
pub(super) fn gather(config: &Config, plan: &Plan) -> Facts {
    let firewall = Firewall::default();
    // First the queues and then the rules; at the end the other way round, so that a packet that the rules count in between
    // is one that the queues have counted as well.
    let at_first = kernel::queues();
    let status = firewall.status(plan);
    let v6 = status.as_ref().is_ok_and(|status| {
        status
            .families
            .iter()
            .any(|family| family.family == Family::V6 && family.state != FamilyState::Skipped)
    });
    let families = Family::ALL.into_iter().filter(|family| *family == Family::V4 || v6);
    let sockets = SocketOwners::read();
    let (rows, later) = queue_rows();
    let gate = gate(config, &rows, &sockets);
    let told = gate.as_ref().and_then(|gate| gate.as_ref().ok()).map(|stats| stats.pid);
    let queues = queues(config, &rows, &later, &sockets, told);
    let apparmor = queues.iter().find_map(|queue| {
        let pid = queue.owner.as_ref()?.pid;
        Some(read(&format!("/proc/{pid}/attr/apparmor/current"))?.trim().to_owned())
    });
    let nft = output("nft", &["-j", "list", "ruleset"]);
    let (tables, flow_rules): (Vec<_>, Vec<_>) =
        families.filter_map(|family| tables(&firewall, family)).unzip();
    let mut offloads = nft.as_deref().map_or_else(Vec::new, nft::offloads);
    offloads.extend(flow_rules.into_iter().flatten());
    let no_iptables = match &status {
        Err(FirewallError::NotInstalled { program }) => Some(program.clone()),
        _ => None,
    };
    let refused = if no_iptables.is_some() { Vec::new() } else { refused(&firewall) };
    let fed = status.as_ref().ok().and_then(|status| {
        let again = firewall.status(plan).ok()?;
        Some(fed(plan, (status, &again), (&at_first, &kernel::queues())))
    });
    Facts {
        capabilities: capabilities(),
        queue_table: Path::new("/proc/thread-self/net/netfilter/nfnetlink_queue").exists(),
        no_iptables,
        unit: has_unit(),
        refused,
        status: Some(status.map_err(|error| error.to_string())),
        tables,
        nft: nft.as_deref().map_or(Nft::Unknown, Nft::parse),
        offloads,
        fed,
        gate,
        gate_process: told.and_then(process),
        taken_queues: rows.iter().map(|row| row.queue).collect(),
        queues,
        listeners: listeners(&sockets),
        others: unmatched::listeners(
            |line| listener(line, UDP_UNCONNECTED),
            |inode| name_of_owner(&sockets, inode),
        ),
        resolved: resolved(config),
        routes: Routes::look(),
        reverse_paths: reverse_paths(),
        own_addresses: of_role(Role::Own),
        gateways: of_role(Role::Gateway),
        conntrack_max: number("/proc/sys/net/netfilter/nf_conntrack_max"),
        rmem_max: number("/proc/sys/net/core/rmem_max"),
        selinux_enforcing: read("/sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1"),
        apparmor,
    }
}

/// Trusted names with the addresses that they have now, all asked for at once.
fn resolved(config: &Config) -> Vec<(String, Result<Vec<IpAddr>, String>)> {
    let asked: Vec<_> = config
        .trusted_names
        .iter()
        .map(|trusted| {
            let name = trusted.name.clone();
            thread::spawn(move || (resolve::addresses(&name), name))
        })
        .collect();
    asked.into_iter().filter_map(|asked| asked.join().ok()).map(|(now, name)| (name, now)).collect()
}

/// Whether systemd runs here (sd_booted(3)) and has a unit for the gate (systemd.unit(5)).
pub(super) fn has_unit() -> bool {
    let folders = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
    let unit = |folder| Path::new(folder).join("systemd/system/sipknock.service").exists();
    Path::new("/run/systemd/system").exists() && folders.into_iter().any(unit)
}

fn capabilities() -> u64 {
    let status = read("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// What does not work, and what was said to that. In IPv4, since matches come for both families or for none.
fn refused(firewall: &Firewall) -> Vec<(Need, String)> {
    let needs = [
        (Need::Nfqueue, "-j NFQUEUE --queue-num 0"),
        (Need::Multiport, "-p udp -m multiport --dports 5060,5061 -j ACCEPT"),
        (Need::Conntrack, "-p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT"),
        (Need::Set, "-m set --match-set sipknock-no-such-set src -j ACCEPT"),
        (
            Need::Hashlimit,
            "-m hashlimit --hashlimit-above 10/sec --hashlimit-mode srcip --hashlimit-name sipknock -j DROP",
        ),
    ];
    let try_out = |(need, rule): (Need, &str)| {
        let error = firewall.try_rule(Family::V4, rule).err()?.to_string();
        // That there is no such set is an answer that only a kernel with sets gives.
        let works = need == Need::Set && error.contains("doesn't exist");
        (!works).then_some((need, error))
    };
    needs.into_iter().filter_map(try_out).collect()
}

fn tables(firewall: &Firewall, family: Family) -> Option<(Tables, Vec<Offload>)> {
    let text = firewall.listing(family).ok()?;
    let ours = Listing::parse(&text);
    // The target of OpenWrt's firewall of before nftables.
    let flow_rules = text.lines().filter(|line| line.contains(" -j FLOWOFFLOAD"));
    let offloads =
        flow_rules.map(|line| Offload { rule: line.to_owned(), mend: nft::OPENWRT.to_owned() }).collect();
    let program = firewall.programs().of(family);
    let legacy = output(program, &["-V"]).is_some_and(|version| version.contains("legacy"));
    let stem = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    // Asking the legacy variant makes the kernel set its tables up; so only where it has some.
    let names = format!("/proc/thread-self/net/{}_names", stem.replace("tables", "_tables"));
    let used = legacy || read(&names).is_some_and(|names| !names.trim().is_empty());
    let other = format!("{stem}-{}", if legacy { "nft" } else { "legacy" });
    let programs = Programs { v4: other.clone(), v6: other.clone() };
    let listed = used.then(|| Firewall::new(programs).listing(family).ok()).flatten();
    let other = listed.map(|text| (other, Listing::parse(&text)));
    Some((Tables { family, ours, other }, offloads))
}

/// What happened between two looks: at rules that are the same, and at queues of the same gate.
fn fed(plan: &Plan, (before, after): (&Status, &Status), (first, last): (&[QueueRow], &[QueueRow])) -> Fed {
    let counted = |status: &Status| -> u64 {
        let rules = status.families.iter().flat_map(|family| &family.rules);
        rules.filter(|rule| rule.rule.contains("-j NFQUEUE ")).map(|rule| rule.packets).sum()
    };
    let taken = |status: &Status| -> u64 {
        status.families.iter().filter_map(|family| family.counted).map(|counted| counted.taken_before).sum()
    };
    let ours = |rows: &[QueueRow]| -> u64 {
        let ours = rows.iter().filter(|row| plan.queues.contains(&row.queue));
        ours.map(|row| row.sequence + row.queue_dropped).sum()
    };
    Fed {
        counted: counted(after).saturating_sub(counted(before)),
        queued: ours(last).saturating_sub(ours(first)),
        taken_before: taken(after).saturating_sub(taken(before)),
    }
}

/// The kernel's queues now and a moment later.
fn queue_rows() -> (Vec<QueueRow>, Vec<QueueRow>) {
    let before = kernel::queues();
    // Long enough for a gate that is alive to decide something.
    if before.iter().any(|row| row.waiting > 0) {
        thread::sleep(MOMENT);
    }
    (before, kernel::queues())
}

fn queues(
    config: &Config,
    before: &[QueueRow],
    after: &[QueueRow],
    sockets: &SocketOwners,
    gate: Option<u32>,
) -> Vec<QueueFacts> {
    let find = |rows: &[QueueRow], number| rows.iter().find(|row| row.queue == number).copied();
    let facts = |number| {
        let row = find(before, number);
        let port_id = row.map(|row| row.port_id);
        let holders = row.map_or_else(Vec::new, |row| holders(sockets, row));
        QueueFacts {
            number,
            row,
            later: find(after, number),
            owner: owner(holders, gate),
            receive_buffer: port_id.and_then(diag::receive_buffer),
        }
    };
    config.queue.numbers.clone().map(facts).collect()
}

/// Of the processes that have a queue's socket open the one that reads it: the gate, as it says itself or by its name. A
/// service manager only keeps a copy, and comes last.
fn owner(holders: Vec<ProcessFacts>, gate: Option<u32>) -> Option<ProcessFacts> {
    let rank = |process: &ProcessFacts| {
        (Some(process.pid) != gate, !process.is_gate(), process.keeps_descriptors(), process.pid)
    };
    holders.into_iter().min_by_key(rank)
}

/// What the gate says of itself, or why it does not. Nobody is asked if nobody is there who could answer: a process that a
/// signal has stopped would not.
fn gate(config: &Config, rows: &[QueueRow], sockets: &SocketOwners) -> Option<Result<Stats, String>> {
    let path = config.control.socket.as_deref()?;
    let ours = rows.iter().filter(|row| config.queue.numbers.contains(&row.queue));
    let holders: Vec<_> = ours.flat_map(|row| holders(sockets, *row)).collect();
    let stopped = holders.iter().any(|process| process.is_gate() && process.stopped);
    (!stopped).then(|| ask(path)).filter(|answer| {
        // A socket that is left over, beside no queue of ours, is no gate that does not answer.
        answer.is_ok() || rows.iter().any(|row| config.queue.numbers.contains(&row.queue))
    })
}

/// Asks aside, since whoever hangs may hold up a connection as well as an answer.
fn ask(path: &Path) -> Result<Stats, String> {
    let (sender, receiver) = mpsc::channel();
    let aside = path.to_owned();
    let asked = thread::Builder::new().spawn(move || {
        let mut stats = None;
        let outcome = Client::connect(&aside).and_then(|mut client| {
            client.ask(&ControlRequest::Stats {}, |answer| {
                if let Reply::Stats(told) = answer {
                    stats = Some(*told);
                }
                Ok(())
            })
        });
        let stats = match outcome {
            Ok(_) => stats.ok_or_else(|| format!("{} tells nothing", aside.display())),
            Err(ClientError::Unreachable { path, error }) => Err(format!("{}: {error}", path.display())),
            Err(error) => Err(error.to_string()),
        };
        // Nobody waits any more where it took too long.
        let _ = sender.send(stats);
    });
    asked.map_err(|error| format!("no thread can be started: {error}"))?;
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(format!("nothing came from {} within {} s", path.display(), PATIENCE.as_secs()))
    })
}

/// The name of the process that a socket belongs to: not that of a service manager that has opened it for another one.
fn name_of_owner(sockets: &SocketOwners, inode: u64) -> Option<String> {
    let own = |pid: &&u32| **pid != 1;
    let pids = sockets.of(inode);
    processes::name(*pids.iter().find(own).or(pids.first())?)
}

fn holders(sockets: &SocketOwners, row: QueueRow) -> Vec<ProcessFacts> {
    let Some(inode) = kernel::socket_inode(row.port_id) else { return Vec::new() };
    sockets.of(inode).iter().filter_map(|pid| process(*pid)).collect()
}

fn process(pid: u32) -> Option<ProcessFacts> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let started = fs::metadata(format!("/proc/{pid}")).and_then(|folder| folder.modified()).ok();
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let theirs = namespace(&pid.to_string());
    let rights = read(&format!("/proc/{pid}/status")).and_then(|status| rights(&status));
    Some(ProcessFacts {
        pid,
        name: processes::name(pid)?,
        stopped: processes::stat(pid).is_some_and(|stat| stat.starts_with(['T', 't'])),
        monitors: words.iter().any(|word| word == "--monitor"),
        config: config_of(pid, &words),
        unit: read(&format!("/proc/{pid}/cgroup")).and_then(|cgroup| unit(&cgroup)),
        elsewhere: theirs.is_some() && theirs != namespace("thread-self"),
        user: rights.and_then(|rights| user_name(rights.user)),
        rights,
        seconds: started.and_then(|time| time.elapsed().ok()).map_or(0, |span| span.as_secs()),
    })
}

/// The configuration file that a sipknock was told of.
fn config_of(pid: u32, words: &[Cow<'_, str>]) -> Option<PathBuf> {
    let named = words.iter().enumerate().find_map(|(place, word)| match word.strip_prefix("--config") {
        Some("") => words.get(place + 1).map(|next| next.as_ref()),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_else(|_| "/".into());
    Some(whole_path(&folder.join(named.unwrap_or(DEFAULT_PATH))))
}

/// The unit in a line such as `0::/system.slice/sipknock.service` (cgroups(7)).
fn unit(cgroup: &str) -> Option<String> {
    let last =
        |line: &str| line.rsplit('/').next().filter(|last| last.ends_with(".service")).map(str::to_owned);
    cgroup.lines().find_map(last)
}

fn rights(status: &str) -> Option<Rights> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Some(Rights {
        user: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
        capabilities: u64::from_str_radix(field("CapPrm")?.trim(), 16).ok()?,
        no_new_privileges: field("NoNewPrivs").is_some_and(|value| value.trim() == "1"),
        // SECCOMP_MODE_FILTER (include/uapi/linux/seccomp.h).
        filtered: field("Seccomp").is_some_and(|value| value.trim() == "2"),
    })
}

/// By interface, loopback left out.
fn reverse_paths() -> Vec<ReversePath> {
    const FOLDER: &str = "/proc/sys/net/ipv4/conf";
    let value = |name: &str| number(&format!("{FOLDER}/{name}/rp_filter"));
    let Some(of_all) = value("all") else { return Vec::new() };
    let names = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let interfaces = names.filter(|name| !["all", "default", "lo"].contains(&name.as_str()));
    let path = |interface: String| Some(ReversePath { own: value(&interface)?, of_all, interface });
    let mut paths: Vec<_> = interfaces.filter_map(path).collect();
    paths.sort_unstable_by(|one, other| one.interface.cmp(&other.interface));
    paths
}

/// [`listeners`], for who has not looked at sockets yet.
pub(super) fn all_listeners() -> Vec<Listener> {
    listeners(&SocketOwners::read())
}

/// Sockets that others can send to: listening, or without a peer, and not on loopback.
fn listeners(sockets: &SocketOwners) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for (file, transport, state) in [
        ("udp", Transport::Udp, UDP_UNCONNECTED),
        ("udp6", Transport::Udp, UDP_UNCONNECTED),
        ("tcp", Transport::Tcp, TCP_LISTEN),
        ("tcp6", Transport::Tcp, TCP_LISTEN),
    ] {
        let table = read(&format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        for (port, inode) in table.lines().filter_map(|line| listener(line, state)) {
            let found =
                Listener { transport, port, process: name_of_owner(sockets, inode), v6: file.ends_with('6') };
            if !listeners.contains(&found) {
                listeners.push(found);
            }
        }
    }
    listeners
}

/// Port and inode of a line of /proc/net/udp and its like (proc_pid_net(5)).
fn listener(line: &str, wanted: &str) -> Option<(u16, u64)> {
    let columns: Vec<_> = line.split_ascii_whitespace().collect();
    let (address, port) = columns.get(1)?.split_once(':')?;
    if columns.get(3)? != &wanted || LOOPBACK.iter().any(|loopback| is_loopback(address, loopback)) {
        return None;
    }
    Some((u16::from_str_radix(port, 16).ok()?, columns.get(9)?.parse().ok()?))
}

/// Addresses are written as the machine has their 32-bit words in memory.
fn is_loopback(address: &str, loopback: &str) -> bool {
    address.len() == loopback.len() && address.ends_with(loopback.trim_start_matches('x'))
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    read(path)?.trim().parse().ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// TCP_CLOSE and TCP_LISTEN (include/net/tcp_states.h); a UDP socket without a peer has the former.
const UDP_UNCONNECTED: &str = "07";
const TCP_LISTEN: &str = "0A";

/// 127.0.0.0/8 and ::1; an x stands for any digit.
#[cfg(target_endian = "little")]
const LOOPBACK: [&str; 2] = ["xxxxxx7F", "00000000000000000000000001000000"];
#[cfg(target_endian = "big")]
const LOOPBACK: [&str; 2] = ["7F000001", "00000000000000000000000000000001"];

const MOMENT: Duration = Duration::from_millis(500);

/// Much longer than a gate takes to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_the_owner_of_its_queue_whoever_else_has_the_socket() {
        let process =
            |pid, name: &str| ProcessFacts { pid, name: name.to_owned(), ..ProcessFacts::default() };
        let systemd = || process(1, "systemd");
        let gate = || process(700, "sipknock");
        for (name, holders, told, expected) in [
            ("the descriptor store first", vec![systemd(), gate()], Some(700), Some(700)),
            ("and a gate that does not answer", vec![systemd(), gate()], None, Some(700)),
            ("a user's service manager", vec![process(90, "systemd"), gate()], None, Some(700)),
            ("another keeper of descriptors", vec![process(60, "s6-fdholderd"), gate()], None, Some(700)),
            (
                "a gate under another name",
                vec![systemd(), process(20, "x"), process(30, "gate")],
                Some(30),
                Some(30),
            ),
            ("two gates while one takes over", vec![gate(), process(800, "sipknock")], Some(800), Some(800)),
            ("the store alone", vec![systemd()], None, Some(1)),
            ("another program beside the store", vec![systemd(), process(9, "suricata")], None, Some(9)),
            ("the gate's helper is no gate", vec![process(5, "sipknock-rules"), gate()], None, Some(700)),
            ("nobody that can be seen", vec![], Some(700), None),
        ] {
            assert_eq!(owner(holders, told).map(|owner| owner.pid), expected, "{name}");
        }
    }

    #[test]
    fn the_file_and_unit_of_a_process() {
        let of = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| Cow::Borrowed(*word)).collect();
            config_of(std::process::id(), &words).unwrap()
        };
        assert_eq!(of(&["sipknock", "--config", "/no/such/a.toml", "run"]), Path::new("/no/such/a.toml"));
        assert_eq!(of(&["sipknock", "run", "--config=/no/such/b.toml"]), Path::new("/no/such/b.toml"));
        assert_eq!(of(&["sipknock", "run"]), whole_path(Path::new(DEFAULT_PATH)));
        assert_eq!(unit("0::/system.slice/sipknock.service\n").as_deref(), Some("sipknock.service"));
        assert_eq!(unit("0::/user.slice/user-0.slice/session-1.scope\n"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets() {
        let line = |address: &str, state: &str| {
            format!(
                " 1234: {address}:13C4 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4711 2 0 0"
            )
        };
        for (address, state, found) in [
            ("00000000", "07", Some((5060, 4711))),
            ("010200C0", "07", Some((5060, 4711))),
            ("0100007F", "07", None),
            ("00000000", "01", None),
            ("00000000000000000000000000000000", "07", Some((5060, 4711))),
            ("00000000000000000000000001000000", "07", None),
        ] {
            assert_eq!(listener(&line(address, state), "07"), found, "{address} {state}");
        }
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", "07"), None);
    }
}
