//! Values set in the text of a configuration, with its comments and all other keys left as they are.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::{Spanned, Value};

/// A value to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The table, as in `inspect`; empty for what stands before all tables.
    pub table: &'static str,
    /// The key.
    pub key: &'static str,
    /// The value as TOML has it.
    pub value: String,
}

/// The text with the values set: in place of those that are there, else below the commented line that shows the key, else
/// below the header of the table, else in a table of its own at the end.
///
/// # Errors
/// If the text is no TOML, or a value can't be replaced where it stands.
pub fn apply(text: &str, edits: &[Edit]) -> Result<String, String> {
    let mut text = text.to_owned();
    for edit in edits {
        text = set(&text, edit)?;
    }
    Ok(text)
}

fn set(text: &str, edit: &Edit) -> Result<String, String> {
    let found = find(text, edit)?;
    let Edit { table, key, value } = edit;
    let line = format!("{key} = {value}\n");
    match found {
        Some(span) => {
            let old = text.get(span.clone()).unwrap_or_default();
            // A table under a header of its own begins with that.
            if old.trim_start().starts_with('[') && value.starts_with('{') || old.is_empty() {
                return Err(format!("{table}.{key} stands in a table of its own: set it by hand to {value}"));
            }
            let (before, after) = (text.get(..span.start), text.get(span.end..));
            Ok([before.unwrap_or_default(), value, after.unwrap_or_default()].concat())
        }
        None => {
            let place = place_of(text, table, key);
            let (before, after) = text.split_at(place.unwrap_or(text.len()));
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            let header = match place {
                None if !table.is_empty() && before.trim().is_empty() => format!("[{table}]\n"),
                None if !table.is_empty() => format!("\n[{table}]\n"),
                _ => String::new(),
            };
            let blank = if table.is_empty() && place == Some(0) && !after.is_empty() { "\n" } else { "" };
            Ok([before, gap, &header, &line, blank, after].concat())
        }
    }
}

/// The span of a value that is there.
fn find(text: &str, edit: &Edit) -> Result<Option<Range<usize>>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Keys {
        Table(BTreeMap<String, toml::Value>),
        Other(toml::Value),
    }
    let wrong = |error: toml::de::Error| error.message().to_owned();
    if edit.table.is_empty() {
        let keys: BTreeMap<String, Spanned<Value>> = toml::from_str(text).map_err(wrong)?;
        return Ok(keys.get(edit.key).map(Spanned::span));
    }
    let tables: BTreeMap<String, Keys> = toml::from_str(text).map_err(wrong)?;
    match tables.get(edit.table) {
        Some(Keys::Table(keys)) if keys.contains_key(edit.key) => {}
        Some(Keys::Other(value)) => {
            return Err(format!("{} is a {}, and no table", edit.table, value.type_str()));
        }
        _ => return Ok(None),
    }
    // Only now, since a list of tables under the same reader has no spans.
    #[derive(Deserialize, Default)]
    struct Known {
        #[serde(default)]
        inspect: BTreeMap<String, Spanned<Value>>,
        #[serde(default)]
        firewall: BTreeMap<String, Spanned<Value>>,
        #[serde(default)]
        process: BTreeMap<String, Spanned<Value>>,
    }
    let known: Known = toml::from_str(text).map_err(wrong)?;
    let keys = match edit.table {
        "inspect" => known.inspect,
        "firewall" => known.firewall,
        "process" => known.process,
        other => return Err(format!("[{other}] is not known here")),
    };
    Ok(keys.get(edit.key).map(Spanned::span))
}

/// The place for a line of the key: behind the commented line of that key in its table, else behind the header. For keys
/// before all tables: behind the comment at the head of the file.
fn place_of(text: &str, table: &str, key: &str) -> Option<usize> {
    let (mut at, mut inside, mut place) = (0, table.is_empty(), None);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let trimmed = line.trim();
        if trimmed.starts_with('[') && !trimmed.starts_with("[\"") {
            if inside && !table.is_empty() {
                break;
            }
            if table.is_empty() {
                // Lines before the table's header are its comment.
                return Some(place.unwrap_or(0));
            }
            inside = is_header(trimmed, table);
            place = place.or(inside.then_some(end));
        } else if inside {
            let commented = trimmed.strip_prefix('#').map(str::trim_start);
            let shows =
                |rest: &str| rest.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
            if commented.is_some_and(shows) {
                return Some(end);
            }
            // The first blank line ends the head of the file.
            if table.is_empty() && trimmed.is_empty() && place.is_none() {
                place = Some(end);
            }
        }
        at = end;
    }
    place.or(table.is_empty().then_some(0))
}

fn is_header(line: &str, table: &str) -> bool {
    let Some(rest) = line.strip_prefix('[') else { return false };
    let Some((name, _)) = rest.split_once(']') else { return false };
    name.trim() == table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(table: &'static str, key: &'static str, value: &str) -> Edit {
        Edit { table, key, value: value.to_owned() }
    }

    #[test]
    fn values_are_set_and_the_rest_stays() {
        let file = "# Head\n\n# Ours\n[inspect]\n# Ports\n#ports = [5060]\ndoor = \"1h\" # long\n\n[firewall]\nkeep = false\n\
                    [[knock]]\nname = \"a\"\n";
        for (name, text, edit, expected) in [
            (
                "a value in its place",
                file,
                edit("inspect", "door", "\"2h\""),
                file.replace("\"1h\" # long", "\"2h\" # long"),
            ),
            (
                "below the line that shows the key",
                file,
                edit("inspect", "ports", "[5070]"),
                file.replace("#ports = [5060]\n", "#ports = [5060]\nports = [5070]\n"),
            ),
            (
                "below the header",
                file,
                edit("inspect", "grace", "\"1h\""),
                file.replace("[inspect]\n", "[inspect]\ngrace = \"1h\"\n"),
            ),
            (
                "in a table of its own",
                file,
                edit("process", "user", "\"root\""),
                format!("{file}\n[process]\nuser = \"root\"\n"),
            ),
            (
                "before all tables",
                file,
                edit("", "include", "[\"x\"]"),
                file.replace("# Head\n\n", "# Head\n\ninclude = [\"x\"]\n"),
            ),
            ("into nothing", "", edit("inspect", "ports", "[1]"), "[inspect]\nports = [1]\n".to_owned()),
            (
                "a key without a table into nothing",
                "",
                edit("", "include", "[]"),
                "include = []\n".to_owned(),
            ),
            (
                "behind a line without an end",
                "[inspect]\ndoor = \"1h\"",
                edit("firewall", "keep", "true"),
                "[inspect]\ndoor = \"1h\"\n\n[firewall]\nkeep = true\n".to_owned(),
            ),
            (
                "a list of several lines",
                "[inspect]\nports = [\n  5060, # a\n]\nmode = \"enforce\"\n",
                edit("inspect", "ports", "[5070]"),
                "[inspect]\nports = [5070]\nmode = \"enforce\"\n".to_owned(),
            ),
            (
                "a value before all tables",
                "include = [\"a\"]\n[inspect]\n",
                edit("", "include", "[\"b\"]"),
                "include = [\"b\"]\n[inspect]\n".to_owned(),
            ),
        ] {
            let found = apply(text, std::slice::from_ref(&edit)).unwrap();
            assert_eq!(found, expected, "{name}");
            assert!(found.parse::<toml::Table>().is_ok(), "{name}");
        }
    }

    #[test]
    fn tables_with_headers_of_their_own_are_refused() {
        let text = "[inspect.trusted_names]\n\"a\" = [\"192.0.2.1\"]\n";
        assert!(apply(text, &[edit("inspect", "trusted_names", "{}")]).is_err());
        assert!(apply("inspect = 1\n", &[edit("inspect", "ports", "[1]")]).is_err());
        assert!(apply("not toml", &[edit("inspect", "ports", "[1]")]).is_err());
    }
}
