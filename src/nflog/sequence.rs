//! Copies that did not arrive, counted by the numbers of those that did.

/// The numbers of a group's copies, in the order in which they arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SequenceCheck {
    /// The number of the next copy, if it is known.
    next: Option<u32>,
    /// Losses that are counted and whose gap has not been met.
    ahead: u64,
}

impl SequenceCheck {
    /// A group that is bound just now: its first copy has the number 0.
    pub(super) const fn from_zero() -> Self {
        Self { next: Some(0), ahead: 0 }
    }

    /// A group that others have read from: the first number is as good as any.
    pub(super) const fn unknown() -> Self {
        Self { next: None, ahead: 0 }
    }

    /// A copy has arrived. Returns how many before it are lost and not yet counted.
    pub(super) fn arrived(&mut self, number: u32) -> u64 {
        let gap = self.next.map_or(0, |next| number.wrapping_sub(next));
        self.next = Some(number.wrapping_add(1));
        // Numbers that step back are those of a group that was bound anew from outside.
        let gap = if gap >= BACKWARDS { 0 } else { u64::from(gap) };
        let counted = gap.min(self.ahead);
        self.ahead -= counted;
        gap - counted
    }

    /// The socket has overflowed: at least one copy is lost behind those that lie in it, and the number of the first after
    /// that tells how many. Returns the losses that are not yet counted.
    pub(super) fn overflowed(&mut self) -> u64 {
        self.ahead += 1;
        1
    }
}

/// Half of all numbers: no socket holds, and none loses, as many at a time.
const BACKWARDS: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Number(u32),
        Overflow,
    }
    use Step::{Number, Overflow};

    #[test]
    fn losses() {
        for (name, start, steps, expected) in [
            ("none", Some(0), &[Number(0), Number(1), Number(2)][..], 0),
            ("the first ones", Some(0), &[Number(3)], 3),
            ("the first number after others is taken as it is", None, &[Number(700), Number(701)], 0),
            ("gaps after others", None, &[Number(700), Number(703), Number(705)], 3),
            ("several gaps", Some(0), &[Number(0), Number(5), Number(6), Number(8)], 5),
            ("an overflow is one at once", Some(0), &[Number(0), Overflow], 1),
            ("and the gap tells the rest", Some(0), &[Number(0), Overflow, Number(9)], 8),
            ("of one", Some(0), &[Number(0), Overflow, Number(2)], 1),
            (
                "an overflow is told before the copies ahead of it",
                Some(0),
                &[Overflow, Number(0), Number(1)],
                1,
            ),
            ("and set against the gap behind them", Some(0), &[Overflow, Number(0), Number(4)], 3),
            ("two overflows", Some(0), &[Number(0), Overflow, Overflow, Number(9)], 8),
            ("numbers start again after 2^32", Some(u32::MAX), &[Number(u32::MAX), Number(0), Number(2)], 1),
            ("a gap over 2^32", Some(u32::MAX - 1), &[Number(1)], 3),
            ("bound anew", Some(90), &[Number(90), Number(0), Number(1), Number(3)], 1),
        ] {
            let mut sequence = SequenceCheck { next: start, ahead: 0 };
            let lost: u64 = steps
                .iter()
                .map(|step| match *step {
                    Number(number) => sequence.arrived(number),
                    Overflow => sequence.overflowed(),
                })
                .sum();
            assert_eq!(lost, expected, "{name}");
        }
    }
}
