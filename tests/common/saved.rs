//! Files of doors as older gates wrote them.

use sipknock::state::format::{Saved, Writer};

/// As the first version wrote it, of which nothing but doors is known.
pub(crate) fn as_first_version(saved: &Saved) -> Vec<u8> {
    let names = saved.names.iter().map(String::as_str);
    let mut out = Writer::new(Vec::new(), &saved.stamp, saved.prefixes, names).unwrap();
    for door in &saved.doors {
        let mut door = door.clone();
        door.claims.clear();
        out.door(&door).unwrap();
    }
    let mut file = out.finish().unwrap();
    file[16] = 1;
    let end = file.len() - 4;
    file.truncate(end);
    let sum = file.iter().fold(u32::MAX, |sum, byte| {
        let bit = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        (0..8).fold(sum ^ u32::from(*byte), bit)
    });
    file.extend((!sum).to_le_bytes());
    file
}
