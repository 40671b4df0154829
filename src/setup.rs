//! A guided start: from what is found on this machine to a configuration.
//!
//! [`machine`] looks and judges nothing; [`proposal`] turns that, and what is configured already, into settings; [`edit`]
//! writes settings into the text of a configuration and leaves the rest of it as it is; [`difference`] shows what changes;
//! [`dialog`] asks; [`files`] writes. The order of the steps is in `commands`.

pub mod dialog;
pub mod difference;
pub mod edit;
pub mod files;
pub mod machine;
pub mod phones;
pub mod proposal;
