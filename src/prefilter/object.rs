//! Instructions of a program, as `scripts/make-prefilter` writes them.

use std::os::fd::{AsRawFd, BorrowedFd};

/// A program that is not what the script writes, or that asks for a map that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the program is no instruction, or names an unknown map: {text:?}")]
pub struct BadObject {
    line: usize,
    text: String,
}

/// How a program reads a map.
#[derive(Clone, Copy, Debug)]
pub(super) enum MapUse<'fd> {
    /// It looks into it with a helper.
    Array(BorrowedFd<'fd>),
    /// It reads the only value at its place.
    Value(BorrowedFd<'fd>),
}

/// The instructions of a program, with the descriptors of its maps in them: one instruction a line, in hexadecimal, and behind
/// one that takes a map the map's name.
pub(super) fn link(text: &str, maps: &[(&str, MapUse<'_>)]) -> Result<Vec<u64>, BadObject> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            instruction(line, maps).ok_or_else(|| BadObject { line: number, text: line.to_owned() })
        })
        .collect()
}

fn instruction(line: &str, maps: &[(&str, MapUse<'_>)]) -> Option<u64> {
    let Some((number, map)) = line.split_once(' ') else { return u64::from_str_radix(line, 16).ok() };
    let number = u64::from_str_radix(number, 16).ok()?;
    let (_, map) = maps.iter().find(|(name, _)| *name == map)?;
    // Of an instruction the lowest byte is its code, the next one has the registers, and the upper half is the immediate
    // value. The place in a value is the immediate value of the second half of the instruction (BPF_PSEUDO_MAP_VALUE), which
    // is the line behind this one; in the first half the compiler leaves it where it is to be added, and it is 0.
    let (source, descriptor) = match map {
        MapUse::Array(map) => (MAP_DESCRIPTOR, map.as_raw_fd()),
        MapUse::Value(map) => (MAP_VALUE, map.as_raw_fd()),
    };
    let is_load = number & 0xff == LOAD_WORD && number & 0xf000 == 0 && number >> 32 == 0;
    is_load.then(|| number | source << 12 | u64::from(descriptor.cast_unsigned()) << 32)
}

/// `BPF_LD | BPF_DW | BPF_IMM`: 64 bits of immediate value in two instructions.
const LOAD_WORD: u64 = 0x18;

/// `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE`, in place of the source register.
const MAP_DESCRIPTOR: u64 = 1;
const MAP_VALUE: u64 = 2;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn maps_are_put_in() {
        let null = File::open("/dev/null").unwrap();
        let number = u64::from(null.as_fd().as_raw_fd().cast_unsigned()) << 32;
        let maps = [("one", MapUse::Array(null.as_fd())), ("two", MapUse::Value(null.as_fd()))];
        let text = "# made\n00000000000000b7\n0000000000000118 one\n0000000000000000\n0000000000000218 two\n";
        let expected = vec![0xb7, number | 0x1118, 0, number | 0x2218];
        assert_eq!(link(text, &maps), Ok(expected));
        for (text, line) in [
            ("xyz", 1),
            ("# made\n00000000000000b7\n", 0),
            ("0000000000000118 three", 1),
            ("00000000000000b7\n00000000000000b7 one", 2),
            ("0000000100000118 one", 1),
        ] {
            assert_eq!(link(text, &maps).err().map_or(0, |bad| bad.line), line, "{text:?}");
        }
    }
}
