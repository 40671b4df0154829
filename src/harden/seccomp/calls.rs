//! Which system calls a gate needs, by whom, and which nobody but an intruder makes.
//!
//! What is needed was found by tests/root/harden.rs, which takes gates through their lives with `seccomp = "kill"`. Added to
//! that is what other versions of glibc, and musl, call for the same: some names stand here for a library that the tests
//! don't run with.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

/// Calls, and for some of them the arguments that they may have: any of the rules. Without a rule: any arguments.
type Calls = BTreeMap<c_long, Vec<SeccompRule>>;

/// Whatever the gate's threads call, those for a page over HTTP among them where there is one.
pub(super) fn needed(http: bool) -> Result<Calls, BackendError> {
    let mut calls: Calls = plain(&[NEEDED, &[TRIED]].concat());
    for (call, rule) in [
        // A queue that is bound again; the control socket, the journal, systemd. No packet ever leaves through a socket.
        (libc::SYS_socket, vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_NETFILTER)?]),
        // The kernel's list of connections.
        (libc::SYS_socket, vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_SOCK_DIAG)?]),
        (libc::SYS_socket, vec![is(0, libc::AF_UNIX)?]),
        (libc::SYS_socketpair, vec![is(0, libc::AF_UNIX)?]),
        // Threads, and no processes.
        (libc::SYS_clone, vec![has(0, libc::CLONE_THREAD)?]),
        // Memory that can be executed is for those who bring code along.
        (libc::SYS_mmap, vec![has_not(2, libc::PROT_EXEC)?]),
        (libc::SYS_mprotect, vec![has_not(2, libc::PROT_EXEC)?]),
        // Sockets that do not block; whether the log is a terminal. Not TIOCSTI, which types into one.
        (libc::SYS_ioctl, vec![is(1, FIONBIO)?]),
        (libc::SYS_ioctl, vec![is(1, FIONREAD)?]),
        (libc::SYS_ioctl, vec![is(1, TCGETS)?]),
        (libc::SYS_ioctl, vec![is(1, TCGETS2)?]),
        (libc::SYS_ioctl, vec![is(1, TIOCGWINSZ)?]),
        // Names of threads, and of their memory (glibc 2.39).
        (libc::SYS_prctl, vec![is(0, libc::PR_SET_NAME)?]),
        (libc::SYS_prctl, vec![is(0, libc::PR_SET_VMA)?]),
        // A thread's stack is as large as the limit says: asked, and not set.
        (libc::SYS_prlimit64, vec![null(2)?]),
        // An end by abort(3): to itself.
        (libc::SYS_tgkill, vec![is(0, own_pid())?]),
    ] {
        calls.entry(call).or_default().push(SeccompRule::new(rule)?);
    }
    if http {
        // Where its address can't be had yet, it is asked for again.
        for family in [libc::AF_INET, libc::AF_INET6] {
            let rule = SeccompRule::new(vec![is(0, family)?, stream(1)?, is(2, 0)?])?;
            calls.entry(libc::SYS_socket).or_default().push(rule);
        }
    }
    Ok(calls)
}

/// What fails as if the kernel had no such call, whatever becomes of others.
pub(super) fn tried() -> Calls {
    plain(&[TRIED])
}

/// What ends the process.
pub(super) fn intruders() -> Result<Calls, BackendError> {
    let mut calls = plain(INTRUDERS);
    calls.insert(libc::SYS_clone, vec![SeccompRule::new(vec![has_not(0, libc::CLONE_THREAD)?])?]);
    Ok(calls)
}

fn plain(groups: &[&[c_long]]) -> Calls {
    groups.iter().copied().flatten().map(|call| (*call, Vec::new())).collect()
}

/// What libraries try first and then do without. The flags of clone3 can't be seen from here; glibc 2.34 and newer then
/// makes its threads with clone.
const TRIED: &[c_long] = &[libc::SYS_clone3];

const NEEDED: &[&[c_long]] = &[
    // Queues, control clients, the journal, systemd's notifications, and the little page's HTTP. Sockets are handed to a
    // successor over sendmsg and recvmsg.
    &[
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_getpeername,
        libc::SYS_getsockname,
        libc::SYS_getsockopt,
        libc::SYS_listen,
        libc::SYS_recvfrom,
        libc::SYS_recvmmsg,
        libc::SYS_recvmsg,
        libc::SYS_sendmmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_setsockopt,
        libc::SYS_shutdown,
    ],
    // Waiting for them: ours and std's with poll, tokio's with epoll.
    &[
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
    ],
    // What can be done with any descriptor. A long line for the journal goes there as a file in memory.
    &[
        libc::SYS_close,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_memfd_create,
        libc::SYS_pidfd_open,
        libc::SYS_pipe2,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
    ],
    // The configuration, /proc, the file of doors, learned knocks. Landlock and the user's rights say where.
    &[
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fdatasync,
        libc::SYS_flock,
        libc::SYS_fstat,
        libc::SYS_fsync,
        libc::SYS_ftruncate,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_lseek,
        libc::SYS_mkdirat,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_readlinkat,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_statx,
        libc::SYS_unlinkat,
    ],
    // Memory: malloc of glibc and of musl, stacks of threads.
    &[libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mremap, libc::SYS_munmap],
    // Threads: locks, their beginning and end, signals that come in.
    &[
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_get_robust_list,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_sigaltstack,
        // musl's abort and raise.
        libc::SYS_tkill,
    ],
    // Time, where the kernel's page for it (vdso(7)) does not answer; sleep; the seeds of hash tables.
    &[
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_getrandom,
        libc::SYS_gettimeofday,
        libc::SYS_nanosleep,
    ],
    // Who am I and where; glibc's sort asks how much memory there is.
    &[
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getuid,
        libc::SYS_sysinfo,
        libc::SYS_uname,
    ],
    OLDER,
];

/// What newer architectures have only in the longer form: glibc and musl call the short one where there is one.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];

#[cfg(target_arch = "aarch64")]
const OLDER: &[c_long] = &[];

const INTRUDERS: &[&[c_long]] = &[
    // Other programs, other processes.
    &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
    ],
    // The tree of files, namespaces.
    &[
        libc::SYS_chroot,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_mknodat,
        libc::SYS_mount,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_open_tree,
        libc::SYS_pivot_root,
        libc::SYS_setns,
        libc::SYS_umount2,
        libc::SYS_unshare,
    ],
    // Another kernel, and doors into this one.
    &[
        libc::SYS_add_key,
        libc::SYS_bpf,
        libc::SYS_delete_module,
        libc::SYS_finit_module,
        libc::SYS_init_module,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_setup,
        libc::SYS_kexec_file_load,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
        libc::SYS_request_key,
        libc::SYS_userfaultfd,
    ],
    // Other rights.
    &[
        libc::SYS_capset,
        libc::SYS_personality,
        libc::SYS_setfsgid,
        libc::SYS_setfsuid,
        libc::SYS_setgid,
        libc::SYS_setgroups,
        libc::SYS_setregid,
        libc::SYS_setresgid,
        libc::SYS_setresuid,
        libc::SYS_setreuid,
        libc::SYS_setuid,
    ],
    // The whole machine.
    &[
        libc::SYS_acct,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_clock_settime,
        libc::SYS_quotactl,
        libc::SYS_reboot,
        libc::SYS_setdomainname,
        libc::SYS_sethostname,
        libc::SYS_settimeofday,
        libc::SYS_swapoff,
        libc::SYS_swapon,
        libc::SYS_syslog,
        libc::SYS_vhangup,
    ],
    OLDER_INTRUDERS,
];

#[cfg(target_arch = "x86_64")]
const OLDER_INTRUDERS: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_vfork,
];

#[cfg(target_arch = "aarch64")]
const OLDER_INTRUDERS: &[c_long] = &[];

/// An argument of 32 bits that has this value.
fn is(argument: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, Eq, u64::from(value.cast_unsigned()))
}

/// A type of socket that is a stream, whatever flags there are with it (include/linux/net.h, `SOCK_TYPE_MASK`).
fn stream(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, MaskedEq(0xf), u64::from(libc::SOCK_STREAM.cast_unsigned()))
}

/// An argument that has all of these bits.
fn has(argument: u8, bits: libc::c_int) -> Result<SeccompCondition, BackendError> {
    let bits = u64::from(bits.cast_unsigned());
    SeccompCondition::new(argument, Dword, MaskedEq(bits), bits)
}

/// An argument that has none of them.
fn has_not(argument: u8, bits: libc::c_int) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, MaskedEq(u64::from(bits.cast_unsigned())), 0)
}

/// A pointer to nothing.
fn null(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Qword, Eq, 0)
}

fn own_pid() -> libc::c_int {
    rustix::process::getpid().as_raw_pid()
}

// The same on both architectures (include/uapi/asm-generic/ioctls.h); libraries have them as numbers of different types.
const TCGETS: libc::c_int = 0x5401;
const TIOCGWINSZ: libc::c_int = 0x5413;
const FIONREAD: libc::c_int = 0x541b;
const FIONBIO: libc::c_int = 0x5421;
const TCGETS2: libc::c_int = 0x802c_542a_u32.cast_signed();
