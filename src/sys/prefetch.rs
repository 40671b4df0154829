//! A hint to the processor.

/// Asks the processor to bring the beginning of a value to its cache, as much of it as there is in one line of that,
/// without waiting for it. A hint: nothing else comes of it, and where there is no such instruction nothing at all.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    let place = (&raw const *value).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of SSE, which every x86-64 has. It neither faults nor changes anything that a program can see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above, on every aarch64.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) place, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}
