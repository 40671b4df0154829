//! Places in the configuration, for errors and notes.

use std::fmt;
use std::path::PathBuf;

/// A place in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` for flags.
    pub file: Option<PathBuf>,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The key, as in `inspect.ports`, or the flag.
    pub key: String,
}

/// Something valid that its writer should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigNote {
    /// Its place.
    pub place: Place,
    /// The remark.
    pub text: String,
}

impl Place {
    /// A key below this one.
    pub(super) fn with(&self, key: &str) -> Self {
        let key = if self.file.is_none() { self.key.clone() } else { format!("{}.{key}", self.key) };
        Self { key, ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.key)
    }
}
