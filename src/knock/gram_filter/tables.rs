//! The tables of q-grams.

/// The table of the first look-up. Most q-grams of a packet end here.
#[derive(Clone, PartialEq, Eq)]
pub enum First {
    /// A byte for each value of the hash's first 16 bits: 0, or 1 if a q-gram has it. The fastest one while it stays nearly
    /// empty.
    Bytes(Box<[u8]>),
    /// A bit for each value of the hash's first bits, as many as the table has bits: bit `n % 8` of byte `n / 8`.
    Bits(Box<[u8]>),
}

impl First {
    /// An empty table for so many knocks that are searched at this stride. Only at a stride of words bytes are read.
    pub(super) fn for_knocks(knocks: usize, stride: usize) -> Self {
        match (knocks, stride) {
            (..MIN_FOR_BITS, 8..) => Self::Bytes(vec![0; 1 << BYTES_BITS].into()),
            (..MIN_FOR_BITS, _) => Self::Bits(vec![0; 1 << BYTES_BITS].into()),
            (..MIN_FOR_LARGE, _) => Self::Bits(vec![0; SMALL].into()),
            _ => Self::Bits(vec![0; MAX_FIRST].into()),
        }
    }

    /// The table itself, [`MAX_FIRST`] bytes at most.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) | Self::Bits(bytes) => bytes,
        }
    }

    /// How far a hash is shifted for its place: of its byte, or of its bit.
    pub fn shift(&self) -> u32 {
        match self {
            Self::Bytes(_) => u64::BITS - BYTES_BITS,
            Self::Bits(bytes) => u64::BITS - (bytes.len() * 8).ilog2(),
        }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let place = hash >> self.shift();
        match self {
            Self::Bytes(bytes) => bytes.get_mut(place as usize).into_iter().for_each(|byte| *byte = 1),
            Self::Bits(bytes) => {
                bytes.get_mut((place / 8) as usize).into_iter().for_each(|byte| *byte |= 1 << (place % 8));
            }
        }
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let place = hash >> self.shift();
        match self {
            Self::Bytes(bytes) => bytes.get(place as usize).is_some_and(|byte| *byte != 0),
            Self::Bits(bytes) => {
                bytes.get((place / 8) as usize).is_some_and(|byte| byte >> (place % 8) & 1 != 0)
            }
        }
    }
}

/// Nothing of its contents: they are made of secrets.
impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let form = if matches!(self, Self::Bytes(_)) { "Bytes" } else { "Bits" };
        write!(f, "{form}({} bytes)", self.bytes().len())
    }
}

/// The table of the second look-up: a Bloom filter with all bits of a q-gram in one word.
#[derive(Clone, PartialEq, Eq)]
pub struct Second(Box<[u64]>);

impl Second {
    /// An empty table for so many q-grams.
    pub(super) fn for_grams(grams: usize) -> Self {
        let words = grams.saturating_mul(BITS_PER_GRAM) / 64;
        Self(vec![0; words.next_power_of_two().clamp(MIN_SECOND, MAX_SECOND)].into())
    }

    /// The table itself, a power of two of words, [`MAX_SECOND`] at most.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// How far the second hash is shifted for the place of its word.
    pub fn shift(&self) -> u32 {
        u64::BITS - self.0.len().ilog2()
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let hash = rehash(hash);
        let place = hash >> self.shift();
        self.0.get_mut(place as usize).into_iter().for_each(|word| *word |= bits(hash));
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let hash = rehash(hash);
        self.0.get((hash >> self.shift()) as usize).is_some_and(|word| word & bits(hash) == bits(hash))
    }
}

/// Nothing of its contents.
impl std::fmt::Debug for Second {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Second({} words)", self.0.len())
    }
}

/// The second hash, made of the first.
fn rehash(hash: u64) -> u64 {
    (hash ^ hash >> 32).wrapping_mul(SECOND_MULTIPLIER)
}

/// The bits of a word that a second hash stands for: four, some of which may be the same.
fn bits(hash: u64) -> u64 {
    [8, 14, 20, 26].into_iter().fold(0, |bits, shift| bits | 1 << (hash >> shift & 63))
}

/// Bytes of the largest first table: one bit in 20 of it is set with 50,000 knocks at stride 8.
pub const MAX_FIRST: usize = 1 << 20;

/// 256 KiB stay in the second-level cache.
const SMALL: usize = 1 << 18;

/// The byte table has 64 KiB.
const BYTES_BITS: u32 = 16;

/// From here on bits cost less than bytes: with 1,000 knocks at stride 8 one byte in 8 is set, and ten second look-ups in a
/// packet take longer than those of bits do.
const MIN_FOR_BITS: usize = 257;

/// With so many knocks one bit in 5 of the small table is set.
const MIN_FOR_LARGE: usize = 50_000;

/// Words of the largest second table: one mebibyte.
pub const MAX_SECOND: usize = 1 << 17;
const MIN_SECOND: usize = 1 << 9;

/// With so many bits a q-gram that is not there is found once in 4,000 times at most.
const BITS_PER_GRAM: usize = 32;

/// An odd number other than that of the first hash (L'Ecuyer, Tables of linear congruential generators, 1999, table 4).
const SECOND_MULTIPLIER: u64 = 3_935_559_000_370_003_845;
