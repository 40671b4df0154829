//! Files out of reach: Landlock (Documentation/userspace-api/landlock.rst).

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, make_bitflags,
};
use std::mem;
use std::path::Path;

use super::paths::{HardenPaths, folder_of, real_folder_of};

/// Leaves this thread, and those that it starts, with the folders of the configuration and of secrets to read, those of
/// state, socket and learned knocks to write, and what the kernel says of its queues. It also keeps TCP from being spoken,
/// but for listening where metrics and the status page are.
///
/// Whole folders, since an editor puts another file in the place of the old one, and so does the gate.
///
/// Returns whether the kernel keeps to it.
pub(super) fn restrict(places: &HardenPaths) -> Result<bool, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()?;
    for file in &places.read {
        rules = allow(rules, folder_of(file), READ)?;
        if let Some(folder) = real_folder_of(file) {
            rules = allow(rules, &folder, READ)?;
        }
    }
    for path in KERNEL {
        rules = allow(rules, Path::new(path), READ)?;
        // The rule is tied to an inode, which procfs makes anew once nobody has it open and memory is short.
        if let Ok(open) = PathFd::new(path) {
            mem::forget(open);
        }
    }
    if let Some(port) = places.port {
        rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
    }
    for folder in places.written() {
        rules = allow(rules, folder, WRITE)?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// What is not there need not be allowed.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(opened) => {
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
            rules.add_rule(PathBeneath::new(opened, access))
        }
        Err(_) => Ok(rules),
    }
}

/// What is handled where the kernel knows it; an older one does with less.
const NEWEST: ABI = ABI::V6;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// A new file is written beside the old one and renamed; sockets are taken out at the end.
const WRITE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeSock | RemoveFile});

/// This process itself, with the counters of its queues and its own descriptors; and which boot this is, for the doors'
/// file.
const KERNEL: [&str; 2] = ["/proc/self", "/proc/sys/kernel/random/boot_id"];
