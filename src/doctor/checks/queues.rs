//! Who listens on the queues, how it fares, and what was lost.

use std::path::Path;

use crate::config::{DEFAULT_PATH, Fallback};
use crate::control::protocol::QueueStats;

use super::{gate, verdicts};
use crate::doctor::facts::{Facts, ProcessFacts, QueueFacts};
use crate::doctor::finding::{Finding, Subject};

pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for queue in &facts.queues {
        found.extend(of_queue(subject, facts, queue));
    }
    // Where packets wait and none is decided, that says it all.
    if !found.iter().any(|finding| finding.name == STUCK) {
        found.extend(verdicts::check(subject, facts));
    }
    found
}

fn of_queue(subject: Subject<'_>, facts: &Facts, queue: &QueueFacts) -> Vec<Finding> {
    let number = queue.number;
    let config = &subject.config.queue;
    let Some(row) = queue.row else {
        let meanwhile = match config.on_exit {
            Fallback::Closed => "packets for it are dropped, also those of phones",
            Fallback::Open => "packets for it pass unchecked, since on_exit is \"open\"",
        };
        return vec![nobody(subject, facts, &format!("nobody listens on queue {number}: {meanwhile}"))];
    };
    let mut found = Vec::new();
    if let Some(owner) = &queue.owner {
        found.extend(of_owner(subject, facts, number, owner));
        if found.iter().any(|finding| [FOREIGN, STORED].contains(&finding.name.as_str())) {
            return found;
        }
    }
    if let Some(later) = queue.later.filter(|later| later.port_id == row.port_id) {
        let decided = |row: crate::queue::kernel::QueueRow| row.sequence.saturating_sub(row.waiting);
        if row.waiting > 0 && later.waiting > 0 && decided(row) == decided(later) {
            let told = verdicts::told(facts, queue);
            let ago = told.and_then(QueueStats::last_verdict_ago);
            let ago = ago.map_or_else(String::new, |ago| format!(" ({ago})"));
            let text = format!(
                "{} packets wait in queue {number}, and none is decided{ago}: the gate hangs, and no phone gets through",
                later.waiting
            );
            let finding = Finding::fault(STUCK, text).mend("systemctl restart sipknock");
            found.push(finding.seconds(told.and_then(|told| told.since_verdict_s)));
        }
    }
    if row.queue_dropped > 0 {
        let text = format!(
            "{} packets found queue {number} full and were dropped: raise `max_len` (now {}) or give the gate more queues",
            row.queue_dropped, config.max_len
        );
        found.push(Finding::warning("queue-overflow", text).mend(edit(subject, "max_len")));
    }
    if row.user_dropped > 0 {
        let text = format!(
            "{} packets of queue {number} found the socket's buffer full and were dropped: raise `receive_buffer`",
            row.user_dropped
        );
        found.push(Finding::warning("socket-overflow", text).mend(edit(subject, "receive_buffer")));
    }
    if let Some(granted) = queue.receive_buffer.filter(|granted| *granted < config.receive_buffer) {
        let wanted = config.receive_buffer;
        let limit =
            facts.rmem_max.map_or_else(String::new, |limit| format!(" (net.core.rmem_max is {limit})"));
        let text = format!(
            "queue {number}: the socket's buffer is {granted} bytes, and not {wanted}{limit}: floods will lose packets"
        );
        // The limit binds only who lacks CAP_NET_ADMIN in the first user namespace; what was configured later as well.
        let mend = match facts.rmem_max.is_some_and(|limit| limit < wanted) {
            true => format!("sysctl -w net.core.rmem_max={wanted} && systemctl restart sipknock"),
            false => "systemctl restart sipknock".to_owned(),
        };
        found.push(Finding::warning("receive-buffer", text).mend(mend));
    }
    if let (true, Some(owner)) = (found.is_empty(), &queue.owner) {
        let text = format!(
            "queue {number}: process {} ({}) listens, {} packets came since it began, {} wait",
            owner.pid, owner.name, row.sequence, row.waiting
        );
        found.push(Finding::ok("queues", text));
    }
    found
}

/// A queue that nobody reads. The gate may be in another network namespace, with a queue of the same number there.
fn nobody(subject: Subject<'_>, facts: &Facts, text: &str) -> Finding {
    let Some(gate) = facts.gate_process.as_ref().filter(|gate| gate.elsewhere) else {
        // The unit has the usual file.
        let mend = match facts.unit && subject.config.path == Path::new(DEFAULT_PATH) {
            true => "systemctl start sipknock".to_owned(),
            false => subject.command("run"),
        };
        return Finding::fault("nobody-on-queue", text).mend(mend);
    };
    let text = format!("{text}; the gate, process {}, is in another network namespace", gate.pid);
    let mend = format!("nsenter -t {} -n {}", gate.pid, subject.command("doctor"));
    Finding::fault("other-namespace", text).mend(mend)
}

fn of_owner(subject: Subject<'_>, facts: &Facts, number: u16, owner: &ProcessFacts) -> Vec<Finding> {
    let ProcessFacts { pid, name, .. } = owner;
    if !owner.is_gate() && gate::told(facts).is_none_or(|stats| stats.pid != *pid) {
        if owner.keeps_descriptors() {
            let text = format!(
                "queue {number}: no gate reads it, and process {pid} ({name}) keeps its socket in the descriptor store: \
                 packets wait in it, also those of phones"
            );
            return vec![Finding::fault(STORED, text).mend("systemctl restart sipknock")];
        }
        let text = format!("queue {number} is held by process {pid} ({name}), and not by sipknock");
        let numbers = subject.config.queue.numbers.len() as u16;
        let free = |first: &u16| {
            let last = first.saturating_add(numbers - 1);
            !facts.taken_queues.iter().any(|taken| (*first..=last).contains(taken)) && *first != number
        };
        let first = (0..=u16::MAX - numbers).find(free).unwrap_or(0);
        let wanted = match numbers {
            1 => format!("numbers = \"{first}\""),
            more => format!("numbers = \"{first}-{}\"", first + (more - 1)),
        };
        let mend = format!("{} && {}", edit(subject, &wanted), subject.apply());
        return vec![Finding::fault(FOREIGN, text).mend(mend)];
    }
    let mut found = Vec::new();
    if owner.stopped {
        let text = format!("the gate, process {pid}, is stopped by a signal: no phone gets through");
        found.push(Finding::fault("stopped", text).mend(format!("kill -CONT {pid}")));
    }
    if owner.monitors && gate::told(facts).is_none() {
        let text =
            format!("the gate, process {pid}, runs with --monitor: strangers pass, and are only logged");
        found.push(Finding::fault("monitor", text).mend(gate::shut(subject, Some(owner))));
    }
    found
}

fn edit(subject: Subject<'_>, key: &str) -> String {
    format!("$EDITOR {}   # [queue] {key}, then: systemctl restart sipknock", subject.config.path.display())
}

/// The finding that packets wait and none is decided.
const STUCK: &str = "stuck";

/// The finding that another program has the queue.
const FOREIGN: &str = "foreign-queue";

/// The finding that only the service manager has it.
const STORED: &str = "stored-queue";
