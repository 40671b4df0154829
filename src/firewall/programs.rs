//! Running iptables's programs, and what can go wrong with them.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::listing::{Listing, Unreadable};
use super::plan::{Family, PlanError};

/// The names of the programs, one per family. `NAME-save` and `NAME-restore` are derived from them, which is
/// how every variant is called: `iptables`, `iptables-nft`, `iptables-legacy`, with a path in front or
/// without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// For IPv4.
    pub v4: String,
    /// For IPv6.
    pub v6: String,
}

/// Why the rules could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The plan itself is at fault.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no such program.
    #[error(
        "{program} is not installed: `apt install iptables` on Debian and Ubuntu, or put the rules of \
         `sipknock firewall print` in by other means"
    )]
    NotInstalled {
        /// What was looked for.
        program: String,
    },
    /// The program could not be started or talked to.
    #[error("could not run {program}: {error}")]
    Run {
        /// Which.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// Not allowed to.
    #[error("{program} needs root (CAP_NET_ADMIN): run this with sudo; it said: {said}")]
    NotRoot {
        /// Which program.
        program: String,
        /// Its words.
        said: String,
    },
    /// Somebody else holds the lock of the legacy variant.
    #[error(
        "{program} waited {LOCK_WAIT} s for the lock on /run/xtables.lock: fail2ban, ufw, docker or another \
         iptables is holding it (`fuser -v /run/xtables.lock` names it); try again when it is done"
    )]
    Locked {
        /// Which program.
        program: String,
    },
    /// The program was ended from outside.
    #[error("{program} was ended by signal {signal}: try again")]
    Killed {
        /// Which program.
        program: String,
        /// The signal's number.
        signal: i32,
    },
    /// The program refused. Nothing was changed.
    #[error(
        "{program} refused, and changed nothing: {said}{}; a match or target it does not know is missing \
         from iptables or from the kernel (`modprobe xt_NFQUEUE`; on OpenWrt: `iptables-mod-nfqueue`)",
        at_line(line.as_deref())
    )]
    Rejected {
        /// Which program.
        program: String,
        /// Its words.
        said: String,
        /// The line of the restore script that it names.
        line: Option<String>,
    },
    /// Table filter holds rules made with nft that iptables has no words for.
    #[error(
        "{program} cannot show table filter, because it has nft rules that iptables can't express: move them to an \
         nft table of their own (`nft list table {} filter` shows them)",
        match family { Family::V4 => "ip", Family::V6 => "ip6" }
    )]
    Incompatible {
        /// Which program.
        program: String,
        /// Which table filter.
        family: Family,
    },
    /// The listing is not what iptables-save prints.
    #[error("{program} printed a line {number} that is no rule: \"{text}\"; is it really iptables-save?")]
    Unreadable {
        /// Which program.
        program: String,
        /// The line's number, counted from 1.
        number: usize,
        /// What it says, escaped.
        text: String,
    },
    /// The chain that shall jump to ours does not exist.
    #[error(
        "there is no {} chain {chain} to jump from: start the program that makes it first (docker makes DOCKER-USER), \
         create it with `{program} -N {chain}`, or leave it or the family out, as in `chains = [\"INPUT\"]` or \
         `families = [\"{}\"]`",
        family.name(),
        match family { Family::V4 => "ipv6", Family::V6 => "ipv4" }
    )]
    ParentMissing {
        /// The family's program.
        program: String,
        /// The family.
        family: Family,
        /// The chain.
        chain: String,
    },
    /// The rules are in other chains, and were not to be moved.
    #[error(
        "the {} rules are in {}, and would move to {}: packets that pass {} would then reach the PBX unseen. Name it in \
         `chains` as well to have both, or move them with `sipknock firewall apply --move`",
        family.name(), from.join(", "), to.join(", "), from.join(", ")
    )]
    WouldMove {
        /// The family.
        family: Family,
        /// The chains that have jumps to ours now, and would have none.
        from: Vec<String>,
        /// The chains that would have them.
        to: Vec<String>,
    },
    /// Whatever was written, somebody else wrote as well.
    #[error(
        "after {ATTEMPTS} attempts the {} rules are still not in place, because something else keeps \
         changing them: `sipknock firewall status` shows how they are now",
        family.name()
    )]
    Unsettled {
        /// The family.
        family: Family,
    },
    /// IPv4 would have worked, IPv6 did not.
    #[error("{error} (IPv6; {ipv4})")]
    Ipv6 {
        /// What went wrong with IPv6.
        error: Box<FirewallError>,
        /// What became of the IPv4 rules.
        ipv4: Ipv4State,
    },
}

/// What the IPv4 rules are like after the IPv6 rules could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Ipv4State {
    /// They were in place before, and are.
    #[error("the IPv4 rules were in place already and still are")]
    Untouched,
    /// They were changed and changed back.
    #[error("the IPv4 rules were put back as they were before")]
    PutBack,
    /// They were changed and stayed so.
    #[error("the new IPv4 rules are in, and could not be taken back: {0}")]
    Left(Box<FirewallError>),
}

/// One family's programs, ready to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tool<'a> {
    pub(super) family: Family,
    pub(super) name: &'a str,
}

impl Programs {
    /// The name of a family's program.
    pub fn of(&self, family: Family) -> &str {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) fn tool(&self, family: Family) -> Tool<'_> {
        Tool { family, name: self.of(family) }
    }
}

impl Default for Programs {
    fn default() -> Self {
        Self { v4: "iptables".to_owned(), v6: "ip6tables".to_owned() }
    }
}

impl Tool<'_> {
    /// All tables as they are now.
    ///
    /// By way of iptables-save rather than `iptables -S`: same lines, but counters in front where they are easy to read,
    /// all tables at once, and no table created by looking for one (the legacy variant's -S creates it).
    pub(super) fn read(self) -> Result<Listing, FirewallError> {
        self.parse(&self.list()?)
    }

    /// Reads what [`Tool::list`] gave.
    pub(super) fn parse(self, text: &str) -> Result<Listing, FirewallError> {
        let program = format!("{}-save", self.name);
        Listing::read(text).map_err(|unreadable| match unreadable {
            Unreadable::Incompatible => FirewallError::Incompatible { program, family: self.family },
            Unreadable::Line { number, text } => {
                FirewallError::Unreadable { program, number, text: text.escape_debug().to_string() }
            }
        })
    }

    /// Table filter alone, with its counters as they are now.
    pub(super) fn read_filter(self) -> Result<Listing, FirewallError> {
        self.parse(&self.save(&["-c", "-t", "filter"])?)
    }

    /// The program's version line.
    pub(super) fn version(self) -> Option<String> {
        let output = run(self.name, &["-V"], "").ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All tables as they are now, word for word.
    pub(super) fn list(self) -> Result<String, FirewallError> {
        self.save(&["-c"])
    }

    fn save(self, args: &[&str]) -> Result<String, FirewallError> {
        let program = format!("{}-save", self.name);
        let output = run(&program, args, "")?;
        if !output.status.success() {
            return Err(refusal(program, &output, ""));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Has a script read and checked, and not carried out.
    pub(super) fn test(self, script: &str) -> Result<(), FirewallError> {
        let program = format!("{}-restore", self.name);
        let output = run(&program, &["--noflush", "--test", "-w", LOCK_WAIT], script)?;
        if output.status.success() { Ok(()) } else { Err(refusal(program, &output, script)) }
    }

    /// Loads a script, all of it or nothing of it.
    pub(super) fn restore(self, script: &str) -> Result<(), FirewallError> {
        let program = format!("{}-restore", self.name);
        let output = run(&program, &["--noflush", "-w", LOCK_WAIT], script)?;
        if output.status.success() { Ok(()) } else { Err(refusal(program, &output, script)) }
    }
}

/// Whether this kernel, in this network namespace, speaks IPv6 at all: with `ipv6.disable=1` the file is
/// missing, with the sysctl `disable_ipv6` it is only empty. By thread, since a network namespace is a
/// thread's own.
pub(super) fn kernel_has_ipv6() -> bool {
    Path::new("/proc/thread-self/net/if_inet6").exists()
}

/// Keeps other sipknocks from changing the same rules, until dropped.
///
/// The lock is on the network namespace itself (its file in /proc), which is exactly what has these rules,
/// needs no directory to put a file in, and ends with the process. It is a courtesy, and not having it is no
/// error: any local user could hold it. What is written is checked afterwards anyway.
#[derive(Debug)]
pub struct Hold(
    /// None if it could not be had.
    #[expect(dead_code, reason = "its end is what counts")]
    Option<File>,
);

impl Hold {
    /// Waits for another one, five seconds at most.
    pub fn wait() -> Self {
        for _ in 0..LOCK_TRIES {
            match Self::now() {
                Some(hold) => return hold,
                None => thread::sleep(LOCK_PAUSE),
            }
        }
        Self::none()
    }

    /// None while another one is held.
    pub fn now() -> Option<Self> {
        let Ok(namespace) = File::open("/proc/thread-self/ns/net") else { return Some(Self::none()) };
        match namespace.try_lock() {
            Ok(()) => Some(Self(Some(namespace))),
            Err(fs::TryLockError::WouldBlock) => None,
            Err(fs::TryLockError::Error(_)) => Some(Self::none()),
        }
    }

    /// One that keeps nobody out.
    pub const fn none() -> Self {
        Self(None)
    }
}

fn run(program: &str, args: &[&str], input: &str) -> Result<Output, FirewallError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FirewallError::NotInstalled { program: program.to_owned() },
        _ => FirewallError::Run { program: program.to_owned(), error },
    };
    let mut child = Command::new(program)
        .args(args)
        // The system's error texts are read below.
        .env("LC_ALL", "C")
        .env("PATH", search_path())
        // A group of its own: Ctrl-C in a terminal is for the gate, which takes its rules out upon it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    STARTED.with_borrow_mut(|started| started.push(child.id()));
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        // A thread of its own, so that neither side waits for the other with a full pipe. A program that
        // stops reading has a reason, and says it on stderr.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })
    .map_err(failed)
}

/// The processes that this thread has started since the last call: nf_tables names the process that made a change, and
/// these changes are our own.
pub(super) fn started() -> Vec<u32> {
    STARTED.take()
}

thread_local! {
    static STARTED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// PATH, and behind it where Debian keeps iptables, which is not in the PATH of those who are not root.
fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// What a failed program meant. `script` is what it was fed.
fn refusal(program: String, output: &Output, script: &str) -> FirewallError {
    if let Some(signal) = output.status.signal() {
        return FirewallError::Killed { program, signal };
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(USAGE_HINT))
        .collect::<Vec<_>>()
        .join("; ");
    if said.contains("xtables lock") {
        return FirewallError::Locked { program };
    }
    if NOT_ALLOWED.iter().any(|words| said.contains(words)) {
        return FirewallError::NotRoot { program, said };
    }
    let line = line_number(&said).and_then(|number| script.lines().nth(number.checked_sub(1)?));
    let line = line.map(str::to_owned);
    let said = if said.is_empty() { output.status.to_string() } else { said };
    FirewallError::Rejected { program, said, line }
}

/// The number in `line 3 failed`, `Error occurred at line: 3` or `line 3: RULE_APPEND failed`.
fn line_number(said: &str) -> Option<usize> {
    said.match_indices("line").find_map(|(at, word)| {
        let rest = said.get(at + word.len()..)?.trim_start_matches([':', ' ']);
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

fn at_line(line: Option<&str>) -> String {
    line.map(|line| format!(" (at `{line}`)")).unwrap_or_default()
}

/// How often a change is tried again when somebody else's change came in between. Twice is already rare.
pub(super) const ATTEMPTS: usize = 5;

/// Seconds, for iptables-restore -w. Whoever holds the lock for longer is stuck, or loads a very large set.
const LOCK_WAIT: &str = "5";

/// With [`LOCK_PAUSE`], five seconds as well.
const LOCK_TRIES: usize = 100;

/// About as long as an apply takes, and too short for anybody to notice.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What the programs end their errors with; of no use in ours.
const USAGE_HINT: &str = "Try `";

/// How they say that they were not allowed to.
const NOT_ALLOWED: [&str; 3] = ["you must be root", "Permission denied", "Operation not permitted"];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn refusals() {
        let script = "*filter\n:SIPKNOCK - [0:0]\n-A SIPKNOCK -m conntrack\nCOMMIT\n";
        for (stderr, expected) in [
            (
                "iptables-restore v1.8.9 (nf_tables): Couldn't load match `conntrack':No such file\n\n\
                 Error occurred at line: 3\nTry `iptables-restore -h' or more information.\n",
                "(at `-A SIPKNOCK -m conntrack`)",
            ),
            ("iptables-restore: line 2 failed\n", "(at `:SIPKNOCK - [0:0]`)"),
            (
                "iptables-restore v1.8.9 (nf_tables): \nline 3: RULE_APPEND failed (No such file)\n",
                "(at `-A SIPKNOCK -m conntrack`)",
            ),
            ("iptables-restore: line 99 failed\n", "nothing: iptables-restore: line 99 failed; a match"),
            ("", "nothing: exit status: 1; a match"),
            (
                "iptables-restore v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)\n",
                "needs root",
            ),
            ("Fatal: can't open lock file /run/xtables.lock: Permission denied\n", "needs root"),
            (
                "Another app is currently holding the xtables lock. Stopped waiting after 5s.\n",
                "fuser -v /run/xtables.lock",
            ),
        ] {
            let output = Output {
                status: ExitStatus::from_raw(256),
                stdout: vec![],
                stderr: stderr.as_bytes().to_vec(),
            };
            let error = refusal("iptables-restore".to_owned(), &output, script).to_string();
            assert!(error.contains(expected), "{stderr:?}: {error}");
        }
    }

    #[test]
    fn missing_program_names_the_package() {
        let error = run("sipknock-no-such-program", &[], "").unwrap_err();
        assert!(error.to_string().contains("apt install iptables"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_read_its_input_is_no_error() {
        let input = "-A SIPKNOCK -j DROP\n".repeat(100_000);
        assert!(run("true", &[], &input).unwrap().status.success());
    }
}
