//! Byte orders.

/// The order of bytes in the numbers of a file, or of a section of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// The number at `offset`; `None` if the bytes end before.
    pub(super) fn u32_at(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let &number = bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(number),
            Self::Big => u32::from_be_bytes(number),
        })
    }

    pub(super) fn u16_at(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let &number = bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(number),
            Self::Big => u16::from_be_bytes(number),
        })
    }
}
