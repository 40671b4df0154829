//! System calls that no safe library has, or not with what they need.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For one datagram, as long as the socket's receive timeout.
    ForOne,
    /// Not at all.
    Never,
}

/// How many datagrams one call takes at most.
pub(crate) const MAX_BATCH: usize = 32;

/// Takes all datagrams that are there, after waiting for one if it may: the first into the first `stride` bytes of
/// `slots` and so on. Writes how long each is, and returns how many.
///
/// # Errors
/// As recvmmsg(2).
pub(crate) fn receive_batch(
    socket: BorrowedFd<'_>,
    slots: &mut [u8],
    stride: usize,
    lengths: &mut [usize; MAX_BATCH],
    wait: Wait,
) -> io::Result<usize> {
    // SAFETY: both are plain C structures of numbers and pointers, for which all bits zero is a valid value.
    let (mut vectors, mut headers): ([libc::iovec; MAX_BATCH], [libc::mmsghdr; MAX_BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut count = 0;
    for ((slot, vector), header) in slots.chunks_exact_mut(stride).zip(&mut vectors).zip(&mut headers) {
        vector.iov_base = slot.as_mut_ptr().cast();
        vector.iov_len = slot.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers each point at one vector, which points at a slot of its own; vectors and
    // slots live longer than the call and nothing else touches them during it. The name and control pointers are
    // null with length 0, and so is the timeout. The kernel writes within the lengths given.
    let received = unsafe {
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Never => libc::MSG_DONTWAIT,
        };
        libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (length, header) in lengths.iter_mut().zip(&headers).take(received) {
        *length = header.msg_len as usize;
    }
    Ok(received)
}

/// Tells a netlink socket to keep going when its receive buffer overflows, instead of reporting `ENOBUFS`: the
/// kernel counts each lost packet as `user_dropped` either way.
///
/// # Errors
/// As setsockopt(2).
pub(crate) fn ignore_overruns(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is an int that lives longer than the call, given with its size.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_NO_ENOBUFS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Owns a descriptor that this process was started with, and that nothing else in it knows of.
///
/// # Errors
/// As fcntl(2): `EBADF` where the number is not an open descriptor.
pub(crate) fn inherit(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with this call, and the kernel checks the number.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) })?;
    // SAFETY: it is open, and by the caller's word nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A second descriptor for a socket that a library keeps to itself.
///
/// # Errors
/// As fcntl(2): `EBADF` where the number is not an open descriptor.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with this call, and the kernel checks the number. Where it names another descriptor
    // than the caller meant, what comes out is a duplicate of that one, owned like any.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

/// Keeps a descriptor that a library opened without `O_CLOEXEC` from the programs that this process starts.
///
/// # Errors
/// As fcntl(2): `EBADF` where the number is not an open descriptor.
pub(crate) fn close_on_exec(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: the borrow ends with this call, and the kernel checks the number. Where it names another descriptor than the
    // caller meant, that one is not inherited, as all of this crate are not.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?)
}

/// Puts a filter in front of the system calls of all threads, for good, on top of those that are there. It is to be had
/// with no new privileges only (`no_new_privs`).
///
/// With `log`, refusals are logged by the kernel. Processors are not slowed down against what other code in the process could learn
/// by speculation, as old kernels do with every filter: there is no other code.
///
/// # Errors
/// As seccomp(2): `EINVAL` or `ENOSYS` where the kernel has no filters.
pub(crate) fn filter_system_calls(program: &[libc::sock_filter], log: bool) -> io::Result<()> {
    let length = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the program is `len` instructions that live longer than the call, and the kernel reads them only. It
        // refuses what is no program; what it takes changes the results of system calls, each of which may fail anyway.
        match unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        } {
            0 => Ok(()),
            -1 => Err(io::Error::last_os_error()),
            thread => Err(io::Error::other(format!("thread {thread} has another filter"))),
        }
    };
    // Linux 4.14 and 4.17 brought these; the others are of 3.17.
    let log = if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    let wanted = log | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    install(libc::SECCOMP_FILTER_FLAG_TSYNC | wanted).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => install(libc::SECCOMP_FILTER_FLAG_TSYNC),
        _ => Err(error),
    })
}

/// The number of the network namespace that a socket is in: never used twice until the next boot, as its inode is.
///
/// # Errors
/// As getsockopt(2): `ENOPROTOOPT` before Linux 5.14.
pub(crate) fn namespace_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the number, and how many to `length`; both live longer than the
    // call, and every pattern of bits is a number.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// The same on all architectures but those that this crate has no filter for (include/uapi/asm-generic/socket.h).
const SO_NETNS_COOKIE: libc::c_int = 71;
