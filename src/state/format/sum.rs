//! A checksum of all that passes.

/// CRC-32 (ISO-HDLC), a byte at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 as u8 ^ byte) as usize;
            // The table has an entry for each byte.
            self.0 = (self.0 >> 8) ^ CRC_TABLE.get(index).copied().unwrap_or(0);
        }
    }

    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}

/// Counts what passes into a checksum.
#[derive(Debug)]
pub(super) struct Summed<T> {
    pub(super) inner: T,
    pub(super) sum: Crc,
}

impl<T> Summed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, sum: Crc::default() }
    }
}
