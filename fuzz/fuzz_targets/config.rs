//! The configuration: `Config::parse` over arbitrary text, and all of `config::values`.
//!
//! - Text that parses twice gives the same, in whose debug output, notes and weaknesses no secret shows. It keeps
//!   what the guide promises: ports from 1, spans above zero, names and secrets once each; and it compiles.
//! - What was typed behind the word `secret` never shows in an error, right or wrong as the rest of the text may be.
//!   The seeds have the secret `H5x-kn0ck-9vQ` there.
//! - A secret from a flag never shows either.
//! - Values that were read mean the same when written out and read again, and keep their limits.

#![no_main]

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sipknock::config::{Config, ConfigError, Flags, values};
use sipknock::knock::{Life, Secret, weakness};

fuzz_target!(|bytes: &[u8]| {
    let text = &*String::from_utf8_lossy(bytes);
    // No files of this machine, please: a secret_file and an include may name any.
    let names_files = text.contains("_file") || text.contains("include");
    if !(names_files && text.contains(['/', '\\'])) {
        file(text);
    }
    text.lines().take(8).for_each(all_values);
});

fn file(text: &str) {
    let path = Path::new("/nonexistent/sipknock.toml");
    let parsed = Config::parse(text, path, &Flags::default());
    let again = Config::parse(text, path, &Flags::default());
    assert_eq!(format!("{parsed:?}"), format!("{again:?}"));
    match &parsed {
        Ok(config) => whole(config),
        Err(error) => says_where(error),
    }
    let knocks = vec![("from a flag".to_owned(), Secret::new(FLAGGED.as_bytes()).expect("not empty"))];
    let flagged = Config::parse(text, path, &Flags { knocks, ..Flags::default() });
    assert!(text.contains(FLAGGED) || !shows(&flagged, FLAGGED), "{flagged:?}");
    if meant_as_secret(text) {
        for parsed in [&parsed, &flagged] {
            assert!(!shows(parsed, KNOWN), "{parsed:?}");
        }
    }
}

fn shows(parsed: &Result<Config, ConfigError>, secret: &str) -> bool {
    let debug = format!("{parsed:?}");
    let told = match parsed {
        Ok(config) => {
            let weak = weakness::of(&config.knocks).into_iter().map(|weak| weak.why);
            let notes = config.notes.iter().map(|note| format!("{}: {}", note.place, note.text));
            weak.chain(notes).collect()
        }
        Err(error) => error.to_string(),
    };
    debug.contains(secret) || told.contains(secret)
}

fn whole(config: &Config) {
    let scope = &config.inspect.scope;
    assert!(
        !scope.ports.is_empty() && scope.ports.iter().all(|ports| *ports.start() > 0 && !ports.is_empty())
    );
    assert!(!scope.transports.is_empty() && scope.transports.len() <= 2);
    assert!(config.inspect.door != NEVER && config.inspect.max_doors > 0);
    assert!(config.inspect.prefixes.v4 <= 32 && config.inspect.prefixes.v6 <= 128);
    assert!(config.queue.max_len > 0 && !config.queue.numbers.is_empty());
    let names: HashSet<_> = config.knocks.iter().map(|knock| &knock.name).collect();
    let secrets: HashSet<_> = config.knocks.iter().map(|knock| knock.secret.expose()).collect();
    assert_eq!((names.len(), secrets.len()), (config.knocks.len(), config.knocks.len()));
    for knock in &config.knocks {
        assert!(knock.door != NEVER && knock.max_doors != Some(0));
        assert!(values::knock_name(&knock.name).is_ok());
        assert!(knock.methods.iter().all(|method| values::method(method).is_ok()));
    }
    match config.inspector() {
        Ok(gate) => assert_eq!(gate.knocks().len(), config.knocks.len()),
        Err(error) => assert!(config.knocks.is_empty(), "{error}"),
    }
}

/// An error of a file names it, and the line.
fn says_where(error: &ConfigError) {
    let ConfigError::Value { place, text } = error else { panic!("{error:?}") };
    assert!(place.file.is_some() && place.line.is_some_and(|line| line > 0) && !text.is_empty(), "{error}");
}

/// Whether the known secret stands in the text once, and there behind the word `secret`: after a colon in place of
/// the equals sign, with wrong quotes or none, in another table, it is still a secret to whoever typed it.
fn meant_as_secret(text: &str) -> bool {
    let mut parts = text.split(KNOWN);
    let (Some(before), Some(_), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let mut quote = "";
    let mut word = None;
    let mut rest = before;
    while let Some(next) = rest.chars().next() {
        let opens = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote));
        let mut step = next.len_utf8();
        match (quote, next) {
            ("", '#') => return false,
            ("", '\n') => word = None,
            ("", _) => {
                if let Some(opened) = opens {
                    (quote, step) = (opened, opened.len());
                } else if rest.starts_with("secret")
                    && !before[..before.len() - rest.len()].ends_with(is_word)
                {
                    step = "secret".len();
                    word = Some(&rest[step..]);
                }
            }
            ("\"" | "\"\"\"", '\\') => step += rest[step..].chars().next().map_or(0, char::len_utf8),
            ("\"" | "'", '\n') => return false,
            _ if rest.starts_with(quote) => (quote, step) = ("", quote.len()),
            _ => {}
        }
        rest = &rest[step..];
    }
    // Nothing may begin another value in between.
    word.is_some_and(|between| {
        between.starts_with([' ', '\t', '=', ':', '"', '\'']) && !between.contains([',', '}', '.'])
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

fn all_values(text: &str) {
    if let Ok(ports) = values::ports(text) {
        assert!(!ports.is_empty() && ports.iter().all(|range| *range.start() > 0 && !range.is_empty()));
        let written: Vec<_> =
            ports.iter().map(|range| format!("{}-{}", range.start(), range.end())).collect();
        same(values::ports(&written.join(",")), ports);
    }
    if let Ok(queues) = values::queues(text) {
        assert!((1..=256).contains(&queues.len()));
        same(values::queues(&format!("{}-{}", queues.start(), queues.end())), queues);
    }
    if let Ok(span) = values::duration(text) {
        assert!(span > Duration::ZERO);
        same(values::duration(&format!("{}s {}ns", span.as_secs(), span.subsec_nanos())), span);
    }
    if let Ok(size) = values::size(text) {
        assert!(size <= 1 << 30);
        same(values::size(&format!("{size} B")), size);
    }
    if let Ok(net) = values::network(text) {
        same(values::network(&net.to_string()), net);
    }
    if let Ok(name) = values::knock_name(text) {
        assert!(name == text && name.chars().count() <= 64 && !name.contains('='));
    }
    if let Ok(method) = values::method(text) {
        assert!(method == text && method.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Ok(backend) = values::backend(text) {
        assert_eq!(backend.name(), text);
    }
    match values::secret(text.as_bytes()) {
        Ok(secret) => assert_eq!(secret.expose(), text.as_bytes()),
        Err(_) => assert!(text.is_empty()),
    }
    let typed = format!("{text}={FLAGGED}");
    match values::name_and_secret(&typed) {
        Ok((name, secret)) => {
            let written = [name.as_bytes(), b"=", secret.expose()].concat();
            assert_eq!(written, typed.as_bytes());
        }
        Err(error) => assert!(!error.contains(FLAGGED), "{error}"),
    }
}

fn same<T: PartialEq + Debug>(again: Result<T, String>, first: T) {
    assert_eq!(again, Ok(first));
}

/// The secret in the seeds.
const KNOWN: &str = "H5x-kn0ck-9vQ";

/// A secret of a flag.
const FLAGGED: &str = "flagged-Zq7-kn0ck";

/// A door that is never open.
const NEVER: Life = Life::Span(Duration::ZERO);
