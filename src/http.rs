//! The running gate, watched over HTTP: metrics for Prometheus, a health check, and a read-only page for people.
//!
//! [`server`] takes connections and keeps them within bounds; [`answer`] knows the paths, [`host`] who may be meant by a
//! request. What there is to tell is told by a [`Service`], which the daemon is. All of it runs on one thread, which
//! nobody who decides packets ever waits for.

pub mod answer;
pub mod host;
pub mod server;
mod service;

pub use service::{Service, Sort, Wanted};
