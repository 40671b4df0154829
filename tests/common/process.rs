//! The process of a running gate, as /proc shows it. Threads may end while it is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::gate::{Gate, wait_until};

impl Gate {
    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        of_threads(self.child.id(), "comm").map(|name| name.trim().to_owned()).collect()
    }

    /// Time that its threads have spent on a CPU (Documentation/scheduler/sched-stats.rst).
    pub(crate) fn cpu_time(&self) -> Duration {
        let nanos = of_threads(self.child.id(), "schedstat")
            .map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap());
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops all of its threads in their tracks, until SIGCONT.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        // "pid (name) state ..."; the name may hold anything (proc_pid_stat(5)).
        let is_halted = |stat: String| stat.rsplit_once(") ").unwrap().1.starts_with('T');
        let halted = || of_threads(self.child.id(), "stat").all(is_halted);
        wait_until(|| halted().then_some(())).expect("it stops within the deadline");
    }

    /// Waits until its queue threads have counted and told of all packets that they have decided: a packet's verdict
    /// leaves before that.
    pub(crate) fn settle(&self) {
        settle(self.child.id());
    }
}

/// Waits until each queue thread of a process has been seen where it waits for packets. It has counted and told of its
/// last batch by then.
pub(crate) fn settle(pid: u32) {
    let mut working: Vec<_> = tasks(pid).filter(|task| is_queue(task)).collect();
    let settled = wait_until(|| {
        working.retain(|task| !waits_for_packets(task));
        working.is_empty().then_some(())
    });
    settled.unwrap_or_else(|| {
        panic!("queue threads are at work for as long as they are looked at: {working:?}")
    });
}

fn is_queue(task: &Path) -> bool {
    fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("queue "))
}

/// Whether the thread is inside a system call in which it waits for packets, or pauses before it does; or is gone.
fn waits_for_packets(task: &Path) -> bool {
    match fs::read_to_string(task.join("syscall")) {
        // "running", or a number and arguments (proc_pid_syscall(5)).
        Ok(text) => text.split(' ').next().and_then(|word| word.parse().ok()).is_some_and(is_wait),
        Err(_) => !task.exists() || sleeps(task),
    }
}

fn is_wait(call: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_poll {
        return true;
    }
    [libc::SYS_recvmmsg, libc::SYS_recvfrom, libc::SYS_ppoll, libc::SYS_clock_nanosleep].contains(&call)
}

/// For those who may not see which call it is.
fn sleeps(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('S'))
}

/// What a file of each thread says.
fn of_threads(pid: u32, file: &'static str) -> impl Iterator<Item = String> {
    tasks(pid).filter_map(move |task| fs::read_to_string(task.join(file)).ok())
}

/// The folders of a process's threads; none where it is gone.
fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    tasks.filter_map(|task| Some(task.ok()?.path()))
}
