//! sipknock.toml(5), from the annotated configuration that is shipped.

use std::fmt::Write as _;

/// The page, in the language of man(7). `example` is dist/sipknock.toml: comments that describe the line below them, keys
/// with their defaults behind a `#`, and headers of tables.
pub(super) fn render(example: &str) -> String {
    let mut page = String::from(HEAD);
    let mut blocks = blocks(example).into_iter().peekable();
    // The head of the file is the description, but for the lines that say what it is.
    page.push_str(".SH DESCRIPTION\n");
    while let Some(Block::Text(lines)) = blocks.next_if(|block| matches!(block, Block::Text(_))) {
        paragraph(&mut page, &lines);
    }
    for block in blocks {
        match block {
            Block::Text(lines) => paragraph(&mut page, &lines),
            Block::Header(name) => {
                let _ = writeln!(page, ".SH \"{}\"", escaped(&name));
            }
            Block::Keys(keys, lines) => {
                for (index, (key, default)) in keys.iter().enumerate() {
                    let _ = writeln!(page, "{}", if index == 0 { ".TP" } else { ".TQ" });
                    let _ = writeln!(page, "\\fB{}\\fR = {}", escaped(key), escaped(default));
                }
                text(&mut page, &lines);
            }
        }
    }
    page.push_str(TAIL);
    page
}

/// The keys of the page, each below its table, as in `inspect.ports`.
#[cfg(test)]
fn keys(example: &str) -> Vec<String> {
    let (mut table, mut found) = (String::new(), Vec::new());
    for block in blocks(example) {
        match block {
            Block::Header(name) => name.trim_matches(['[', ']']).clone_into(&mut table),
            Block::Keys(keys, _) => found.extend(keys.into_iter().map(|(key, _)| format!("{table}.{key}"))),
            Block::Text(_) => {}
        }
    }
    found
}

/// A part of the configuration.
enum Block {
    /// A comment for itself.
    Text(Vec<String>),
    /// The header of a table, with its brackets.
    Header(String),
    /// Keys with their values, and the comment that describes them.
    Keys(Vec<(String, String)>, Vec<String>),
}

fn blocks(example: &str) -> Vec<Block> {
    let (mut blocks, mut comment) = (Vec::new(), Vec::new());
    for line in example.lines() {
        if line.is_empty() {
            if !comment.is_empty() {
                blocks.push(Block::Text(std::mem::take(&mut comment)));
            }
        } else if line.starts_with('[') {
            // A comment that stands on a header describes its table.
            blocks.push(Block::Header(line.to_owned()));
            if !comment.is_empty() {
                blocks.push(Block::Text(std::mem::take(&mut comment)));
            }
        } else if let Some(key) = key(line) {
            match blocks.last_mut() {
                Some(Block::Keys(keys, _)) if comment.is_empty() => keys.push(key),
                _ => blocks.push(Block::Keys(vec![key], std::mem::take(&mut comment))),
            }
        } else {
            let line = line.trim_start_matches('#');
            comment.push(line.strip_prefix(' ').unwrap_or(line).to_owned());
        }
    }
    blocks.extend((!comment.is_empty()).then_some(Block::Text(comment)));
    blocks
}

/// A line `key = value`, also behind a `#` without a space.
fn key(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim_start_matches('#').split_once(" = ")?;
    let plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte));
    plain.then(|| (key.to_owned(), value.to_owned()))
}

fn paragraph(page: &mut String, lines: &[String]) {
    page.push_str(".PP\n");
    text(page, lines);
}

/// Lines of text; those that are indented stay lines.
fn text(page: &mut String, lines: &[String]) {
    let mut kept = false;
    for line in lines {
        let indented = line.starts_with("  ");
        if indented != kept {
            page.push_str(if indented { ".nf\n" } else { ".fi\n" });
            kept = indented;
        }
        if line.is_empty() {
            page.push_str(".PP\n");
            continue;
        }
        let line = escaped(line);
        // A dot or a quote at the start would be a request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(page, "{guard}{line}");
    }
    if kept {
        page.push_str(".fi\n");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('"', "\\(dq")
}

const HEAD: &str = "\
.TH SIPKNOCK.TOML 5 \"\" \"sipknock\" \"sipknock\"
.SH NAME
sipknock.toml \\- the configuration of sipknock
.SH SYNOPSIS
.I /etc/sipknock/sipknock.toml
";

const TAIL: &str = "\
.SH FILES
.TP
.I /etc/sipknock/sipknock.toml
The configuration, unless \\fB\\-\\-config\\fR names another one.
.TP
.I /etc/sipknock/knocks.d/
Files of knocks, as \\fBsipknock setup\\fR has them included.
.SH SEE ALSO
.BR sipknock (8),
.BR sipknock\\-setup (8),
.BR sipknock\\-check (8),
.BR sipknock\\-reload (8)
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};

    /// Keys that the parser names when it meets one that it does not know.
    fn known(table: &str) -> BTreeSet<String> {
        let text = match table {
            "" => "zz = 1\n".to_owned(),
            "knock" => "[[knock]]\nzz = 1\n".to_owned(),
            table => format!("[{table}]\nzz = 1\n"),
        };
        let error = Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap_err().to_string();
        let (_, names) =
            error.split_once("expected one of ").or_else(|| error.split_once("expected ")).unwrap();
        let quoted = names.split('`').skip(1).step_by(2);
        quoted.map(|name| format!("{table}.{name}")).collect()
    }

    #[test]
    fn every_key_is_described_and_no_other() {
        let mut expected = BTreeSet::new();
        for name in known("") {
            match name.trim_start_matches('.') {
                "include" => expected.extend([name]),
                table => expected.extend(known(table)),
            }
        }
        assert!(expected.len() > 40, "{expected:?}");
        let found: Vec<_> = keys(super::super::EXAMPLE);
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(found.len(), expected.len(), "each once");
    }

    #[test]
    fn each_key_has_its_text() {
        let page = render(
            "# Head\n\n[t]\n# About t\n\n# About a.\n#   indented\n#a = [\"x-y\"]\n\n# .Both\n#b = 1\n#c = 2\n",
        );
        let body = page.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap();
        assert_eq!(
            body,
            ".SH DESCRIPTION\n.PP\nHead\n.SH \"[t]\"\n.PP\nAbout t\n.TP\n\\fBa\\fR = [\\(dqx\\-y\\(dq]\nAbout a.\n.nf\n  \
             indented\n.fi\n.TP\n\\fBb\\fR = 1\n.TQ\n\\fBc\\fR = 2\n\\&.Both\n"
        );
    }
}
