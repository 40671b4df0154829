//! Which sources of dropped packets are nobody's forgery.
//!
//! A datagram's source proves nothing, nor does that of a TCP segment. A connection that the kernel calls established does:
//! its peer has answered a number that went to its address and nowhere else (RFC 9293, 3.5). In FORWARD and its like the
//! PBX's connections are not this machine's, so nothing is proved there.

use std::collections::HashSet;
use std::io;

use crate::diag;
use crate::drops::DropLine;
use crate::inspect::Inspector;
use crate::net::Connection;
use crate::time::Time;

/// Asks the kernel, and tells once if it does not answer.
#[derive(Debug, Default)]
pub(super) struct Genuine {
    fails: bool,
}

/// The connections that there are, among those that dropped segments name.
#[derive(Debug, Default)]
pub(super) struct Proven(HashSet<Connection, ahash::RandomState>);

impl Genuine {
    /// Looks once for all lines of a summary, and not at all if no segment was dropped. `tell` gets to know if it fails, if
    /// it did not before.
    pub(super) fn look(&mut self, lines: &[DropLine], tell: impl FnOnce(String)) -> Proven {
        match look(lines, |ports, each| diag::established(ports, each)) {
            Ok(proven) => proven,
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    tell(format!(
                        "the kernel does not list its connections ({error}), so no line of drops has 'established', \
                         and nothing is banned by these lines: modprobe tcp_diag"
                    ));
                }
                Proven::default()
            }
        }
    }
}

impl Proven {
    /// Whether the source of a line is proven, and is nobody whom the gate knows: packets of somebody whose door is open may
    /// be forged although there is a connection, as those of a trunk that speaks TCP.
    pub(super) fn holds(&self, gate: &Inspector, line: &DropLine, now: Time) -> bool {
        let known = line.source.is_none_or(|source| gate.has_door(source, now));
        !known && line.connections.iter().any(|connection| self.0.contains(connection))
    }
}

fn look(
    lines: &[DropLine],
    ask: impl FnOnce(&std::ops::RangeInclusive<u16>, &mut dyn FnMut(Connection)) -> io::Result<()>,
) -> io::Result<Proven> {
    let named = || lines.iter().flat_map(|line| &line.connections);
    let ports = named().map(|connection| connection.local.port());
    let (Some(first), Some(last)) = (ports.clone().min(), ports.max()) else { return Ok(Proven::default()) };
    let wanted: HashSet<Connection, ahash::RandomState> = named().copied().collect();
    let mut proven = HashSet::default();
    ask(&(first..=last), &mut |connection| {
        if wanted.contains(&connection) {
            proven.insert(connection);
        }
    })?;
    Ok(Proven(proven))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::door::Grant;
    use crate::inspect::Policy;
    use crate::knock::{Knock, KnockSet, Secret};
    use crate::verdict::ReasonCounts;

    fn connection(peer: &str, local: &str) -> Connection {
        Connection { peer: peer.parse().unwrap(), local: local.parse().unwrap() }
    }

    fn line(gate: &Inspector, connections: &[Connection]) -> DropLine {
        DropLine {
            source: connections.first().map(|connection| gate.cut().source(connection.peer.ip())),
            reasons: ReasonCounts::default(),
            connections: connections.to_vec(),
            sender: None,
        }
    }

    #[test]
    fn proven_by_a_connection_of_a_stranger_alone() {
        let knock =
            Knock::new("a", Secret::new(b"mykn0ckstr1ng".as_slice()).unwrap(), Duration::from_secs(60));
        let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
        let now = Time::from_parts(1000, 0);
        let (stranger, phone) = ("198.51.100.7:40000", "198.51.100.8:40000");
        let pbx = "192.0.2.1:5060";
        let grant = Grant {
            knock: crate::knock::KnockId::from(0),
            life: Duration::from_secs(60),
            registration: None,
        };
        gate.doors().knock(gate.cut().source("198.51.100.8".parse().unwrap()), now, &[grant]);
        let there = [connection(stranger, pbx), connection(phone, pbx)];
        for (name, named, expected) in [
            ("its own", vec![connection(stranger, pbx)], true),
            ("the last of several", vec![connection("198.51.100.7:1", pbx), connection(stranger, pbx)], true),
            ("another port of the sender", vec![connection("198.51.100.7:1", pbx)], false),
            ("another port of the PBX", vec![connection(stranger, "192.0.2.1:5061")], false),
            ("another address", vec![connection("198.51.100.9:40000", pbx)], false),
            ("of somebody with a door", vec![connection(phone, pbx)], false),
            ("datagrams alone", vec![], false),
        ] {
            let lines = [line(&gate, &named)];
            let mut asked = None;
            let proven = look(&lines, |ports, each| {
                asked = Some(ports.clone());
                there.into_iter().for_each(each);
                Ok(())
            });
            assert_eq!(proven.unwrap().holds(&gate, &lines[0], now), expected, "{name}");
            assert_eq!(asked.is_some(), !named.is_empty(), "{name}: nobody is asked for nothing");
        }
        let after = now.after(Duration::from_secs(61));
        let lines = [line(&gate, &[connection(phone, pbx)])];
        let proven = look(&lines, |_, each| {
            there.into_iter().for_each(each);
            Ok(())
        });
        let proven = proven.unwrap();
        assert!(proven.holds(&gate, &lines[0], after), "the door has run out");
    }

    #[test]
    fn one_question_for_all_lines_and_one_complaint() {
        let gate = Inspector::new(Policy::default(), KnockSet::new(Vec::new()).unwrap(), 10);
        let lines = [("198.51.100.7:1", "192.0.2.1:5062"), ("[2001:db8::1]:9", "[2001:db8::2]:5060")]
            .map(|(peer, local)| line(&gate, &[connection(peer, local)]));
        let mut asked = Vec::new();
        let proven = look(&lines, |ports, _| {
            asked.push(ports.clone());
            Ok(())
        });
        assert!(proven.is_ok());
        assert_eq!(asked, [5060..=5062]);
        let refused = look(&lines, |_, _| Err(io::ErrorKind::NotFound.into()));
        assert!(refused.is_err());
    }
}
