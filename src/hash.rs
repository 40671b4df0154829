//! A hash that is the same in every process: registrations are told apart after a restart, too.
//!
//! Somebody who chooses both texts can have two with the same hash. So it is only for texts of the PBX, and of phones that
//! have knocked: who can end the registration of another phone by its hash can do so by its name.

/// FNV-1a.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    add(OFFSET, bytes)
}

/// The same of several texts, each with its length, so that no two lists of texts are the same bytes.
pub(crate) fn stable_hash_of(texts: &[&[u8]]) -> u64 {
    texts.iter().fold(OFFSET, |hash, text| add(add(hash, &(text.len() as u64).to_le_bytes()), text))
}

fn add(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the reference, <http://www.isthe.com/chongo/tech/comp/fnv/>, and what a file of doors may have.
    #[test]
    fn the_same_in_every_process() {
        assert_eq!(stable_hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(stable_hash_of(&[]), stable_hash(b""));
        assert_eq!(stable_hash_of(&[b"a"]), stable_hash(b"\x01\0\0\0\0\0\0\0a"));
        assert_ne!(stable_hash_of(&[b"a", b"bc"]), stable_hash_of(&[b"ab", b"c"]));
    }
}
