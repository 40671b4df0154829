//! A packet sender: prepared Ethernet frames, many per system call, past the sending side's own network stack.

#![allow(unsafe_code, reason = "rustix has no address of AF_PACKET")]

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketType};

use super::common::gate::{PORT, SERVER4, World};
use super::traffic::{NAME, Traffic, message, name_at};

/// Sends frames into one end of the veth pair.
pub(crate) struct Sender {
    socket: OwnedFd,
    frame: Vec<u8>,
    name_at: usize,
}

impl Sender {
    pub(crate) fn new(world: &World) -> Self {
        let socket = world.clients.run(|| {
            // With protocol 0 nothing is received on it (packet(7)).
            let socket = rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
            let index = rustix::net::netdevice::name_to_index(&socket, "down0").unwrap();
            bind(&socket, index).unwrap();
            bypass_queue_discipline(&socket).unwrap();
            socket
        });
        let text = message();
        let frame = [ethernet(&server_mac(world)), ip_and_udp(text.len()), text.into_bytes()].concat();
        let name_at = frame.len() - message().len() + name_at();
        Self { socket, frame, name_at }
    }

    /// Sends `count` packets of the sources `0..sources` in turn, at `rate` packets per second, or as fast as they go.
    pub(crate) fn send(&self, traffic: Traffic, sources: usize, count: usize, rate: Option<f64>) -> Duration {
        self.send_while(|| true, count, rate, |number| traffic.source(number % sources)).1
    }

    /// Sends up to `count` packets of whom `source` says, for as long as `go_on` does. How many these were, and how long
    /// that took.
    pub(crate) fn send_while(
        &self,
        go_on: impl Fn() -> bool,
        count: usize,
        rate: Option<f64>,
        mut source: impl FnMut(usize) -> (Ipv4Addr, [u8; NAME]),
    ) -> (usize, Duration) {
        let most = if rate.is_some() { PACED_BATCH } else { BATCH };
        let mut frames = vec![self.frame.clone(); most];
        let (start, mut sent) = (Instant::now(), 0);
        while sent < count && go_on() {
            let batch = most.min(count - sent);
            for (slot, frame) in frames.iter_mut().take(batch).enumerate() {
                self.write(frame, source(sent + slot));
            }
            self.send_all(&frames[..batch]);
            sent += batch;
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(sent as f64 / rate);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        (sent, start.elapsed())
    }

    /// Sends one packet of a source.
    pub(crate) fn send_one(&self, traffic: Traffic, source: usize) {
        let mut frame = self.frame.clone();
        self.write(&mut frame, traffic.source(source));
        self.send_all(&[frame]);
    }

    /// A frame of a source with any payload.
    pub(crate) fn frame(&self, source: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let mut frame = [&self.frame[..ETHERNET], &ip_and_udp(payload.len()), payload].concat();
        address(&mut frame, source);
        frame
    }

    /// Sends frames of this socket as they are.
    pub(crate) fn send_frames(&self, frames: &[Vec<u8>]) {
        self.send_all(frames);
    }

    fn send_all(&self, frames: &[Vec<u8>]) {
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut controls: Vec<_> = slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut headers: Vec<_> =
            slices.iter().zip(&mut controls).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
        let mut sent = 0;
        while sent < headers.len() {
            match rustix::net::sendmmsg(&self.socket, &mut headers[sent..], SendFlags::empty()) {
                Ok(more) => sent += more,
                // The other core is to free buffers first.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                Err(error) => panic!("send: {error}"),
            }
        }
    }

    /// Makes a frame a source's: its address, the checksum, and the display name.
    fn write(&self, frame: &mut [u8], (source, name): (Ipv4Addr, [u8; NAME])) {
        address(frame, source);
        frame[self.name_at..self.name_at + NAME].copy_from_slice(&name);
    }
}

/// Writes a frame's source and checksum.
fn address(frame: &mut [u8], source: Ipv4Addr) {
    frame[ETHERNET + 12..ETHERNET + 16].copy_from_slice(&source.octets());
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = checksum(&frame[ETHERNET..ETHERNET + 20]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
}

/// Binds a packet socket to an interface, so that frames without an address leave through it.
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: a C structure of numbers, for which all bits zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the address lives longer than the call, and is given with its size.
    let status = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Frames go to the driver at once (packet(7), `PACKET_QDISC_BYPASS`): what is measured is the keeper, and not the
/// sender.
fn bypass_queue_discipline(socket: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is an int that lives longer than the call, given with its size.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The hardware address of the server's end of the pair.
fn server_mac(world: &World) -> Vec<u8> {
    let args = ["-n", world.server.name(), "-o", "link", "show", "up0"];
    let output = Command::new("ip").args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mac = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn ethernet(to: &[u8]) -> Vec<u8> {
    [to, &[2, 0, 0, 0, 0, 1], &[8, 0]].concat()
}

fn ip_and_udp(payload: usize) -> Vec<u8> {
    let server: Ipv4Addr = SERVER4.parse().unwrap();
    let length = u16::try_from(28 + payload).unwrap().to_be_bytes();
    let datagram = u16::try_from(8 + payload).unwrap().to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0];
    // UDP may go without a checksum (RFC 768).
    let udp = [[0x13, 0xc5], PORT.to_be_bytes(), datagram, [0, 0]].concat();
    [&header[..], &server.octets(), &udp].concat()
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

const ETHERNET: usize = 14;

/// Frames per system call at full speed.
const BATCH: usize = 64;

/// Frames per system call at a fixed rate, between which the sender sleeps: a small burst.
const PACED_BATCH: usize = 16;
