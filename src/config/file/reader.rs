//! From what stands in the file to a value, or to an error that says where.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use toml::{Spanned, Value};

use crate::config::error::ConfigError;
use crate::config::guard::SecretFile;
use crate::config::place::{ConfigNote, Place};
use crate::config::sections::TrustedName;

/// A value whose type is checked by us, so that the error can name its key.
pub(super) type Field = Option<Spanned<Value>>;

/// Turns fields into values, and knows where they stand.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
    /// Where lines end, so that ten thousand knocks find their lines without counting from the top each time.
    pub(super) line_ends: Vec<usize>,
    /// This file, and those it names that hold secrets.
    pub(super) files: Vec<SecretFile>,
    pub(super) notes: Vec<ConfigNote>,
    /// `inspect.trusted_names`.
    pub(super) trusted_names: Vec<TrustedName>,
    /// Wrong values so far, so that all are told at once.
    pub(super) errors: RefCell<Vec<ConfigError>>,
}

impl<'a> Reader<'a> {
    /// Reads a file's text; `this` is how the file itself is kept.
    pub(super) fn new(text: &'a str, path: &'a Path, this: Option<SecretFile>) -> Self {
        Self {
            text,
            path,
            line_ends: memchr::memchr_iter(b'\n', text.as_bytes()).collect(),
            files: this.into_iter().collect(),
            notes: Vec::new(),
            trusted_names: Vec::new(),
            errors: RefCell::default(),
        }
    }
    /// Sets a value if the file has it. A wrong one is kept as an error, and the target stays as it is.
    pub(super) fn set<T>(
        &self,
        target: &mut T,
        key: &str,
        field: Field,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        if let Some(value) = field.and_then(|field| self.keep(self.value(key, &field, read))) {
            *target = value;
        }
    }

    /// Keeps an error for the end.
    pub(super) fn keep<T>(&self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|error| self.errors.borrow_mut().push(error)).ok()
    }

    /// Count of wrong values so far.
    pub(super) fn wrong(&self) -> usize {
        self.errors.borrow().len()
    }

    pub(super) fn value<T>(
        &self,
        key: &str,
        field: &Spanned<Value>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        read(field.get_ref()).map_err(|text| self.error(field.span(), key, text))
    }

    pub(super) fn error(&self, span: Range<usize>, key: &str, text: String) -> ConfigError {
        ConfigError::Value { place: self.place(span, key), text }
    }

    /// The text with the right header for each knock whose header is wrong, on the same lines, and an error for each.
    pub(super) fn mend_headers(&self) -> (String, Vec<ConfigError>) {
        let (mut mended, mut errors, mut start) = (String::with_capacity(self.text.len()), Vec::new(), 0);
        for line in self.text.split_inclusive('\n') {
            match knock_header(line) {
                Some(header) if header != KNOCK => {
                    errors.push(self.header(start..start, header));
                    mended.push_str(&line.replacen(header, KNOCK, 1));
                }
                _ => mended.push_str(line),
            }
            start += line.len();
        }
        (mended, errors)
    }

    /// Whether the TOML reader stopped at a wrong header of a knock.
    pub(super) fn is_at_header(&self, error: &toml::de::Error) -> bool {
        let (_, line) = self.line_of(error);
        knock_header(line).is_some_and(|header| header != KNOCK)
    }

    fn header(&self, span: Range<usize>, header: &str) -> ConfigError {
        let text =
            "write [[knock]]: knocks are a list of tables, each with a header of that name in two brackets";
        self.error(span, header, text.to_owned())
    }

    /// The text before the line at which the TOML reader stopped, and that line.
    fn line_of(&self, error: &toml::de::Error) -> (&str, &str) {
        let at = error.span().map_or(0, |span| span.start);
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        (before, line)
    }

    /// What the TOML reader itself refuses: syntax, keys that are unknown or there twice. Neither its message nor
    /// the line is repeated where a secret may stand in it.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let (before, line) = self.line_of(error);
        let shown = match line.split_once('=') {
            Some((key, _)) => key.trim(),
            None if line.starts_with('[') => line.trim(),
            None => "",
        };
        // Anything but a plain key or header may hold a secret: behind a colon, without quotes, or in a string of
        // several lines.
        let plain = shown
            .trim_matches(['[', ']'])
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let long_string = before.contains("\"\"\"") || before.contains("'''");
        let key = if plain && !long_string && !shown.is_empty() { shown } else { "this line" };
        if let Some(header) = knock_header(line) {
            return self.header(span, header);
        }
        let text = match error.message().rsplit_once(", expected ") {
            Some((found, expected)) if found.starts_with("invalid") => format!("expected {expected}"),
            _ => error.message().to_owned(),
        };
        self.error(span, key, text)
    }

    pub(super) fn place(&self, span: Range<usize>, key: &str) -> Place {
        let line = self.line_ends.partition_point(|end| *end < span.start) + 1;
        Place { file: Some(self.path.to_owned()), line: Some(line), key: key.to_owned() }
    }
}

/// A header that is meant to be `[[knock]]`, with nothing but a comment behind it.
fn knock_header(line: &str) -> Option<&str> {
    let (header, comment) = line.trim().split_at(line.trim().rfind(']')? + 1);
    let name = header.trim_matches(['[', ']', ' ']).to_ascii_lowercase();
    let ends = comment.trim_start().is_empty() || comment.trim_start().starts_with('#');
    (header.starts_with('[') && ends && ["knock", "knocks"].contains(&&*name)).then_some(header)
}

/// The header of a knock.
const KNOCK: &str = "[[knock]]";

pub(super) fn one_of<T: Copy>(value: &Value, known: &[(&str, T)]) -> Result<T, String> {
    let text = text_of(value)?;
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("{text:?} is not known here: write {}", names.join(" or "))
    })
}

pub(super) fn number<T: TryFrom<i64>>(value: &Value, least: i64, most: i64) -> Result<T, String> {
    let number = value.as_integer().filter(|number| (least..=most).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("write a whole number from {least} to {most}"))
}

pub(super) fn text_of(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("write it in quotes: a string is wanted here, not {}", article(value)))
}

pub(super) fn list(value: &Value) -> Result<&[Value], String> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| format!("write a list in brackets here, not {}", article(value)))
}

fn article(value: &Value) -> String {
    let kind = value.type_str();
    if kind.starts_with(['a', 'i']) { format!("an {kind}") } else { format!("a {kind}") }
}
