//! The process itself, under the names that Prometheus's own clients use.

use std::fs;
use std::time::Duration;

use prometheus::proto::MetricType;

use super::family::{Families, counted, measured};
use crate::clock;

/// What the process takes of the machine. What /proc does not tell is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMetrics {
    /// CPU time of all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// How many may be open.
    pub max_descriptors: Option<u64>,
}

impl ProcessMetrics {
    /// As it is now.
    pub fn now() -> Self {
        let page = rustix::param::page_size() as u64;
        let pages = fs::read_to_string("/proc/self/statm").ok();
        // proc_pid_statm(5): the second number is the resident set, in pages.
        let resident = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
        // One is the folder that is being read.
        let descriptors =
            fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1));
        Self {
            cpu: clock::process_cpu_time(),
            resident: resident.map(|pages| pages * page),
            descriptors,
            max_descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }

    pub(super) fn add_to(&self, all: &mut Families, started_s: f64) {
        all.add(
            "process_cpu_seconds_total",
            "CPU time of all threads.",
            MetricType::COUNTER,
            vec![counted([], self.cpu.as_secs_f64())],
        );
        all.add(
            "process_start_time_seconds",
            "When the gate was started, in seconds since 1970.",
            MetricType::GAUGE,
            vec![measured([], started_s)],
        );
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory.", self.resident),
            ("process_open_fds", "Open file descriptors.", self.descriptors),
            ("process_max_fds", "File descriptors that may be open.", self.max_descriptors),
        ] {
            if let Some(value) = value {
                all.gauge(name, help, value);
            }
        }
    }
}
