//! Times and priority of a process that watches over the rules.

use std::time::Duration;

use rustix::event::Timespec;

/// A moment more than `span`, so that it is over then.
pub(super) fn timespec(span: Duration) -> Timespec {
    let span = span.saturating_add(Duration::from_micros(100)).min(Duration::from_secs(3600));
    Timespec { tv_sec: span.as_secs().try_into().unwrap_or(1), tv_nsec: span.subsec_nanos().into() }
}

/// Has this process, and the iptables that it starts, come before others on a busy machine: a look and a restore are some
/// twenty processes, and packets pass the gate by meanwhile.
pub(super) fn hurry() {
    // A process without that right waits with the others.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
}

/// How often a watch reports, if nothing happens.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// As `Nice=` in dist/systemd/sipknock-rules.service.
const PRIORITY: i32 = -10;
