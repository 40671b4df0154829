//! What each phone already sends that would serve as a knock.
//!
//! [`Roster`] is shown packets, or messages out of an Asterisk log, and keeps what tells phones apart: the
//! display name, the instance, the User-Agent. [`LearnReport`] judges them: does a phone always send it, does nobody else,
//! and could it be guessed? [`Against`] asks the other way round for whom configured knocks would open, and
//! [`Census`] whether all phones that registered have knocked. None of them knows files or a clock.

mod against;
mod assemble;
pub mod asterisk;
mod census;
pub mod judge;
mod report;
mod roster;

pub use against::{Against, At, Opens};
pub use assemble::Assembler;
pub use census::{Census, Excuse, KnownPhone, PassesBy, Register, Silent, Tally, Unready};
pub use report::{LearnReport, ReportFormat};
pub use roster::{MAX_PHONES, Roster};
