//! What goes wrong around a gate, and what must hold all the same, in network namespaces with real packets.
//!
//! docs/faults.md has the table of all such tests, those of other files among them.

mod files;
mod floods;
mod limits;
mod network;
mod signals;
mod time;

use std::fs;
use std::path::Path;

use crate::common::commands;
use crate::common::gate::{Client, Gate, SECRET, World, alice, register};
use crate::trials::{self, NetnsTrial, Outcome, trials};
use libtest_mimic::Failed;
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("fault")))).collect()
}

type Case = fn(&World) -> Outcome;

const CASES: &[(&str, Case)] = &trials![
    time::clock_set_back_and_forth,
    floods::sources_flooding,
    floods::door_table_full,
    floods::datagrams_of_64_kib,
    floods::malformed_flood,
    floods::fragments_that_never_complete,
    limits::descriptors_exhausted,
    limits::too_little_memory_to_start,
    limits::memory_limited,
    limits::receive_buffer_refused,
    limits::journald_absent,
    limits::stderr_closed,
    network::interface_down_and_up,
    network::interface_gone,
    network::netns_deleted,
    network::queue_stolen,
    network::rules_flushed,
    network::rules_removed_by_others,
    signals::sighup_storm,
    signals::stopped_and_continued_under_load,
    signals::sigterm_during_a_reload,
    signals::killed_under_load,
    files::config_deleted_before_a_reload,
    files::secret_file_gone_at_a_reload,
    files::state_directory_removed,
    files::state_of_a_later_version,
    files::state_with_flipped_bits,
    files::control_socket_removed,
];

/// The table in docs/faults.md names trials that there are, all of this suite among them, and thirty at least. `trials` are
/// the names of all: where a suite has several variants, the table has the name without them.
pub(crate) fn compare_with_table(trials: &[String]) -> Result<(), Failed> {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md"))?;
    let rows: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ").skip(1);
            cells.next()?.trim_matches('`').split_once("::")
        })
        .collect();
    for (suite, test) in &rows {
        let is_it = |name: &String| {
            name.split("::").next() == Some(*suite) && name.rsplit("::").next() == Some(*test)
        };
        if !trials.iter().any(is_it) {
            return Err(format!("there is no trial {suite}::{test}").into());
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
