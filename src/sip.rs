//! A SIP message, read in place.
//!
//! Whether a secret occurs does not depend on this module: it serves conditions (`methods`, `in`) and logs. So it is
//! tolerant. It reads what real phones and attackers send: line ends of CR LF, LF or CR CR LF, blank lines in
//! front (RFC 3261, 7.5), any case, compact names, folded values, white space around the colon, messages that
//! break off. What it can't read it leaves out; it never fails.

mod address;
mod header;
mod message;
mod registration;
mod stream;
mod text;

pub use address::{Address, addresses};
pub use header::{Header, Headers};
pub use message::{Message, StartLine};
pub(crate) use registration::DEFAULT_EXPIRES;
pub use registration::{Contact, Registration};
pub use stream::{complete_fields, completed_field, messages};
pub use text::{FoldFinder, QuotedPairs, unescape, unescape_first, unfold};

pub(crate) use address::bare_instance;
pub(crate) use header::{long_name, shortest_name};
pub(crate) use message::{is_token, may_begin};

#[cfg(test)]
mod tests;
