//! What goes wrong around a gate, and what must hold all the same, in network namespaces with real packets.
//!
//! docs/faults.md has the table of all such tests, those of other files among them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "../common/mod.rs"]
mod common;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/floods.rs"]
mod floods;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/signals.rs"]
mod signals;
#[path = "faults/time.rs"]
mod time;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use common::commands;
use common::gate::{Client, Gate, SECRET, World, alice, register};
use common::trials::{self, Outcome};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

fn main() -> ExitCode {
    let faults = CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("fault"))));
    let table = Trial::test("the_table_names_every_fault", the_table_names_every_fault);
    trials::run(faults.chain([table]))
}

type Case = fn(&World) -> Outcome;

const CASES: &[(&str, Case)] = &[
    ("clock_set_back_and_forth", time::clock_set_back_and_forth),
    ("sources_flooding", floods::sources_flooding),
    ("door_table_full", floods::door_table_full),
    ("datagrams_of_64_kib", floods::datagrams_of_64_kib),
    ("malformed_flood", floods::malformed_flood),
    ("fragments_that_never_complete", floods::fragments_that_never_complete),
    ("descriptors_exhausted", limits::descriptors_exhausted),
    ("too_little_memory_to_start", limits::too_little_memory_to_start),
    ("memory_limited", limits::memory_limited),
    ("receive_buffer_refused", limits::receive_buffer_refused),
    ("journald_absent", limits::journald_absent),
    ("stderr_closed", limits::stderr_closed),
    ("interface_down_and_up", network::interface_down_and_up),
    ("interface_gone", network::interface_gone),
    ("netns_deleted", network::netns_deleted),
    ("queue_stolen", network::queue_stolen),
    ("rules_flushed", network::rules_flushed),
    ("rules_removed_by_others", network::rules_removed_by_others),
    ("sighup_storm", signals::sighup_storm),
    ("stopped_and_continued_under_load", signals::stopped_and_continued_under_load),
    ("sigterm_during_a_reload", signals::sigterm_during_a_reload),
    ("killed_under_load", signals::killed_under_load),
    ("config_deleted_before_a_reload", files::config_deleted_before_a_reload),
    ("secret_file_gone_at_a_reload", files::secret_file_gone_at_a_reload),
    ("state_directory_removed", files::state_directory_removed),
    ("state_of_a_later_version", files::state_of_a_later_version),
    ("state_with_flipped_bits", files::state_with_flipped_bits),
    ("control_socket_removed", files::control_socket_removed),
];

/// The table in docs/faults.md and the tests are the same, and there are thirty of them.
fn the_table_names_every_fault() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/faults.md"))?;
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ").skip(1);
            let (file, test) = cells.next()?.trim_matches('`').split_once("::")?;
            Some((file, test))
        })
        .collect();
    for (file, test) in &rows {
        let source = fs::read_to_string(root.join(format!("tests/root/{file}.rs")))?;
        if !source.contains(&format!("(\"{test}\",")) && !source.contains(&format!("\"{test}\",\n")) {
            return Err(format!("tests/root/{file}.rs has no {test}").into());
        }
    }
    if let Some((name, _)) = CASES.iter().find(|(name, _)| !rows.contains(&("faults", name))) {
        return Err(format!("docs/faults.md does not name {name}").into());
    }
    if rows.len() < 30 {
        return Err(format!("{} faults only", rows.len()).into());
    }
    Ok(())
}

/// A gate with its rules, one phone that has knocked, and the configuration.
struct Site<'a> {
    world: &'a World,
    gate: Gate,
    config: String,
    phone: Client,
    stranger: Client,
}

impl<'a> Site<'a> {
    fn new(world: &'a World, inspect: &str, queue: &str) -> Self {
        let (config, arguments) = prepare(world, inspect, queue);
        let gate = Gate::start(world, &arguments.each_ref().map(String::as_str));
        Self::around(world, gate, config)
    }

    /// The same with a gate that was started in another way.
    fn around(world: &'a World, gate: Gate, config: String) -> Self {
        let site = Self { world, gate, config, phone: world.client(PHONE), stranger: world.client(STRANGER) };
        site.phone.send(&register(SECRET));
        assert_eq!(world.delivered(), [register(SECRET)]);
        site
    }

    /// Who has a door open passes, and nobody else.
    fn holds(&self, when: &str) {
        self.phone.send("open");
        self.stranger.send("stranger");
        assert_eq!(self.world.delivered(), ["open"], "{when}");
    }

    /// And whoever knocks now gets in.
    fn opens(&self, address: &str) {
        let newcomer = self.world.client(address);
        newcomer.send(&register(SECRET));
        newcomer.send("in");
        assert_eq!(self.world.delivered(), [register(SECRET), "in".to_owned()]);
    }

    fn sipknock(&self, args: &[&str]) -> (i32, String) {
        let output = self.world.sipknock(&[&["--config", &self.config], args].concat()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn stats(&self) -> Value {
        commands::stats(self.world, &self.config)
    }

    /// How many warnings of what happened so far have this in them.
    fn warned(&self, part: &str) -> usize {
        self.gate.warnings().iter().filter(|text| text.contains(part)).count()
    }

    /// It ends in order, with nothing undecided.
    fn ends(self) -> Vec<Value> {
        let (status, stopped, log) = self.gate.stop();
        assert!(status.success(), "{log:#?}");
        assert_eq!((&stopped["waiting"], &stopped["unreadable"]), (&0.into(), &0.into()));
        log
    }
}

/// Rules, a configuration that trusts the sentinel, and the arguments of a gate that keeps its doors.
fn prepare(world: &World, inspect: &str, queue: &str) -> (String, [String; 4]) {
    let config = world.guarded(inspect, queue, &alice());
    let arguments = ["--config".to_owned(), config.clone(), "--state".to_owned(), world.path("state/doors")];
    (config, arguments)
}

const PHONE: &str = "198.51.100.7";
const STRANGER: &str = "198.51.100.99";
