//! Addresses of a name, as this machine resolves it.
//!
//! `getent` is asked (getent(1)): the program is static, and a static program can't load what nsswitch.conf(5) names.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The addresses of a host, in order, each once.
///
/// # Errors
/// If it has none, if nothing answers within ten seconds, or if there is no getent.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let child = Command::new("getent")
        .args(["ahosts", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name} can't be resolved, getent: {error}: write its addresses"))?;
    let text = answer(child).ok_or_else(|| {
        format!("{name} can't be resolved: no answer within {} s: write its addresses", PATIENCE.as_secs())
    })?;
    let found = parse(&text);
    if found.is_empty() {
        Err(format!("{name} can't be resolved: it has no address: write addresses in its place"))
    } else {
        Ok(found)
    }
}

/// The output of a child, if it ends in time.
fn answer(mut child: Child) -> Option<String> {
    let mut output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let _ = output.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    let text = receiver.recv_timeout(PATIENCE).ok();
    if text.is_none() {
        let _ = child.kill();
    }
    let _ = child.wait();
    let _ = reader.join();
    text
}

/// Addresses in the first column.
fn parse(text: &str) -> Vec<IpAddr> {
    let first = text.lines().filter_map(|line| line.split_ascii_whitespace().next());
    let mut found: Vec<IpAddr> = first.filter_map(|address| address.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Longer than a resolver's two tries with one server (resolv.conf(5): 5 s each).
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_listed_once() {
        let text = "198.51.100.7    STREAM sip.example\n198.51.100.7    DGRAM\n2001:db8::7 STREAM\nfe80::1%eth0 RAW\n";
        assert_eq!(parse(text), ["198.51.100.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert_eq!(parse(""), [] as [IpAddr; 0]);
    }
}
