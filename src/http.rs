//! The running gate, watched over HTTP: metrics for Prometheus, a health check, and a read-only page for people.
//!
//! [`server`] takes connections and keeps them within bounds; [`answer`] knows the paths, [`host`] who may be meant by a
//! request. What there is to tell is told by a [`Service`], which the daemon is. All of it runs on one thread, which
//! nobody who decides packets ever waits for.

pub mod answer;
pub mod host;
pub mod server;

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

/// What a server tells. It is asked by one thread alone.
pub trait Service: Send + 'static {
    /// From now on the address is served, or it can't be had yet.
    fn listening(&mut self, address: SocketAddr, outcome: Result<(), &io::Error>);

    /// Called every [`server::TICK`], for what has to be looked at regularly.
    fn tick(&mut self);

    /// What is wrong, in words for people; nothing where the gate does its work.
    fn faults(&mut self) -> Vec<String>;

    /// The numbers, in Prometheus's text format. `evicted`: connections that had to make room for others.
    fn metrics(&mut self, evicted: u64) -> String;

    /// What the page shows.
    fn status(&mut self, wanted: &Wanted) -> Value;
}

/// Which doors the page is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this network, or of knocks with this in their names.
    pub filter: String,
    /// Which first.
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
