//! The state file over time, with a clock that stands still.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::daemon::testing::{Stand, eventually, gate, source};
use crate::door::{Door, DoorState, Grant};
use crate::inspect::{Mode, Policy};
use crate::knock::KnockSet;

/// A gate, and a folder for its doors.
struct Site {
    stand: Stand,
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let stand = Stand::new(gate(&[("alice", "secret-one-of-alice")]));
        Self { stand, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("doors")
    }

    fn work(&self) -> PersisterWork {
        PersisterWork::new(self.stand.context.clone(), Arc::default())
    }

    fn open_door(&self, n: u8) {
        open_door(&self.stand.context, n);
    }

    /// How many doors the file has.
    fn saved(&self) -> usize {
        crate::state::format::read(&*fs::read(self.path()).unwrap()).unwrap().doors.len()
    }
}

fn open_door(context: &Context, n: u8) {
    let gate = context.gate.load();
    let knock = gate.knock_named("alice").unwrap();
    let grant = Grant { knock, life: Duration::from_secs(4000), registration: None };
    gate.doors().knock(source(n), context.clock.now(), &[grant]);
}

fn counts(work: &PersisterWork) -> (u64, u64) {
    (work.counts.writes.load(Ordering::Relaxed), work.counts.failures.load(Ordering::Relaxed))
}

#[test]
fn doors_are_written_when_they_have_changed_and_not_more_often_than_that() {
    let site = Site::new();
    let (file, mut work) = (StateFile::take(&site.path()).unwrap(), site.work());
    work.write_if_due(&file, false);
    assert_eq!(counts(&work), (0, 0), "nothing has changed");
    site.open_door(1);
    work.write_if_due(&file, false);
    assert_eq!((counts(&work), site.saved()), ((1, 0), 1));
    site.open_door(2);
    for (wait, writes) in [(0, 1), (699, 1), (1, 2), (5000, 2)] {
        site.stand.hand.advance(Duration::from_millis(wait));
        work.write_if_due(&file, false);
        assert_eq!(counts(&work).0, writes, "after {wait} ms more");
    }
    work.write_if_due(&file, true);
    assert_eq!((counts(&work), site.saved()), ((3, 0), 2), "at the end in any case");
    assert_eq!(site.stand.texts(), [""; 0]);
}

#[test]
fn a_door_that_opens_while_doors_are_written_is_written_next() {
    let site = Site::new();
    let (file, mut work) = (StateFile::take(&site.path()).unwrap(), site.work());
    site.open_door(1);
    let (hand, context) = (site.stand.hand, site.stand.context.clone());
    // The second look is that of the writing.
    hand.at_next_look(move || hand.at_next_look(move || open_door(&context, 2)));
    work.write_if_due(&file, false);
    assert_eq!(counts(&work), (1, 0));
    hand.advance(INTERVAL);
    work.write_if_due(&file, false);
    assert_eq!((counts(&work), site.saved()), ((2, 0), 2));
}

#[test]
fn long_writes_leave_time_between_them() {
    let site = Site::new();
    let (file, mut work) = (StateFile::take(&site.path()).unwrap(), site.work());
    site.open_door(1);
    let hand = site.stand.hand;
    hand.at_next_look(move || hand.at_next_look(move || hand.advance(Duration::from_secs(2))));
    work.write_if_due(&file, false);
    for (wait, writes) in [(13, 1), (1, 2)] {
        site.open_door(2);
        hand.advance(Duration::from_secs(wait));
        work.write_if_due(&file, false);
        assert_eq!(counts(&work).0, writes, "2 s of writing, and 14 s without");
    }
}

#[test]
fn a_full_disk_is_told_once_a_minute_and_when_it_is_over() {
    let site = Site::new();
    let (file, mut work) = (StateFile::take(&site.path()).unwrap(), site.work());
    site.open_door(1);
    work.write_if_due(&file, false);
    let before = fs::read(site.path()).unwrap();
    site.open_door(2);
    for (failures, warnings) in [(1, 1), (2, 0), (3, 0)] {
        site.stand.hand.advance(Duration::from_secs(10));
        // The file goes to a device that has no room.
        symlink("/dev/full", site.folder.path().join("doors.new")).unwrap();
        work.write_if_due(&file, false);
        assert_eq!(counts(&work), (1, failures), "it is tried again");
        let texts = site.stand.texts();
        assert_eq!(texts.len(), warnings, "{texts:?}");
        assert!(texts.iter().all(|text| text.contains("No space left on device")), "{texts:?}");
    }
    assert_eq!(fs::read(site.path()).unwrap(), before, "the doors of before are there");
    site.stand.hand.advance(Duration::from_secs(60));
    symlink("/dev/full", site.folder.path().join("doors.new")).unwrap();
    work.write_if_due(&file, false);
    assert_eq!(site.stand.texts().len(), 1, "a minute later");
    site.stand.hand.advance(Duration::from_secs(1));
    work.write_if_due(&file, false);
    assert_eq!((counts(&work), site.saved()), ((2, 4), 2), "without another change");
    let texts = site.stand.texts();
    assert!(texts.len() == 1 && texts[0].ends_with("again"), "{texts:?}");
}

#[test]
fn a_folder_that_is_gone_is_a_failure_that_ends_with_it() {
    let site = Site::new();
    let folder = site.folder.path().join("state");
    let path = folder.join("doors");
    let (file, mut work) = (StateFile::take(&path).unwrap(), site.work());
    site.open_door(1);
    fs::remove_dir_all(&folder).unwrap();
    work.write_if_due(&file, false);
    assert_eq!(counts(&work), (0, 1));
    fs::create_dir(&folder).unwrap();
    site.stand.hand.advance(INTERVAL);
    work.write_if_due(&file, false);
    assert_eq!(counts(&work), (1, 1));
    assert!(path.exists());
}

#[test]
fn the_thread_writes_what_changes_and_once_more_at_the_end() {
    let site = Site::new();
    let persister = DoorPersister::start(&site.path(), None, &site.stand.context).unwrap();
    let counts = persister.counts();
    site.open_door(1);
    eventually(|| counts.writes.load(Ordering::Relaxed) == 1);
    assert!(crate::state::file::has_enforced(&site.path()));
    // The clock stands still, so that only the end has it written.
    site.open_door(2);
    persister.finish();
    assert_eq!((counts.writes.load(Ordering::Relaxed), site.saved()), (2, 2));
    assert!(StateFile::take(&site.path()).is_ok(), "the next gate can have it");
}

#[test]
fn a_gate_that_only_watches_is_not_noted_as_one_that_has_enforced() {
    let site = Site::new();
    let monitor = |mode| {
        let gate = site.stand.gate();
        let knocks = KnockSet::new(gate.knocks().iter().cloned().collect()).unwrap();
        let policy = Policy { mode, ..Policy::default() };
        site.stand.context.gate.store(Arc::new(gate.successor(policy, knocks)));
    };
    monitor(Mode::Monitor);
    let persister = DoorPersister::start(&site.path(), None, &site.stand.context).unwrap();
    let counts = persister.counts();
    site.open_door(1);
    eventually(|| counts.writes.load(Ordering::Relaxed) == 1);
    assert!(!crate::state::file::has_enforced(&site.path()));
    monitor(Mode::Enforce);
    eventually(|| crate::state::file::has_enforced(&site.path()));
    persister.finish();
}

/// Doors of the file or of the service manager, whichever are younger; of either, if there is only one.
#[test]
fn doors_of_before_are_opened_again() {
    let site = Site::new();
    site.open_door(1);
    DoorPersister::start(&site.path(), None, &site.stand.context).unwrap().finish();
    let state = |n| {
        let gate = site.stand.gate();
        gate.doors().state(source(n), site.stand.now())
    };
    let in_file = fs::read(site.path()).unwrap();
    site.stand.gate().doors().flush(|_, _| {});
    site.open_door(2);
    let later =
        crate::daemon::snapshot::write_doors(&site.stand.gate(), site.stand.context.clock, Vec::new());
    let later = crate::state::format::read(&*later.unwrap()).unwrap();
    let earlier = crate::state::format::read(&*in_file).unwrap();
    for (name, kept, file, expected) in [
        ("the file alone", None, true, [DoorState::Open, DoorState::None]),
        ("the service manager's are younger", Some(&later), true, [DoorState::None, DoorState::Open]),
        ("the service manager's alone", Some(&earlier), false, [DoorState::Open, DoorState::None]),
    ] {
        site.stand.gate().doors().flush(|_, _| {});
        match file {
            true => fs::write(site.path(), &in_file).unwrap(),
            false => fs::remove_file(site.path()).unwrap(),
        }
        let persister = DoorPersister::start(&site.path(), kept, &site.stand.context).unwrap();
        assert_eq!([1, 2].map(state), expected, "{name}");
        persister.finish();
        assert_eq!(site.stand.texts().len(), 1, "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_had_is_a_warning_and_doors_that_were_kept_open_all_the_same() {
    let site = Site::new();
    site.open_door(1);
    let kept = crate::daemon::snapshot::write_doors(&site.stand.gate(), site.stand.context.clock, Vec::new());
    let kept = crate::state::format::read(&*kept.unwrap()).unwrap();
    site.stand.gate().doors().flush(|_, _| {});
    let _other = StateFile::take(&site.path()).unwrap();
    assert!(DoorPersister::start(&site.path(), Some(&kept), &site.stand.context).is_none());
    let texts = site.stand.texts();
    assert!(texts[0].starts_with(FORGETS) && texts[0].contains("another sipknock"), "{texts:?}");
    assert_eq!(site.stand.gate().doors().state(source(1), site.stand.now()), DoorState::Open);
}

#[test]
fn a_damaged_file_is_set_aside_and_said() {
    let site = Site::new();
    fs::write(site.path(), "no doors").unwrap();
    DoorPersister::start(&site.path(), None, &site.stand.context).unwrap().finish();
    let texts = site.stand.texts();
    assert!(texts.len() == 1 && texts[0].contains("the doors of before are lost"), "{texts:?}");
    assert_eq!(
        (fs::read(site.folder.path().join("doors.damaged")).unwrap(), site.saved()),
        (b"no doors".to_vec(), 0)
    );
}

#[test]
fn the_file_of_a_gate_that_ends_is_waited_for() {
    let site = Site::new();
    let other = StateFile::take(&site.path()).unwrap();
    let persister = DoorPersister::follow(&site.path(), &site.stand.context).unwrap();
    let counts = persister.counts();
    site.open_door(1);
    // It is too long for the patience of the log by now, and still no fault.
    let warned = Mutex::new(Vec::new());
    eventually(|| {
        site.stand.hand.advance(Duration::from_secs(1));
        warned.lock().unwrap().extend(site.stand.texts());
        !warned.lock().unwrap().is_empty()
    });
    let warned = warned.into_inner().unwrap();
    assert!(warned.len() == 1 && warned[0].contains("doors are not kept yet"), "{warned:?}");
    drop(other);
    eventually(|| counts.writes.load(Ordering::Relaxed) == 1);
    persister.finish();
    assert_eq!(site.saved(), 1);

    // One that ends before the other does writes nothing.
    let other = StateFile::take(&site.path()).unwrap();
    let persister = DoorPersister::follow(&site.path(), &site.stand.context).unwrap();
    let counts = persister.counts();
    thread::scope(|scope| scope.spawn(|| persister.finish()).join().unwrap());
    assert_eq!(counts.writes.load(Ordering::Relaxed), 0);
    drop(other);
}

#[test]
fn doors_by_hand_are_kept_as_well() {
    let site = Site::new();
    let (file, mut work) = (StateFile::take(&site.path()).unwrap(), site.work());
    let grant = Grant { knock: Door::by_hand(), life: Duration::from_secs(60), registration: None };
    site.stand.gate().doors().knock(source(1), site.stand.now(), &[grant]);
    work.write_if_due(&file, false);
    site.stand.gate().outbound().mark(source(2), site.stand.now(), Duration::from_secs(60));
    site.stand.hand.advance(INTERVAL);
    work.write_if_due(&file, false);
    assert_eq!((counts(&work), site.saved()), ((2, 0), 1), "a mark is a change, too");
}
