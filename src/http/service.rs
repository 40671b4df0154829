//! The content of the page and of the metrics, as the server asks for it.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

/// The content that a server serves. One thread alone asks for it.
pub trait PageService: Send + 'static {
    /// From now on the address is served, or it can't be had yet.
    fn listening(&mut self, address: SocketAddr, outcome: Result<(), &io::Error>);

    /// Called every [`TICK`](super::server::TICK), for regular checks.
    fn tick(&mut self);

    /// The faults, in words for people; none if the gate does its work.
    fn faults(&mut self) -> Vec<String>;

    /// The numbers, in Prometheus's text format. `evicted`: connections that had to make room for others.
    fn metrics(&mut self, evicted: u64) -> String;

    /// The content of the page.
    fn status(&mut self, wanted: &PageQuery) -> Value;
}

/// The doors that the page is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Only those of this network, or of knocks with this in their names.
    pub filter: String,
    /// Their order.
    pub sort: Sort,
}

/// The order of doors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the last knock, newest first.
    #[default]
    Recent,
    /// Those that run out soonest first.
    Expires,
    /// By packets, most first.
    Packets,
}

impl Sort {
    /// By its name in a query.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "recent" => Self::Recent,
            "expires" => Self::Expires,
            "packets" => Self::Packets,
            _ => return None,
        })
    }
}
