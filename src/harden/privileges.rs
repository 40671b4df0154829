//! User, groups and capabilities.

use std::io;

use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, geteuid, getppid, parent_process_death_signal,
    set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::error::HardenError;
use super::user::Identity;

/// Leaves this thread, and those that it starts, with one user's rights and CAP_NET_ADMIN, for good. The verdicts need
/// that one: the kernel asks for it with every message to a queue (`nfnetlink_rcv` in net/netfilter/nfnetlink.c).
pub(super) fn reduce(identity: &Identity) -> Result<(), HardenError> {
    let death = parent_process_death_signal().ok().flatten();
    let parent = getppid();
    only(NEEDED, identity)?;
    set_no_new_privs(true).map_err(system("refuse new privileges"))?;
    keep_memory_to_itself()
        .map_err(|error| HardenError::System { what: "keep its memory to itself", error })?;
    // Who becomes somebody else loses it (PR_SET_PDEATHSIG(2const)), and the parent may have died in between.
    if death.is_some() {
        set_parent_process_death_signal(death).map_err(system("end with its parent"))?;
        if getppid() != parent {
            std::process::exit(1);
        }
    }
    Ok(())
}

/// Nobody but root reads this process's memory, alive or as a core file: secrets are in it.
///
/// # Errors
/// As prctl(2).
pub fn keep_memory_to_itself() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Once more, for kernels that pipe cores into a program. A service's own filter may not let limits be set.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    Ok(())
}

/// Leaves this process, and the iptables that it starts, with what that needs and nothing else.
///
/// # Errors
/// Where the system refuses.
pub fn keep_to_iptables() -> Result<(), HardenError> {
    // Whoever is not root hands his capabilities on to iptables by sets that this would clear.
    if !geteuid().is_root() {
        return Ok(());
    }
    let identity = Identity::Stay { name: String::new(), warning: None };
    only(CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW, &identity)
}

/// Leaves no more than these capabilities, in every set.
fn only(kept: CapabilitySet, identity: &Identity) -> Result<(), HardenError> {
    // A kernel that has no ambient set has nothing in it.
    let _ = clear_ambient_capability_set();
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // The first number that the kernel does not know ends them.
        let Ok(bound) = capability_is_in_bounding_set(capability) else { break };
        if bound && !kept.contains(capability) {
            match remove_capability_from_bounding_set(capability) {
                // Who lacks CAP_SETPCAP has no capability to gain either, for want of new privileges.
                Ok(()) | Err(rustix::io::Errno::PERM) => {}
                Err(error) => return Err(system("cut the bounding set")(error)),
            }
        }
    }
    match identity {
        Identity::Become { uid, gid, .. } => {
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            set_keep_capabilities(true).map_err(system("keep capabilities"))?;
            set_thread_groups(&[]).map_err(system("leave all groups"))?;
            set_thread_res_gid(gid, gid, gid).map_err(system("take the user's group"))?;
            set_thread_res_uid(uid, uid, uid).map_err(system("become the user"))?;
            set_keep_capabilities(false).map_err(system("keep no capabilities"))?;
        }
        // Whoever may not leave them was given them by somebody who may.
        Identity::Stay { .. } => _ = set_thread_groups(&[]),
    }
    let own = capabilities(None).map_err(system("look at its capabilities"))?;
    let permitted = own.permitted & kept;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    match set_capabilities(None, sets) {
        // A service's own filter may not let it. Where there is nothing to give up, what could be inherited does not
        // matter: a gate starts no program.
        Err(rustix::io::Errno::PERM) if kept.contains(own.permitted) => Ok(()),
        outcome => outcome.map_err(system("give capabilities up")),
    }
}

/// The capabilities that this thread may use, by name.
pub(super) fn capabilities_left() -> Result<Vec<String>, HardenError> {
    let own = capabilities(None).map_err(system("look at its capabilities"))?;
    Ok(own.permitted.iter_names().map(|(name, _)| format!("CAP_{name}")).collect())
}

fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> HardenError {
    move |error| HardenError::System { what, error: error.into() }
}

const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN;
