//! Bits of random letters.

/// Bits of ASCII letters and digits: by the smallest alphabet that has them all.
pub(super) fn of_letters(text: &[u8]) -> f64 {
    let Some(others) = text.len().checked_sub(1) else { return 0.0 };
    let length = count(text.len());
    let all_in = |alphabet: &str| text.iter().all(|byte| alphabet.as_bytes().contains(byte));
    let has = |class: fn(&u8) -> bool, size| if text.iter().any(class) { size } else { 0 };
    let natural =
        has(u8::is_ascii_digit, 10) + has(u8::is_ascii_lowercase, 26) + has(u8::is_ascii_uppercase, 26);
    // An alphabet of a few of these letters has to be guessed, too.
    let used = distinct(text);
    let mut bits = (length * log2(natural)).min(log2(natural) + choices(natural, used) + length * log2(used));
    if all_in(KEYPAD) {
        let again = text.windows(2).any(|pair| pair.first() == pair.last());
        let next = KEYPAD.len() - usize::from(!again);
        bits = bits.min(log2(KEYPAD.len()) + count(others) * log2(next));
    }
    for alphabet in [ALNUM, HEX, UPPER_HEX] {
        if all_in(alphabet) {
            bits = bits.min(length * log2(alphabet.len()));
        }
    }
    bits
}

/// Binary logarithm of the number of ways to choose some of so many letters.
fn choices(letters: usize, some: usize) -> f64 {
    (1..=some.min(letters)).map(|n| (count(letters - some.min(letters) + n) / count(n)).log2()).sum()
}

pub(super) fn distinct(bytes: &[u8]) -> usize {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}

pub(super) fn log2(number: usize) -> f64 {
    count(number).max(1.0).log2()
}

#[expect(clippy::cast_precision_loss, reason = "lengths, far below 2^52")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

/// The first letter on each of the keys 2 to 9 of a phone's keypad (ITU-T E.161): `sipknock keygen`'s default.
pub const KEYPAD: &str = "adgjmptw";

/// Small letters and digits without those that look alike.
pub const ALNUM: &str = "abcdefghjkmnpqrstuvwxyz23456789";

/// Hexadecimal digits.
pub const HEX: &str = "0123456789abcdef";

const UPPER_HEX: &str = "0123456789ABCDEF";
