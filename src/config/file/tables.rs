//! The tables of the file, each key a [`Field`].

use serde::Deserialize;
use toml::Spanned;

use super::reader::Field;

/// A file of `[[knock]]` tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnockFile {
    #[serde(default)]
    pub(super) knock: Vec<Spanned<KnockTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) include: Field,
    #[serde(default)]
    pub(super) inspect: InspectTable,
    #[serde(default)]
    pub(super) queue: QueueTable,
    #[serde(default)]
    pub(super) firewall: FirewallTable,
    #[serde(default)]
    pub(super) control: ControlTable,
    #[serde(default)]
    pub(super) state: StateTable,
    #[serde(default)]
    pub(super) http: HttpTable,
    #[serde(default)]
    pub(super) process: ProcessTable,
    #[serde(default)]
    pub(super) knock: Vec<Spanned<KnockTable>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct InspectTable {
    pub(super) ports: Field,
    pub(super) transports: Field,
    pub(super) door: Field,
    pub(super) trusted: Field,
    pub(super) trusted_names: Field,
    pub(super) mode: Field,
    pub(super) renew: Field,
    pub(super) ipv4_prefix: Field,
    pub(super) ipv6_prefix: Field,
    pub(super) max_doors: Field,
    pub(super) expires_min: Field,
    pub(super) expires_max: Field,
    pub(super) partial_bytes: Field,
    pub(super) partial_segments: Field,
    pub(super) max_flows: Field,
    pub(super) grace: Field,
    pub(super) nat64: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueTable {
    pub(super) numbers: Field,
    pub(super) backend: Field,
    pub(super) max_len: Field,
    pub(super) receive_buffer: Field,
    pub(super) on_overload: Field,
    pub(super) on_exit: Field,
    pub(super) busy_poll: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct FirewallTable {
    pub(super) backend: Field,
    pub(super) chains: Field,
    pub(super) pbx: Field,
    pub(super) families: Field,
    pub(super) keep: Field,
    pub(super) outbound: Field,
    pub(super) outbound_ports: Field,
    pub(super) max_outbound: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlTable {
    pub(super) socket: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct StateTable {
    pub(super) file: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpTable {
    pub(super) listen: Field,
    pub(super) hosts: Field,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessTable {
    pub(super) user: Field,
    pub(super) seccomp: Field,
    pub(super) landlock: Field,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnockTable {
    pub(super) name: Field,
    pub(super) secret: Field,
    pub(super) secret_file: Field,
    #[serde(rename = "in")]
    pub(super) within: Field,
    #[serde(rename = "match")]
    pub(super) extent: Field,
    pub(super) methods: Field,
    pub(super) ignore_case: Field,
    pub(super) door: Field,
    pub(super) sources: Field,
    pub(super) max_doors: Field,
}
