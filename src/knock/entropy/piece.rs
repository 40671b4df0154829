//! Pieces of secrets, and their forms.

/// A known form of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// None of the others.
    Plain,
    /// A UUID of version 4 or 7 (RFC 9562).
    RandomUuid,
    /// A UUID of version 1, 2 or 6: a time, a clock sequence and a MAC address.
    TimeUuid,
    /// A UUID of version 3 or 5: the hash of a name.
    NameUuid,
    /// A UUID of no version that RFC 9562 has.
    OddUuid,
    /// A UUID of three different digits at most.
    FilledUuid,
    /// A UUID of zeros and a MAC address.
    MacUuid,
    /// A MAC address.
    Mac,
    /// The IMEI of a mobile phone (3GPP TS 23.003, 6.2).
    Imei,
    /// A date, with or without a time of day.
    Date,
}

/// One piece of a secret that has a known form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) length: usize,
    pub(super) bits: f64,
    pub(super) kind: PieceKind,
}

impl PieceKind {
    /// A description of such a secret, in words that follow "it is …"; `None` for a plain text.
    pub const fn what(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::RandomUuid => "a random UUID",
            Self::TimeUuid => "a UUID made of the time and the MAC address: hard to guess, not random",
            Self::NameUuid => "a UUID made of a name: as hard to guess as that name",
            Self::OddUuid => "a UUID of no standard kind",
            Self::FilledUuid => "a UUID that is filled with the same digits: many phones have it",
            Self::MacUuid => {
                "a UUID made of the MAC address, which is printed on the phone and half the vendor's"
            }
            Self::Mac => "made of the MAC address, which is printed on the phone",
            Self::Imei => "the IMEI, which is printed on the phone and known to its network",
            Self::Date => "made of a date",
        })
    }
}
