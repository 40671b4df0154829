//! What the gate may do beside what it has to, and who can read its secrets.

use crate::config::Seccomp;
use crate::harden::trusted_groups;

use crate::doctor::facts::{Facts, ProcessFacts, Rights};
use crate::doctor::finding::{Finding, Subject};

pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = secrets(subject);
    // One gate may have several queues.
    let mut owners: Vec<&ProcessFacts> =
        facts.queues.iter().filter_map(|queue| queue.owner.as_ref()).collect();
    owners.dedup_by_key(|owner| owner.pid);
    found.extend(owners.into_iter().filter_map(|owner| of_gate(subject, owner, owner.rights?)));
    found
}

fn secrets(subject: Subject<'_>) -> Vec<Finding> {
    let config = subject.config;
    let own = trusted_groups(config);
    let exposed = config.files.iter().filter_map(|file| file.exposed(&own));
    let finding = |exposed: crate::config::Exposed| {
        Finding::fault("readable-secrets", format!("{exposed}; `run` refuses that")).mend(exposed.mend())
    };
    exposed.map(finding).collect()
}

fn of_gate(subject: Subject<'_>, owner: &ProcessFacts, rights: Rights) -> Option<Finding> {
    if !owner.is_gate() {
        return None;
    }
    let (pid, Rights { user, capabilities, no_new_privileges, filtered }) = (owner.pid, rights);
    let mut more = Vec::new();
    if capabilities & !NET_ADMIN != 0 {
        more.push(format!("it has capabilities beside CAP_NET_ADMIN ({capabilities:x})"));
    }
    if !no_new_privileges {
        more.push("it can gain privileges".to_owned());
    }
    if !filtered && subject.config.process.seccomp != Seccomp::Off {
        more.push("its system calls are not filtered".to_owned());
    }
    if !more.is_empty() {
        let text = format!("the gate, process {pid}, may do more than it needs: {}", more.join(", "));
        return Some(Finding::warning("rights", text).mend("systemctl restart sipknock"));
    }
    let calls = if filtered {
        "its system calls are filtered"
    } else {
        "its system calls are not filtered, as configured"
    };
    let user = owner.user.clone().unwrap_or_else(|| user.to_string());
    let text = format!(
        "the gate, process {pid}, runs as user {user} with CAP_NET_ADMIN alone and no new privileges; {calls}"
    );
    Some(Finding::ok("rights", text))
}

/// CAP_NET_ADMIN's bit (include/uapi/linux/capability.h).
const NET_ADMIN: u64 = 1 << 12;
