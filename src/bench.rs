//! How fast knocks are found, by the gate's matcher and by others: for people who choose hardware and matchers.
//!
//! [`style`] makes knocks and [`traffic`] packets, [`engine`] compiles knocks for each engine, [`measure()`] makes sure
//! that all engines find the same and times them, [`machine`] says on what, and [`report`] writes it all down. The
//! criterion bench of the matcher is made of the same pieces.

pub mod engine;
pub mod machine;
pub mod measure;
pub mod report;
pub mod style;
pub mod traffic;

pub use engine::BenchEngine;
pub use measure::{BenchError, BenchPlan, Measurements, measure};
pub use style::{BenchPattern, Style};
