//! Counts of packets that a capture does not show, so that its lines are not taken for the whole truth.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tunnel::TunnelKind;

/// Counts of packets that were seen in part or not at all. A count of 0 has no field in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// Packets to inspected ports that a snap length has cut. Included are those cut in front of their ports.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// Fragments whose datagram never became whole, if it may be for inspected ports.
    #[serde(skip_serializing_if = "is_zero")]
    pub incomplete: u64,
    /// Packets of tunnels that were not decoded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "by_name")]
    pub tunnels: BTreeMap<TunnelKind, u64>,
    /// SIP for ports that are not inspected.
    #[serde(skip_serializing_if = "OtherPorts::is_empty")]
    pub other_ports: OtherPorts,
}

/// SIP requests for ports that are not inspected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherPorts(BTreeMap<u16, Requests>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Requests {
    all: u64,
    registers: u64,
}

impl Gaps {
    /// A sentence for each, for people. `can_look` is whether the command has the flag `--tunnels`.
    pub fn sentences(&self, can_look: bool) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(ports) = self.other_ports.list() {
            let (port, list) = (if ports.len() == 1 { "port" } else { "ports" }, ports.join(","));
            sentences.push(format!("SIP was seen for {port} {list}: --port {list}"));
        }
        if self.truncated > 0 {
            sentences.push(format!(
                "{} cut by the capture's snap length: no-knock need not be true for {}; 'tcpdump -s 0' keeps packets whole",
                packets(self.truncated, "was", "were"),
                if self.truncated == 1 { "it" } else { "them" },
            ));
        }
        if self.incomplete > 0 {
            let (fragments, are) =
                if self.incomplete == 1 { ("fragment", "is") } else { ("fragments", "are") };
            sentences.push(format!(
                "{} {fragments} {are} of datagrams that never became whole: INPUT sees none of them",
                self.incomplete
            ));
        }
        if !self.tunnels.is_empty() {
            let kinds: Vec<_> =
                self.tunnels.iter().map(|(kind, count)| format!("{} {count}", kind.title())).collect();
            let hint = if can_look { "; --tunnels decodes those that are not encrypted" } else { "" };
            sentences.push(format!(
                "{} of tunnels that were not decoded ({}){hint}",
                packets(self.tunnels.values().sum(), "is", "are"),
                kinds.join(", "),
            ));
        }
        sentences
    }
}

impl OtherPorts {
    /// Counts a request.
    pub(super) fn add(&mut self, port: u16, registers: bool) {
        let requests = self.0.entry(port).or_default();
        requests.all += 1;
        requests.registers += u64::from(registers);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ports most likely to be a PBX's, in their order: those for which there are REGISTERs, or else those with most
    /// requests. A PBX calls its phones at any port.
    fn likely(&self) -> Vec<(u16, u64)> {
        let has_registers = self.0.values().any(|requests| requests.registers > 0);
        let counted = self.0.iter().map(|(port, requests)| match has_registers {
            true => (*port, requests.registers),
            false => (*port, requests.all),
        });
        let mut ports: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        ports.sort_unstable_by_key(|&(port, count)| (std::cmp::Reverse(count), port));
        ports.truncate(MAX_LISTED);
        ports.sort_unstable();
        ports
    }

    fn list(&self) -> Option<Vec<String>> {
        let likely = self.likely();
        (!likely.is_empty()).then(|| likely.iter().map(|(port, _)| port.to_string()).collect())
    }
}

/// The requests of each port, REGISTERs or not, for the ports that the sentence names.
impl Serialize for OtherPorts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = |port: u16| self.0.get(&port).map_or(0, |requests| requests.all);
        serializer.collect_map(self.likely().into_iter().map(|(port, _)| (port, all(port))))
    }
}

fn by_name<S: serde::Serializer>(
    tunnels: &BTreeMap<TunnelKind, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tunnels.iter().map(|(kind, count)| (kind.name(), count)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn packets(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 packet {one}") } else { format!("{count} packets {many}") }
}

/// A PBX has a few ports for SIP; what more there are is a scan.
const MAX_LISTED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_is_said_and_an_empty_one_is_not() {
        assert!(Gaps::default().sentences(true).is_empty());
        assert_eq!(serde_json::to_string(&Gaps::default()).unwrap(), "{}");
        let mut gaps = Gaps { truncated: 1, incomplete: 2, ..Gaps::default() };
        gaps.tunnels.extend([(TunnelKind::Gre, 9), (TunnelKind::Esp, 1)]);
        gaps.other_ports.add(5070, false);
        assert_eq!(
            gaps.sentences(true),
            [
                "SIP was seen for port 5070: --port 5070",
                "1 packet was cut by the capture's snap length: no-knock need not be true for it; 'tcpdump -s 0' keeps packets whole",
                "2 fragments are of datagrams that never became whole: INPUT sees none of them",
                "10 packets are of tunnels that were not decoded (GRE 9, ESP 1); --tunnels decodes those that are \
                 not encrypted",
            ]
        );
        assert!(gaps.sentences(false)[3].ends_with("1)"));
        assert_eq!(
            serde_json::to_string(&gaps).unwrap(),
            r#"{"truncated":1,"incomplete":2,"tunnels":{"gre":9,"esp":1},"other_ports":{"5070":1}}"#
        );
    }

    #[test]
    fn ports_with_registers_are_named_before_those_with_most_requests() {
        let mut ports = OtherPorts::default();
        for (port, requests) in [(41_000, 9), (5070, 3), (7000, 1), (6000, 4)] {
            (0..requests).for_each(|_| ports.add(port, false));
        }
        assert_eq!(ports.list().unwrap(), ["5070", "6000", "41000"]);
        ports.add(5070, true);
        assert_eq!(ports.list().unwrap(), ["5070"]);
        assert_eq!(serde_json::to_string(&ports).unwrap(), r#"{"5070":4}"#);
    }
}
