//! Programs and maps in the kernel: bpf(2), and the memory of maps.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;

/// Makes an array whose memory a process can map, of so many values of so many bytes.
///
/// # Errors
/// As bpf(2): `EPERM` without CAP_BPF, `ENOMEM`.
pub(crate) fn create_array(name: &CStr, value_size: u32, values: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type: ARRAY,
        key_size: 4,
        value_size,
        max_entries: values,
        map_flags: MMAPABLE,
        inner_map_fd: 0,
        numa_node: 0,
        map_name: short_name(name),
    };
    // SAFETY: the attributes are those of this command, and hold no pointers.
    unsafe { bpf(MAP_CREATE, &mut attributes) }.map(owned)
}

/// Loads a socket filter. What the kernel's verifier says of a program that it refuses is written to `log`, ended by a 0.
///
/// # Errors
/// As bpf(2): `EPERM` without CAP_BPF, `EACCES` or `EINVAL` if the verifier refuses it.
pub(crate) fn load_socket_filter(name: &CStr, instructions: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    let count = instructions.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut attributes = ProgramLoad {
        prog_type: SOCKET_FILTER,
        insn_cnt: count,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: LICENCE.as_ptr().expose_provenance() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len().try_into().unwrap_or(u32::MAX),
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name: short_name(name),
    };
    // SAFETY: the attributes are those of this command. The instructions are `insn_cnt` words of 8 bytes, the licence ends
    // with a 0, and the kernel only reads them. It writes at most `log_size` bytes to the log. All live longer than the call.
    unsafe { bpf(PROGRAM_LOAD, &mut attributes) }.map(owned)
}

/// Gives a map or a program a name in a bpffs.
///
/// # Errors
/// As bpf(2): `EEXIST` if there is such a file, `EPERM` if the file system is none of bpf.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attributes = PinAttributes {
        pathname: path.as_ptr().expose_provenance() as u64,
        bpf_fd: object.as_raw_fd().cast_unsigned(),
        file_flags: 0,
    };
    // SAFETY: the attributes are those of this command; the path ends with a 0, is only read, and lives longer than the call.
    unsafe { bpf(OBJECT_PIN, &mut attributes) }.map(drop)
}

/// The outcome of a trial run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrialRun {
    /// The program's last result.
    pub(crate) result: u32,
    /// Nanoseconds of a run, the mean of all.
    pub(crate) nanos: u32,
}

/// Runs a socket filter on a packet that begins with an Ethernet header, so many times. The filter sees what is behind that
/// header.
///
/// # Errors
/// As bpf(2): `EINVAL` for less than an Ethernet header, or more than nearly a page.
pub(crate) fn trial_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<TrialRun> {
    let mut attributes = TestRun {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        retval: 0,
        data_size_in: frame.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        data_size_out: 0,
        data_in: frame.as_ptr().expose_provenance() as u64,
        data_out: 0,
        repeat,
        duration: 0,
        ctx_size_in: 0,
        ctx_size_out: 0,
        ctx_in: 0,
        ctx_out: 0,
        flags: 0,
        cpu: 0,
    };
    // SAFETY: the attributes are those of this command. The kernel reads `data_size_in` bytes of the frame, which lives longer
    // than the call, and writes no data out.
    unsafe { bpf(PROGRAM_TEST_RUN, &mut attributes) }?;
    Ok(TrialRun { result: attributes.retval, nanos: attributes.duration })
}

/// The memory of an array, shared with the programs that read it.
#[derive(Debug)]
pub(crate) struct SharedArray {
    start: *const AtomicU64,
    words: usize,
}

// SAFETY: all access is by atomic operations, and the mapping belongs to no thread.
unsafe impl Send for SharedArray {}
// SAFETY: as above.
unsafe impl Sync for SharedArray {}

impl SharedArray {
    /// Maps the first `words` words of an array that was made with so many or more.
    ///
    /// # Errors
    /// As mmap(2).
    pub(crate) fn map(array: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        let length = words.checked_mul(size_of::<u64>()).filter(|length| *length > 0);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at a place of the kernel's choice replaces none.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                array.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast_const().cast(), words })
    }

    /// All of it.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins at a page, has `words` words, and lives as long as `self`. The kernel refuses a mapping
        // beyond the end of the array, which never shrinks. Every pattern of bits is a number, and nobody in this process has
        // it other than by atomic operations.
        unsafe { std::slice::from_raw_parts(self.start, self.words) }
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: it was mapped with that length, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.words * size_of::<u64>()) };
    }
}

/// Waits until each program that runs now has ended. On a kernel with a single processor, and one that has processors without
/// a tick, it does not wait.
pub(crate) fn wait_for_programs() {
    // SAFETY: the call has no pointers. It changes nothing; the kernel waits for an RCU period (kernel/sched/membarrier.c).
    unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

/// Calls bpf(2).
///
/// # Safety
/// The attributes must be those of the command, and their pointers valid as it uses them.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the attributes live longer than the call, are given with their size, and are what the caller promises.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    RawFd::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it, and nobody else knows of it. It has close-on-exec.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// The first 15 bytes of a name, and zeros.
fn short_name(name: &CStr) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().take(15).zip(name.to_bytes()).for_each(|(to, from)| *to = *from);
    short
}

// The beginnings of `union bpf_attr` (include/uapi/linux/bpf.h). The kernel takes what is not given as 0.

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct PinAttributes {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

const MAP_CREATE: libc::c_long = 0;
const PROGRAM_LOAD: libc::c_long = 5;
const OBJECT_PIN: libc::c_long = 6;
const PROGRAM_TEST_RUN: libc::c_long = 10;

const ARRAY: u32 = 2;
const MMAPABLE: u32 = 1 << 10;
const SOCKET_FILTER: u32 = 1;

/// The programs call no function that is for the GPL alone.
const LICENCE: &CStr = c"MIT OR Apache-2.0";
