//! What is wrong with the gate, as far as it knows itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The faults that are known of. Whoever watches over a part of the gate says here how that part is; `/healthz` and the
/// metrics tell others. Copies share it.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Health(Arc<Mutex<BTreeMap<String, String>>>);

impl Health {
    /// Says what is wrong with a part, in words for people, or that nothing is any more.
    pub(in crate::daemon) fn say(&self, part: &str, fault: Option<String>) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) => faults.insert(part.to_owned(), fault),
            None => faults.remove(part),
        };
    }

    /// What is wrong now, in the order of the parts' names.
    pub(in crate::daemon) fn faults(&self) -> Vec<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().map(|(part, fault)| format!("{part}: {fault}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_each_part_counts() {
        let health = Health::default();
        let watchdog = health.clone();
        watchdog.say("queue 1", Some("7 packets wait".into()));
        watchdog.say("queue 0", Some("1 packet waits".into()));
        watchdog.say("queue 0", Some("2 packets wait".into()));
        assert_eq!(health.faults(), ["queue 0: 2 packets wait", "queue 1: 7 packets wait"]);
        watchdog.say("queue 0", None);
        watchdog.say("queue 2", None);
        watchdog.say("queue 1", None);
        assert_eq!(health.faults(), [""; 0]);
    }
}
