//! The vectorscan library, by its C interface (hs_compile.h, hs_runtime.h; version 5.2 and later).
//!
//! A module of its own for its `unsafe`, which no other build has.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ptr::{self, NonNull};

use super::compiled::{Compiled, Search, timed};
use super::unfit::Unfit;
use crate::bench::style::BenchPattern;

pub(super) fn compile(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    let (database, took) = timed(|| Database::new(wanted));
    let searcher = Vectorscan::new(database?)?;
    let memory = searcher.memory();
    Ok(Compiled::new(searcher, memory, took))
}

pub(super) fn version() -> String {
    // SAFETY: the library returns a pointer to a constant string.
    unsafe { text(hs_version()) }
}

/// Compiled knocks.
struct Database(NonNull<HsDatabase>);

impl Database {
    fn new(wanted: &[BenchPattern]) -> Result<Self, Unfit> {
        let count = c_uint::try_from(wanted.len()).map_err(|_| Unfit::TooMany)?;
        let texts: Vec<*const c_char> = wanted.iter().map(|knock| knock.bytes.as_ptr().cast()).collect();
        let lengths: Vec<usize> = wanted.iter().map(|knock| knock.bytes.len()).collect();
        let caseless = |knock: &BenchPattern| if knock.ignore_case { HS_FLAG_CASELESS } else { 0 };
        // Once for each packet is enough, and spares it the rest.
        let flags: Vec<_> = wanted.iter().map(|knock| caseless(knock) | HS_FLAG_SINGLEMATCH).collect();
        let places: Vec<_> = (0..count).collect();
        let (mut database, mut error) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the four arrays have `count` elements each, and each text as many bytes as its length says. All of
        // it lives longer than the call, which keeps none of it. No platform stands for this one. The library writes a
        // pointer to the database, or one to an error, which is null or to be given back.
        let status = unsafe {
            hs_compile_lit_multi(
                texts.as_ptr(),
                flags.as_ptr(),
                places.as_ptr(),
                lengths.as_ptr(),
                count,
                HS_MODE_BLOCK,
                ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        let message = NonNull::new(error).map(|error| {
            // SAFETY: the library has written the error, with a string in it, and nothing else has its pointer.
            unsafe {
                let message = text(error.as_ref().message);
                hs_free_compile_error(error.as_ptr());
                message
            }
        });
        match NonNull::new(database) {
            Some(database) if status == HS_SUCCESS => Ok(Self(database)),
            _ => Err(Unfit::Failed(message.unwrap_or_else(|| format!("vectorscan's error {status}")))),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the library made it, and nobody has it any more.
        unsafe { hs_free_database(self.0.as_ptr()) };
    }
}

/// Compiled knocks, and the room that a search needs. It is of one thread: raw pointers are not `Sync`.
struct Vectorscan {
    database: Database,
    scratch: NonNull<HsScratch>,
}

impl Vectorscan {
    fn new(database: Database) -> Result<Self, Unfit> {
        let mut scratch = ptr::null_mut();
        // SAFETY: the database is whole, and a null pointer asks for new room.
        let status = unsafe { hs_alloc_scratch(database.0.as_ptr(), &raw mut scratch) };
        match NonNull::new(scratch) {
            Some(scratch) if status == HS_SUCCESS => Ok(Self { database, scratch }),
            _ => Err(Unfit::Failed(format!("vectorscan's error {status}"))),
        }
    }

    fn memory(&self) -> usize {
        let (mut database, mut scratch) = (0, 0);
        // SAFETY: both are whole, and the library writes a size for each.
        unsafe {
            hs_database_size(self.database.0.as_ptr(), &raw mut database);
            hs_scratch_size(self.scratch.as_ptr(), &raw mut scratch);
        }
        database + scratch
    }
}

impl Drop for Vectorscan {
    fn drop(&mut self) {
        // SAFETY: the library made it, and nobody has it any more.
        unsafe { hs_free_scratch(self.scratch.as_ptr()) };
    }
}

impl Search for Vectorscan {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        let Ok(length) = c_uint::try_from(packet.len()) else { return };
        // SAFETY: database and scratch are whole and belong together. Nothing else uses the scratch meanwhile: this
        // value is of one thread, and `on_match` does not search. The packet has so many bytes, and `found`, which is
        // what `on_match` takes its last argument for, is not used by anything else until the call returns.
        unsafe {
            hs_scan(
                self.database.0.as_ptr(),
                packet.as_ptr().cast(),
                length,
                0,
                self.scratch.as_ptr(),
                on_match,
                ptr::from_mut(found).cast(),
            );
        }
    }
}

/// Called by the library for each match. 0 lets it go on.
extern "C" fn on_match(
    place: c_uint,
    _from: c_ulonglong,
    _to: c_ulonglong,
    _flags: c_uint,
    found: *mut c_void,
) -> c_int {
    // SAFETY: `find` handed over an exclusive reference, and waits for the library to return.
    let found: &mut Vec<usize> = unsafe { &mut *found.cast() };
    found.push(place as usize);
    0
}

/// A copy of a C string, empty for none.
///
/// # Safety
/// The pointer is null, or to a string that ends in NUL.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

#[repr(C)]
struct HsDatabase([u8; 0]);

#[repr(C)]
struct HsScratch([u8; 0]);

/// `hs_compile_error_t`
#[repr(C)]
struct HsCompileError {
    message: *mut c_char,
    expression: c_int,
}

type OnMatch = extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

const HS_SUCCESS: c_int = 0;
const HS_FLAG_CASELESS: c_uint = 1;
const HS_FLAG_SINGLEMATCH: c_uint = 8;
const HS_MODE_BLOCK: c_uint = 1;

#[link(name = "hs")]
unsafe extern "C" {
    fn hs_version() -> *const c_char;
    fn hs_compile_lit_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        lengths: *const usize,
        count: c_uint,
        mode: c_uint,
        platform: *const c_void,
        database: *mut *mut HsDatabase,
        error: *mut *mut HsCompileError,
    ) -> c_int;
    fn hs_free_compile_error(error: *mut HsCompileError) -> c_int;
    fn hs_free_database(database: *mut HsDatabase) -> c_int;
    fn hs_database_size(database: *const HsDatabase, size: *mut usize) -> c_int;
    fn hs_alloc_scratch(database: *const HsDatabase, scratch: *mut *mut HsScratch) -> c_int;
    fn hs_scratch_size(scratch: *const HsScratch, size: *mut usize) -> c_int;
    fn hs_free_scratch(scratch: *mut HsScratch) -> c_int;
    fn hs_scan(
        database: *const HsDatabase,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut HsScratch,
        on_event: OnMatch,
        context: *mut c_void,
    ) -> c_int;
}
