//! Knocks that setup writes.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use crate::cli::SetupArgs;
use crate::commands::failure::{Failure, WorkError};
use crate::commands::keygen;
use crate::config::{Config, Flags, values};
use crate::knock::{Knock, weakness};
use crate::setup::dialog::Dialog;
use crate::setup::phones;
use crate::setup::proposal::quoted;

/// Knocks that are not in the configuration yet.
#[derive(Default)]
pub(super) struct NewKnocks {
    knocks: Vec<NewKnock>,
}

struct NewKnock {
    name: String,
    /// Its table as TOML.
    table: String,
    /// A secret that was made here, and that its phone has yet to be given.
    made: Option<String>,
}

/// A source of knocks, as an answer has it.
#[derive(Clone)]
enum KnockSource {
    Made(String),
    Given(String, crate::knock::Secret),
    Phones(PathBuf),
    Learned(PathBuf),
}

/// Knocks by flags; if there are none, and none is known, by an answer.
pub(super) fn new_knocks<R: BufRead, W: Write>(
    known: &[Knock],
    args: &SetupArgs,
    dialog: &mut Dialog<R, W>,
) -> Result<NewKnocks, Failure> {
    let mut sources: Vec<KnockSource> =
        args.knock.iter().map(|(name, secret)| KnockSource::Given(name.clone(), secret.clone())).collect();
    sources.extend(args.from.clone().map(KnockSource::Phones));
    sources.extend(args.learned.clone().map(KnockSource::Learned));
    if sources.is_empty() && known.is_empty() {
        let question = "First knock: a name, for which a secret is made, NAME=SECRET, or a file of phones (.csv) or knocks (.toml)";
        sources.push(dialog.ask(question, "phones", source)?);
    }
    let mut new = NewKnocks::default();
    for source in sources {
        new.add(source)?;
    }
    new.leave_out_known(known)?;
    new.refuse_weak()?;
    Ok(new)
}

fn source(text: &str) -> Result<KnockSource, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(KnockSource::Phones(path)),
        Some("toml") => Ok(KnockSource::Learned(path)),
        _ if text.contains('=') => {
            values::name_and_secret(text).map(|(name, secret)| KnockSource::Given(name, secret))
        }
        _ => values::knock_name(text).map(KnockSource::Made),
    }
}

impl NewKnocks {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.knocks.is_empty()
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.knocks.iter().map(|knock| knock.name.clone()).collect()
    }

    /// The text of a file with them behind what it has.
    pub(super) fn appended_to(&self, before: Option<&str>) -> String {
        let mut text = before.unwrap_or(HEAD).to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        for knock in &self.knocks {
            text.push('\n');
            text.push_str(knock.table.trim());
            text.push('\n');
        }
        text
    }

    /// A line on secrets that were made here, for the owner.
    pub(super) fn to_tell(&self, terminal: bool) -> Option<String> {
        let made: Vec<_> =
            self.knocks.iter().filter_map(|knock| Some((&knock.name, knock.made.as_ref()?))).collect();
        match made.as_slice() {
            [] => None,
            [(name, secret)] if terminal => Some(format!(
                "give the phones of knock {name:?} this display name (From, caller name): {secret}"
            )),
            many => Some(format!(
                "give each phone the secret of its knock as its display name (From, caller name): knocks.d/{FILE} has {}",
                if many.len() == 1 { "it" } else { "them" }
            )),
        }
    }

    fn add(&mut self, source: KnockSource) -> Result<(), Failure> {
        match source {
            KnockSource::Made(name) => self.made(name),
            KnockSource::Given(name, secret) => {
                let secret = std::str::from_utf8(secret.expose()).map_err(|_| {
                    Failure::Usage(format!("the secret of {name:?} is no UTF-8: put it into a file"))
                })?;
                self.given(name, secret);
                Ok(())
            }
            KnockSource::Phones(path) => {
                let text = read(&path)?;
                let list = phones::parse(&text)
                    .map_err(|text| Failure::Usage(format!("{}: {text}", path.display())))?;
                for phone in list {
                    match phone.secret {
                        Some(secret) => self.given(phone.name, &secret),
                        None => self.made(phone.name)?,
                    }
                }
                Ok(())
            }
            KnockSource::Learned(path) => self.learned(&path),
        }
    }

    fn given(&mut self, name: String, secret: &str) {
        let table = format!("[[knock]]\nname = {}\nsecret = {}\n", quoted(&name), quoted(&secret));
        self.knocks.push(NewKnock { name, table, made: None });
    }

    fn made(&mut self, name: String) -> Result<(), Failure> {
        let secret = keygen::typed_secret().map_err(|error| {
            Failure::Work(WorkError::Other(format!("the kernel gives no random numbers, try again: {error}")))
        })?;
        // A phone with a keypad writes "Hgtj" as well as "hgtj", and sends its display name.
        let mut table = format!("[[knock]]\nname = {}\nsecret = {}\n", quoted(&name), quoted(&secret));
        table.push_str("in = \"from-display-name\"\nmatch = \"whole\"\nignore_case = true\n");
        self.knocks.push(NewKnock { name, table, made: Some(secret) });
        Ok(())
    }

    /// Knocks of a file, with all their keys.
    fn learned(&mut self, path: &Path) -> Result<(), Failure> {
        let text = read(path)?;
        let config = Config::parse(&text, path, &Flags::default())?;
        if config.knocks.is_empty() {
            return Err(Failure::Usage(format!(
                "{}: no [[knock]] is in it: 'sipknock learn --toml FILE' prints them",
                path.display()
            )));
        }
        let table: toml::Table = toml::from_str(&text)
            .map_err(|error| Failure::Usage(format!("{}: {}", path.display(), error.message())))?;
        let tables = table.get("knock").and_then(toml::Value::as_array).into_iter().flatten();
        for (knock, table) in config.knocks.iter().zip(tables) {
            let mut text = String::from("[[knock]]\n");
            for (key, value) in table.as_table().into_iter().flatten() {
                let _ = writeln!(text, "{key} = {}", as_toml(value));
            }
            self.knocks.push(NewKnock { name: knock.name.clone(), table: text, made: None });
        }
        Ok(())
    }

    /// Leaves out those that the configuration has, and refuses those that contradict it.
    fn leave_out_known(&mut self, known: &[Knock]) -> Result<(), Failure> {
        let parsed = self.parse()?;
        let mut keep = Vec::new();
        for knock in &parsed.knocks {
            let same_secret = |other: &Knock| other.secret.expose() == knock.secret.expose();
            match known.iter().find(|other| other.name == knock.name || same_secret(other)) {
                None => keep.push(true),
                Some(other) if other.name == knock.name && same_secret(other) => keep.push(false),
                Some(other) if other.name == knock.name => {
                    return Err(Failure::Usage(format!(
                        "knock {:?} is there already, with another secret: change it in its file, or take another name",
                        knock.name
                    )));
                }
                Some(other) => {
                    return Err(Failure::Usage(format!(
                        "the secret of knock {:?} is that of knock {:?} already: give each its own",
                        knock.name, other.name
                    )));
                }
            }
        }
        let mut keep = keep.into_iter();
        self.knocks.retain(|_| keep.next().unwrap_or(true));
        Ok(())
    }

    /// Refuses knocks that anybody guesses within a minute, as `check` does.
    fn refuse_weak(&self) -> Result<(), Failure> {
        let parsed = self.parse()?;
        let weak = weakness::of(&parsed.knocks);
        let Some(weak) = weak.iter().find(|weak| weak.guessable) else { return Ok(()) };
        let name = parsed.knocks.get(weak.knock).map_or("", |knock| &knock.name);
        Err(Failure::Usage(format!("knock {name:?}: {}", weak.why)))
    }

    /// Knocks that are valid and yet easier to guess than they should be.
    pub(super) fn warnings(&self) -> Result<Vec<String>, Failure> {
        let parsed = self.parse()?;
        let weak = weakness::of(&parsed.knocks).into_iter().filter_map(|weak| {
            let name = &parsed.knocks.get(weak.knock)?.name;
            Some(format!("knock {name:?}: {}", weak.why))
        });
        Ok(weak.collect())
    }

    fn parse(&self) -> Result<Config, Failure> {
        let text: String = self.knocks.iter().map(|knock| format!("{}\n", knock.table)).collect();
        Ok(Config::parse(&text, Path::new("the new knocks"), &Flags::default())?)
    }
}

fn as_toml(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => quoted(text),
        toml::Value::Array(items) => {
            format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", "))
        }
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(is) => is.to_string(),
        // No key of a knock has any other value.
        _ => quoted(&""),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// A line of a file as it is shown: secrets stay in the file.
pub(super) fn without_secret(line: &str) -> String {
    let body = line.trim_start_matches(['+', '-']).trim_start();
    let key = body.split('=').next().unwrap_or_default().trim();
    match ["secret", "next"].contains(&key) && body.contains('=') {
        true => format!("{}{key} = (not shown)", line.get(..1).unwrap_or_default()),
        false => line.to_owned(),
    }
}

/// The file of knocks that setup writes, among those of the configuration.
pub(super) const FILE: &str = "setup.toml";

const HEAD: &str =
    "# Knocks: secrets that phones send. 'sipknock setup' adds to them; edit them as you like.\n";
