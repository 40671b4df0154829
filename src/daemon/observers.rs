//! Watching the packets that pass: what phones send for `--learn`, and which phones have knocked for `--grace`.

pub(super) mod grace;
pub(super) mod learner;
pub(super) mod packet_tap;
