//! Packets of a probe: sent from one address of the namespace to another, and looked for where a PBX would be.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};

use crate::clock::Clock;
use crate::config::Config;
use crate::doctor::finding::Finding;
use crate::packet::Transport;
use crate::queue::kernel;

/// Where a PBX would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// What is hoped for, which is how long to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Wanted,
    Unwanted,
}

/// Sends a message, and tells whether it arrived.
///
/// # Errors
/// Where it could not be sent.
pub(super) fn send(
    transport: Transport,
    from: IpAddr,
    target: Target,
    message: &[u8],
    arrival: Arrival,
    config: &Config,
) -> io::Result<bool> {
    let to = SocketAddr::new(target.address, target.port);
    let before = queued(config);
    match transport {
        Transport::Udp => {
            let (receiver, sender) = (UdpSocket::bind(to)?, UdpSocket::bind(SocketAddr::new(from, 0))?);
            sender.send_to(message, to)?;
            receiver.set_read_timeout(Some(wait(arrival, before, config)))?;
            arrived(receiver.recv(&mut [0; 2048]))
        }
        Transport::Tcp => {
            let receiver = TcpListener::bind(to)?;
            let mut sender = connect(from, to)?;
            let (mut connection, _) = receiver.accept()?;
            sender.write_all(message)?;
            // The segments of the handshake went through the queue as well.
            connection.set_read_timeout(Some(wait(arrival, before + 2, config)))?;
            arrived(connection.read(&mut [0; 2048]))
        }
    }
}

/// A connection from an address of choice.
fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    // For connect(2) as well (socket(7)).
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}

/// How long to look for what arrives. What is not wanted has been decided first, so that a short look is enough.
fn wait(arrival: Arrival, before: u64, config: &Config) -> Duration {
    if arrival == Arrival::Wanted {
        return PATIENCE;
    }
    comes_true(|| queued(config) > before && waiting(config) == 0);
    LOOK
}

fn arrived(read: io::Result<usize>) -> io::Result<bool> {
    match read {
        Ok(length) => Ok(length > 0),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn queued(config: &Config) -> u64 {
    config.queue.numbers.clone().filter_map(kernel::queue).map(|row| row.sequence).sum()
}

fn waiting(config: &Config) -> u64 {
    config.queue.numbers.clone().filter_map(kernel::queue).map(|row| row.waiting).sum()
}

/// Whether something comes true in time.
pub(super) fn comes_true(mut ask: impl FnMut() -> bool) -> bool {
    let clock = Clock::start();
    let deadline = clock.now().after(PATIENCE);
    loop {
        if ask() {
            return true;
        }
        if clock.now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// Makes an address this namespace's own.
pub(super) fn own(address: IpAddr) -> Result<(), Finding> {
    match address {
        IpAddr::V4(_) => ip(&["addr", "replace", &format!("{address}/32"), "dev", "lo"]),
        IpAddr::V6(_) => ip(&["-6", "addr", "replace", &format!("{address}/128"), "dev", "lo"]),
    }
}

/// Runs ip(8).
pub(super) fn ip(args: &[&str]) -> Result<(), Finding> {
    let failed = |why: &dyn std::fmt::Display| {
        let text = format!("the probe can't set its network up: ip {}: {why}", args.join(" "));
        Finding::fault("probe-impossible", text).mend("apt install iproute2")
    };
    let output =
        Command::new("ip").args(args).stdin(Stdio::null()).output().map_err(|error| failed(&error))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr).trim().escape_debug())),
    }
}

/// For what the gate has decided already and the kernel has at hand.
const LOOK: Duration = Duration::from_millis(200);

/// How long a step may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
