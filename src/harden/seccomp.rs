//! System calls that are left: seccomp(2).
//!
//! Three filters, of which the stricter answer counts (Documentation/userspace-api/seccomp_filter.rst).
//!
//! - [`calls::NEEDED`] pass. Any other call fails with `ENOSYS`, as if the kernel were too old for it, which every libc has
//!   an answer to: `clone3` becomes `clone`, `openat2` becomes `openat`. So a call that a new libc makes and nobody foresaw
//!   costs what depended on it, and not all phones their door-keeper; the kernel's log has its number.
//! - [`calls::TRIED`] fail in that way even where any other call ends the process.
//! - [`calls::INTRUDERS`] end the process: no gate ever starts a program, traces another process or mounts anything, so
//!   there is no gate any more that could go on. systemd starts a new one, with the doors of the old.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod calls;

use std::io;

use crate::config::Seccomp;

/// Why system calls can't be filtered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    /// Nobody has written down what libraries call on this processor.
    #[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), expect(dead_code))]
    #[error("there is no list of calls for this processor, {}", std::env::consts::ARCH)]
    Processor,
    /// The kernel would not have it.
    #[error("this kernel has no seccomp filters ({0})")]
    Kernel(io::Error),
    /// The list can't be compiled.
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code))]
    #[error("the filter can't be made: {0}. Please report this")]
    Filter(String),
}

/// Leaves this process, in all its threads and for good, with the calls that it needs: also for a little page over HTTP,
/// where there is `http`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn install(strictness: Seccomp, http: bool) -> Result<(), Unavailable> {
    use seccompiler::SeccompAction::{Allow, Errno, KillProcess};

    let unknown = Errno(libc::ENOSYS.unsigned_abs());
    let otherwise = match strictness {
        Seccomp::Off => return Ok(()),
        Seccomp::Kill => KillProcess,
        Seccomp::Deny => unknown.clone(),
    };
    let fit = |error: seccompiler::BackendError| Unavailable::Filter(error.to_string());
    for (calls, mismatch, matched, log) in [
        (calls::intruders(), Allow, KillProcess, true),
        // Each thread that starts would be a line.
        (Ok(calls::tried()), Allow, unknown, false),
        (calls::needed(http), otherwise, Allow, true),
    ] {
        let arch = std::env::consts::ARCH.try_into().map_err(fit)?;
        let filter = seccompiler::SeccompFilter::new(calls.map_err(fit)?, mismatch, matched, arch);
        let program: seccompiler::BpfProgram = filter.and_then(TryInto::try_into).map_err(fit)?;
        let program: Vec<_> = program
            .iter()
            .map(|step| libc::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k })
            .collect();
        crate::sys::filter_system_calls(&program, log).map_err(Unavailable::Kernel)?;
    }
    Ok(())
}

/// As above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn install(strictness: Seccomp, _http: bool) -> Result<(), Unavailable> {
    match strictness {
        Seccomp::Off => Ok(()),
        Seccomp::Deny | Seccomp::Kill => Err(Unavailable::Processor),
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
