//! The flags that change the configuration.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::values;
use crate::knock::{Life, Secret};
use crate::queue::Backend;

/// The values of the flags. A flag wins over the file; knocks and trusted networks add to it.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--knock NAME=SECRET`
    pub knocks: Vec<(String, Secret)>,
    /// `--port`
    pub ports: Option<Vec<RangeInclusive<u16>>>,
    /// `--door`
    pub door: Option<Life>,
    /// `--trust`
    pub trusted: Vec<IpNet>,
    /// `--queue`
    pub queues: Option<RangeInclusive<u16>>,
    /// `--backend`
    pub backend: Option<Backend>,
    /// `--monitor`
    pub monitor: bool,
    /// `--control`; `Some(None)` is `off`.
    pub control: Option<Option<PathBuf>>,
    /// `--state`; `Some(None)` is `off`.
    pub state: Option<Option<PathBuf>>,
    /// `--http`; `Some(None)` is `off`.
    pub http: Option<Option<SocketAddr>>,
    /// `--user`
    pub user: Option<String>,
    /// `--chain`; none: as the file has it.
    pub chains: Vec<String>,
    /// `--pbx`; none: as the file has it.
    pub pbx: Vec<values::PbxEntry>,
}

impl Flags {
    /// Whether any of them is about what decides packets or makes rules.
    pub(super) fn change_the_meaning(&self) -> bool {
        let Self {
            knocks,
            ports,
            door,
            trusted,
            queues,
            backend,
            monitor,
            control: _,
            state: _,
            http: _,
            user: _,
            chains,
            pbx,
        } = self;
        let some = [ports.is_some(), door.is_some(), queues.is_some(), backend.is_some(), *monitor];
        !knocks.is_empty()
            || !trusted.is_empty()
            || !chains.is_empty()
            || !pbx.is_empty()
            || some.contains(&true)
    }
}
