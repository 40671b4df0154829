//! How soon a gate decides, and what an idle one takes.

use std::time::{Duration, Instant};

use super::common::gate::{Gate, World, register, wait_until};
use super::lab::configured;
use super::traffic::secrets;

/// From the start of the process to the first verdict with 10,000 knocks, several times.
pub(crate) fn first_verdicts() -> Vec<Duration> {
    let measure = || {
        let world = World::new("bench");
        world.apply_rules(&world.config("", ""));
        let config = world.config_with_knocks("", "", &configured(10_000));
        let phone = world.client("198.51.100.7");
        let secret = secrets(8).last().unwrap();
        let start = Instant::now();
        let gate = Gate::spawn(&world, &["--config", &config]);
        let verdict = wait_until(|| {
            phone.send(&register(&secret));
            world.queue_row(0).filter(|row| row[3] > 0 && row[0] == 0)
        });
        let elapsed = start.elapsed();
        assert!(verdict.is_some());
        drop(gate);
        elapsed
    };
    (0..5).map(|_| measure()).collect()
}

/// Resident memory in KiB with 10 knocks and with 10,000.
pub(crate) fn idle_memory() -> Vec<(usize, u64)> {
    let world = World::new("bench");
    let measure = |knocks| {
        let config = world.config_with_knocks("", "", &configured(knocks));
        let gate = Gate::start(&world, &["--config", &config]);
        let resident = gate.resident_kib();
        gate.stop();
        (knocks, resident)
    };
    [10, 10_000].map(measure).to_vec()
}
