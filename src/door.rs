//! The doors: which sources may pass, until when, and whose knock it was.
//!
//! One table serves all queues. A door is open while `now < expires`; one that has run out is remembered for its
//! own life once more, or that of another claim to it, so that a drop can be told apart from a stranger's. Both follow
//! from the times in the entry alone. The sweep only frees memory and reports what ran out; decisions are the same
//! without it.
//!
//! Several phones may stand behind one address. So a door is held by [claims](Claim): one of each knock that came, or one of
//! each registration if the knock opens for that one's life. The end of a claim closes the door for nobody else; it is
//! shut with the last. [`Door`] is what a door is to all of them: it says of the claim that ends last.
//!
//! Bounds, for what a stranger with a stolen knock could grow:
//! - open doors: `max_doors`. A full table *refuses the newcomer*; nobody's door is ever evicted for another.
//! - entries, remembered ones included: three times `max_doors`. Places are freed by a sweep only, and one that
//!   finds more than twice `max_doors` entries *forgets all that have run out*.
//! - claims to a door: [`MAX_CLAIMS`]. Those that have run out go first. Then a registration *shares the claim of its knock
//!   that ends first*, and a knock without a claim gets *none*: it passes while the others hold the door.

mod change;
mod claim;
mod claims;
mod entry;
mod knocking;
mod limits;
mod listing;
mod lookup;
mod packed;
mod state;
mod table;

pub use change::{DoorChange, Limit};
pub use claim::{Claim, ClaimEnd, ClaimRegistration, Grant, RegistrationId};
pub use claims::MAX_CLAIMS;
pub use listing::{HeldClaim, Listed, RetiredClaims, Revoked};
pub use lookup::{Key, Lookup};
pub use state::{Door, DoorState};
pub use table::DoorTable;

#[cfg(test)]
mod tests;
