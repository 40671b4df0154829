//! How long ago the last verdict was.

use crate::control::protocol::QueueStats;

use super::gate;
use crate::doctor::facts::{Facts, QueueFacts};
use crate::doctor::finding::{Finding, Subject};

/// Of the gate as a whole: by which of its queues a phone comes is chance, and some may see nobody for days.
pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<_> = unasked(subject, facts).into_iter().collect();
    let silences: Option<Vec<_>> = facts.queues.iter().map(|queue| Silence::of(facts, queue)).collect();
    let Some(latest) = silences.and_then(|all| all.into_iter().min_by_key(Silence::order)) else {
        return found;
    };
    let queues = match facts.queues.as_slice() {
        [first, .., last] => format!("queues {}-{}", first.number, last.number),
        _ => format!("queue {}", latest.number),
    };
    if latest.seconds >= QUIET {
        let since =
            if latest.follows_a_verdict() { "since the last verdict" } else { "since the gate began" };
        let text = format!(
            "no packet has come to {queues} in the {} hours {since}: phones register every hour; are these the ports they \
             use?",
            latest.seconds / 3600
        );
        let finding = Finding::note("quiet", text).mend(subject.command("doctor --probe"));
        found.push(finding.seconds(Some(latest.seconds)));
    } else if let Some(ago) = latest.told.and_then(QueueStats::last_verdict_ago) {
        let place = match facts.queues.len() > 1 && latest.follows_a_verdict() {
            true => format!(", in queue {}", latest.number),
            false => String::new(),
        };
        let finding = Finding::ok("last-verdict", format!("{queues}: {ago}{place}"));
        found.push(finding.seconds(Some(latest.seconds)));
    }
    found
}

/// What the gate says of a queue, where the one that was asked is the one that has it.
pub(super) fn told<'a>(facts: &'a Facts, queue: &QueueFacts) -> Option<&'a QueueStats> {
    let stats = facts.gate.as_ref()?.as_ref().ok()?;
    let is_it = queue.owner.as_ref().is_none_or(|owner| owner.pid == stats.pid);
    stats.queues.iter().find(|told| is_it && told.queue == queue.number)
}

/// For how long a queue has had no verdict.
struct Silence<'a> {
    number: u16,
    seconds: u64,
    told: Option<&'a QueueStats>,
}

impl<'a> Silence<'a> {
    /// As the gate says; of a queue to which nothing has ever come the kernel knows. `None` where neither tells.
    fn of(facts: &'a Facts, queue: &QueueFacts) -> Option<Self> {
        let row = queue.row?;
        let told = told(facts, queue).filter(|told| told.since_verdict_s.is_some());
        let never = || queue.owner.as_ref().filter(|owner| owner.is_gate() && row.sequence == 0);
        let seconds = match told {
            Some(told) => told.since_verdict_s,
            None => never().map(|owner| owner.seconds),
        };
        Some(Self { number: queue.number, seconds: seconds?, told })
    }

    /// Whether there was a verdict before it.
    fn follows_a_verdict(&self) -> bool {
        self.told.is_some_and(|told| told.last_verdict.is_some())
    }

    /// The shortest first; of such as are equal by the second, one that follows a verdict.
    fn order(&self) -> (u64, bool) {
        (self.seconds, !self.follows_a_verdict())
    }
}

/// Why the gate does not tell, where one has the queues.
fn unasked(subject: Subject<'_>, facts: &Facts) -> Option<Finding> {
    let owner = facts.queues.iter().find_map(|queue| queue.owner.as_ref().filter(|owner| owner.is_gate()))?;
    // That says it already.
    if gate::other_config(subject, facts).is_some() {
        return None;
    }
    let why = match &facts.gate {
        Some(Err(error)) => error.clone(),
        Some(Ok(stats)) if stats.pid == owner.pid => return None,
        Some(Ok(stats)) => format!("process {} answers at the control socket", stats.pid),
        None if subject.config.control.socket.is_none() => "the control socket is off".to_owned(),
        None => return None,
    };
    let text = format!(
        "the state of the gate, process {}, is not known, nor the time of its last verdict: {why}; was it started \
         with another --control?",
        owner.pid
    );
    Some(Finding::note("unasked", text).mend(subject.command("stats --control PATH")))
}

/// Seconds after which a phone should have registered: twice the usual hour.
const QUIET: u64 = 2 * 3600;
