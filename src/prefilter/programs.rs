//! The programs and maps of one gate, in the kernel.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::class::Class;
use super::layout::{self, CONTROL_WORDS, LEVEL_WORDS, LEVELS};
use super::object::{self, BadObject, MapUse};
use crate::knock::gram_filter::GramFilter;
use crate::sys::bpf::{self, SharedArray};

/// A loaded filter: programs that no rule names as long as they are not pinned.
#[derive(Debug)]
pub struct Prefilter {
    search: OwnedFd,
    levels: SharedArray,
    control: SharedArray,
}

/// Why there is no filter in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A map can't be made.
    #[error("the kernel makes no map of {bytes} bytes for the filter: {source}")]
    Map {
        /// Its size.
        bytes: usize,
        /// The kernel's word.
        source: io::Error,
    },
    /// The kernel's verifier refused a program, or there is no right to load any.
    #[error("the kernel does not load the filter: {source}{}{log}", if log.is_empty() { "" } else { ": " })]
    Program {
        /// The kernel's word.
        source: io::Error,
        /// The last line of what its verifier said.
        log: String,
    },
    /// The program in this build is broken.
    #[error(transparent)]
    Object(#[from] BadObject),
}

impl LoadError {
    /// Whether the right to load programs is missing: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
    pub fn is_for_want_of_rights(&self) -> bool {
        let kind = match self {
            Self::Map { source, .. } | Self::Program { source, .. } => source.kind(),
            Self::Object(_) => return false,
        };
        kind == io::ErrorKind::PermissionDenied
    }
}

/// The outcome of a trial run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The class of the packet.
    pub class: Class,
    /// Nanoseconds of a run, the mean of all.
    pub nanos: u32,
}

impl Prefilter {
    /// Loads the programs. Each packet is a hit until the first [`Prefilter::fill`].
    ///
    /// # Errors
    /// Without the rights, on kernels that lack something, and on big-endian machines.
    pub fn load() -> Result<Self, LoadError> {
        let (levels_map, levels) = array(c"sipknock_levels", LEVEL_WORDS, LEVELS)?;
        let (control_map, control) = array(c"sipknock_control", CONTROL_WORDS, 1)?;
        control.words().iter().for_each(|word| word.store(EVERYTHING, Ordering::Release));
        let maps =
            [("levels", MapUse::Array(levels_map.as_fd())), ("control", MapUse::Value(control_map.as_fd()))];
        let search = load(c"sipknock_search", &object::link(SEARCH, &maps)?)?;
        Ok(Self { search, levels, control })
    }

    /// Has the programs search for other knocks. While they are exchanged each packet is a hit.
    pub fn fill(&mut self, filter: &GramFilter) {
        let Some(control) = self.control.words().first() else { return };
        let active = control.load(Ordering::Relaxed) & 1;
        let idle = active ^ 1;
        control.store(active | EVERYTHING, Ordering::SeqCst);
        // A program that began before may still read the half that was active before the last exchange.
        bpf::wait_for_programs();
        if let Some(half) = self.levels.words().chunks_exact(2 * LEVEL_WORDS).nth(idle as usize) {
            layout::write(half, filter);
        }
        control.store(idle, Ordering::Release);
    }

    /// Makes each packet a hit, or ends that.
    pub fn set_everything(&mut self, everything: bool) {
        let Some(control) = self.control.words().first() else { return };
        let active = control.load(Ordering::Relaxed) & 1;
        control.store(if everything { active | EVERYTHING } else { active }, Ordering::Release);
    }

    /// Gives the programs names in a folder of a bpffs, by which rules find them.
    ///
    /// # Errors
    /// If the folder is of another file system, has such names already, or is not writable.
    pub fn pin(&self, folder: &Path) -> io::Result<()> {
        let path = CString::new(folder.join(SEARCH_NAME).into_os_string().into_vec())?;
        bpf::pin(self.search.as_fd(), &path)
    }

    /// Another way to the same program, for a thread of its own.
    ///
    /// # Errors
    /// As fcntl(2): if there are too many descriptors.
    pub fn runner(&self) -> io::Result<SearchRunner> {
        self.search.try_clone().map(SearchRunner)
    }

    /// As [`SearchRunner::trial`].
    ///
    /// # Errors
    /// As there.
    pub fn trial(&self, packet: &[u8], repeat: u32) -> io::Result<Trial> {
        trial(self.search.as_fd(), packet, repeat)
    }
}

/// The program that searches, to be run by hand.
#[derive(Debug)]
pub struct SearchRunner(OwnedFd);

impl SearchRunner {
    /// Runs the program on a packet, from its IP header on, so many times. No packet is sent or received.
    ///
    /// # Errors
    /// On packets of less than 20 bytes or more than [`MAX_TRIAL`], and as bpf(2).
    pub fn trial(&self, packet: &[u8], repeat: u32) -> io::Result<Trial> {
        trial(self.0.as_fd(), packet, repeat)
    }
}

fn trial(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> io::Result<Trial> {
    let kind = if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
    let frame = [&[0; 12][..], &kind, packet].concat();
    let run = bpf::trial_run(program, &frame, repeat)?;
    let class = Class::of_result(run.result);
    let class = class.ok_or_else(|| io::Error::other(format!("the program returned {}", run.result)))?;
    Ok(Trial { class, nanos: run.nanos })
}

/// An array of so many values of so many words, and its memory.
fn array(name: &CStr, words: usize, values: usize) -> Result<(OwnedFd, SharedArray), LoadError> {
    let bytes = words * values * size_of::<u64>();
    let error = |source| LoadError::Map { bytes, source };
    let size = |number: usize| u32::try_from(number).map_err(|_| error(io::ErrorKind::InvalidInput.into()));
    let map = bpf::create_array(name, size(words * size_of::<u64>())?, size(values)?).map_err(error)?;
    let memory = SharedArray::map(map.as_fd(), words * values).map_err(error)?;
    Ok((map, memory))
}

/// Loads a program, a second time if it fails, for the kernel's reason: writing it down takes longer than loading.
fn load(name: &CStr, instructions: &[u64]) -> Result<OwnedFd, LoadError> {
    let source = match bpf::load_socket_filter(name, instructions, &mut []) {
        Ok(program) => return Ok(program),
        Err(source) => source,
    };
    let mut log = vec![0; LOG];
    // The log of a program that is refused is never empty, and that of another error stays so.
    let _ = bpf::load_socket_filter(name, instructions, &mut log);
    let log = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let last = log.lines().rev().find(|line| !line.starts_with("processed ")).unwrap_or_default();
    Err(LoadError::Program { source, log: last.to_owned() })
}

/// The longest packet of a trial, in bytes: a page less what the kernel puts around it.
pub const MAX_TRIAL: usize = 3_586;

/// The name of the pinned program that searches.
pub const SEARCH_NAME: &str = "search";

const SEARCH: &str = include_str!("search.bpf");

/// `control.everything`, in the upper half of the word.
const EVERYTHING: u64 = 1 << 32;

/// EtherTypes.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Enough for the end of what the verifier says, which is its reason, of most programs.
const LOG: usize = 16 << 20;
