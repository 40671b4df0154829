//! The running gate, watched over HTTP: metrics for Prometheus, a health check, and a read-only page for people.
//!
//! [`server`] takes connections and keeps them within bounds; [`answer`] knows the paths, [`host`] the names that a
//! request may have for this machine. The content comes from a [`PageService`], which the daemon is. All of it runs on one
//! thread, which no worker ever waits for.

pub mod answer;
pub mod host;
pub mod server;
mod service;

pub use service::{PageQuery, PageService, Sort};
