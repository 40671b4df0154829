//! Knocks of every kind that people use, the same ones in each run.

use std::collections::HashSet;
use std::fmt;

use crate::knock::matcher::Pattern;

/// A knock to look for.
#[derive(Clone, PartialEq, Eq)]
pub struct BenchPattern {
    /// Its secret.
    pub bytes: Vec<u8>,
    /// ASCII letters match in either case.
    pub ignore_case: bool,
}

impl BenchPattern {
    /// It as the matcher takes it.
    pub fn pattern(&self) -> Pattern<'_> {
        Pattern { bytes: &self.bytes, ignore_case: self.ignore_case }
    }

    /// Whether it does, found out in the plainest way.
    pub(super) fn occurs_in(&self, packet: &[u8]) -> bool {
        let same =
            |text: &[u8]| text == self.bytes || self.ignore_case && text.eq_ignore_ascii_case(&self.bytes);
        packet.windows(self.bytes.len().max(1)).any(same)
    }
}

/// Nothing of the secret.
impl fmt::Debug for BenchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern().fmt(f)
    }
}

/// What knocks look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// 20 small letters
    Random,
    /// urn:uuid: and a random UUID, as phones send it in +sip.instance
    Uuid,
    /// Such as Blue-Window-Teacher-42
    Words,
    /// The knocks of the configuration
    Config,
}

names! { pub Style { Random = "random", Uuid = "uuid", Words = "words", Config = "config" } }

impl Style {
    /// So many different knocks. Of the configuration's style there are none: somebody else has them.
    pub fn knocks(self, count: usize) -> Vec<Vec<u8>> {
        let mut dice = Dice::new(1 + self as u64);
        let mut make = || match self {
            Self::Random => Some(dice.text("abcdefghijklmnopqrstuvwxyz", 20)),
            Self::Uuid => Some(dice.uuid()),
            Self::Words => {
                let [first, second, third] =
                    [&FIRST, &SECOND, &THIRD].map(|words| words.get(dice.below(words.len())).unwrap_or(&""));
                // Two digits, and more only where there would not be enough of them otherwise.
                Some(format!("{first}-{second}-{third}-{}", 10 + dice.below(90.max(count / 1_000))))
            }
            Self::Config => None,
        };
        let mut known = HashSet::with_capacity(count);
        let fresh = std::iter::from_fn(|| make().map(String::into_bytes));
        fresh.filter(|knock| known.insert(knock.clone())).take(count).collect()
    }
}

const FIRST: [&str; 16] = [
    "Blue", "Red", "Green", "Quiet", "Happy", "Silver", "Golden", "Rapid", "Gentle", "Brave", "Amber",
    "Cosmic", "Dusty", "Frozen", "Hidden", "Sunny",
];
const SECOND: [&str; 16] = [
    "Window", "Garden", "River", "Mountain", "Table", "Lantern", "Bridge", "Forest", "Harbor", "Island",
    "Jacket", "Kettle", "Ladder", "Mirror", "Needle", "Ocean",
];
const THIRD: [&str; 16] = [
    "Teacher", "Doctor", "Farmer", "Pilot", "Singer", "Baker", "Sailor", "Painter", "Writer", "Dancer",
    "Miner", "Tailor", "Lawyer", "Banker", "Hunter", "Gardener",
];

/// Numbers that are the same in every run (xorshift, Marsaglia 2003).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Never zero, from which the sequence would not get away, and far from the next seed's.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    /// Letters of an ASCII alphabet.
    pub(super) fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        let mut letter = || alphabet.get(self.below(alphabet.len())).copied().map_or(' ', char::from);
        (0..length).map(|_| letter()).collect()
    }

    pub(super) fn hex(&mut self, length: usize) -> String {
        self.text("0123456789abcdef", length)
    }

    /// A UUID of version 4 as a URN (RFC 9562, 4 and 5.4).
    pub(super) fn uuid(&mut self) -> String {
        let variant = self.text("89ab", 1);
        let [a, b, c, d, e] = [8, 4, 3, 3, 12].map(|length| self.hex(length));
        format!("urn:uuid:{a}-{b}-4{c}-{variant}{d}-{e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_asked_all_different_and_always_the_same() {
        for (style, starts, length) in
            [(Style::Random, "", 20..=20), (Style::Uuid, "urn:uuid:", 45..=45), (Style::Words, "", 14..=30)]
        {
            for count in [1, 100, 20_000] {
                let knocks = style.knocks(count);
                assert_eq!(knocks.iter().collect::<HashSet<_>>().len(), count);
                assert!(knocks.iter().all(|knock| length.contains(&knock.len())), "{style:?}");
                assert!(knocks.iter().all(|knock| knock.starts_with(starts.as_bytes())), "{style:?}");
            }
            assert_eq!(style.knocks(7), style.knocks(7));
        }
        assert!(Style::Config.knocks(3).is_empty());
    }

    #[test]
    fn a_secret_does_not_show() {
        let wanted = BenchPattern { bytes: b"mykn0ckstr1ng".to_vec(), ignore_case: true };
        assert_eq!(format!("{wanted:?}"), "Pattern(13 bytes, ignore_case: true)");
    }
}
