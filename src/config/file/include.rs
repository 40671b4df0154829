//! `include`: files of `[[knock]]` tables beside the configuration.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that a pattern names, below `folder`, in the order of their names. `*` stands for any text in the last part of
/// the path; a pattern with one may name no file. Names that begin with a dot are left out.
///
/// # Errors
/// If a `*` stands before the last part, or the folder can't be read.
pub(super) fn files_of(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(format!("{pattern:?} names no file: write it as in \"knocks.d/*.toml\""));
    };
    if Path::new(pattern).parent().is_some_and(|parent| parent.to_string_lossy().contains('*')) {
        return Err(format!("{pattern:?} has a * before its last part: write it as in \"knocks.d/*.toml\""));
    }
    if !name.contains('*') {
        return Ok(vec![path]);
    }
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", parent.display())),
    };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|found| !found.starts_with('.') && fits(name, found));
    names.sort_unstable();
    Ok(names.into_iter().map(|name| parent.join(name)).collect())
}

/// Whether a name fits a pattern, in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(place) = left.find(part) else { return false };
        left = left.get(place + part.len()..).unwrap_or_default();
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "xx", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_sorted_and_hidden_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("knocks.d");
        assert_eq!(files_of(folder.path(), "knocks.d/*.toml"), Ok(Vec::new()));
        fs::create_dir(&below).unwrap();
        for name in ["b.toml", "a.toml", ".a.toml", "a.toml.old"] {
            fs::write(below.join(name), "").unwrap();
        }
        let found = files_of(folder.path(), "knocks.d/*.toml").unwrap();
        assert_eq!(found, [below.join("a.toml"), below.join("b.toml")]);
        assert_eq!(files_of(folder.path(), "knocks.d/z.toml").unwrap(), [below.join("z.toml")]);
        assert!(files_of(folder.path(), "*/a.toml").is_err());
    }
}
