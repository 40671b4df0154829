//! Network namespaces to test in, so that no test touches the machine's own rules.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, panic, process, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace of its own, with `lo` up; gone when dropped, in a panic too.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// Makes one. `tag` is for whoever looks at `ip netns list`.
    ///
    /// # Panics
    /// Where [`Netns::missing`] would have said why.
    pub(crate) fn new(tag: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = env::var(PREFIX_VARIABLE).unwrap_or_else(|_| "sipknock".to_owned());
        let netns = Self { name: format!("{prefix}-{}-{number}-{tag}", process::id()) };
        ip(&["netns", "add", &netns.name]).unwrap();
        ip(&["-n", &netns.name, "link", "set", "lo", "up"]).unwrap();
        netns
    }

    /// Why there can be no namespaces here; `None` where there can. Tried once.
    pub(crate) fn missing() -> Option<String> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        MISSING.get_or_init(Self::probe).clone()
    }

    fn probe() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("needs root, to make network namespaces".to_owned());
        }
        if let Err(error) = ip(&["-V"]) {
            return Some(format!("needs iproute2: {error}"));
        }
        // In a container, root may be allowed less than root.
        let name = format!("sipknock-{}-probe", process::id());
        let probe = ip(&["netns", "add", &name]).and_then(|()| {
            // Made, but perhaps not to be entered: in a chroot, ip can't mount what it needs for that.
            let probe = Self { name };
            ip(&["-n", &probe.name, "link", "set", "lo", "up"])
        });
        probe.err().map(|error| format!("cannot use network namespaces: {error}"))
    }

    /// What `ip netns` calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace. What it spawns, threads and processes, is inside as
    /// well.
    ///
    /// # Panics
    /// Where `work` does.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new(DIRECTORY).join(&self.name);
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // A thread's namespace is its own (setns(2)): the thread ends here, and the others never
                // notice.
                let file = File::open(path).unwrap();
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside the namespace, wherever it is spawned.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("network namespace {} is left over: {error}", self.name);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", args.join(" "), said.trim())) }
}

/// Where iproute2 keeps its namespaces: ip-netns(8).
const DIRECTORY: &str = "/run/netns";

/// What the namespaces' names start with, where `sipknock` would not tell two users of one machine apart.
const PREFIX_VARIABLE: &str = "SIPKNOCK_TEST_NETNS";

static COUNT: AtomicUsize = AtomicUsize::new(0);
