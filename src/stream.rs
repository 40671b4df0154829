//! TCP flows of sources without a door, until the header block of their first message ends.
//!
//! A segment of such a flow may pass only while what passed before and the segment together are no complete SIP
//! header block, so the PBX never reads a request of somebody who has not knocked, wherever the sender cuts it. What
//! has passed is kept, byte for byte: a knock is found however it is cut, and a retransmission with other content
//! than the first time does not pass.
//!
//! With a door open everything passes. A header block in several segments is put together here all the same, so that a
//! phone that writes its REGISTER in pieces renews its door.
//!
//! A receiver that was sent part of a block waits for the rest. So a flow is *held* if the receiver may have bytes of it
//! that are not known here: its start was not seen; it has passed through a door, in monitor mode or in IP fragments; its
//! bytes come over several connections (Multipath TCP); or something of it has passed and it ends, falls silent, begins
//! again or loses its bytes. Of a held flow nothing passes but a segment with a knock, or with the end of one that refused
//! segments have begun.
//!
//! A SYN may be one that the receiver ignores (RFC 5961, 4). So flows of which a receiver may have something are known
//! for a day (`loose`), also after they have left this table, and a SYN begins nothing on them.
//!
//! Bounds, for what a stranger can grow:
//! - one flow: [`Limits::bytes`] and [`Limits::segments`]. What exceeds them is *refused, with all that follows*.
//! - flows: [`Limits::flows`]. A newcomer takes the place of the *flow longest idle* in its shard, held ones after others
//!   and those between two judged messages of a source that the PBX has called last.
//! - kept bytes: [`MAX_KEPT`]. The *flow longest idle loses its bytes*.
//! - flows known for a day: a table of one size. *Two at one place stand for all that belong there.*
//! - searches: a block of several segments is searched again only once a header field became complete, and three times its
//!   length at most.

mod block;
mod called;
mod fate;
mod flow;
mod held;
mod loose;
mod passage;
mod table;

pub use fate::{Fate, Gathered, SegmentFinding};
pub use flow::{FlowId, LIFE};
pub use table::{Limits, MAX_KEPT, StreamTable};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
