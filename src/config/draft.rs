//! From values that are valid each to a configuration that is valid as a whole.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::values::PbxEntry;
use crate::config::error::ConfigError;
use crate::config::firewall::FirewallRules;
use crate::config::flags::Flags;
use crate::config::guard::SecretFile;
use crate::config::place::{ConfigNote, Place};
use crate::config::sections::{
    ControlSection, HttpSection, InspectSection, ProcessSection, QueueSection, StateSection, TrustedName,
};
use crate::config::settings::Config;
use crate::firewall::{DEFAULT_PARENT, PlanError};
use crate::inspect::Mode;
use crate::knock::{Extent, Knock, Life, Part, Secret};
use crate::net::NetSet;

/// A configuration that is still being put together: each value valid in itself, defaults filled in.
pub(super) struct Draft {
    pub(super) inspect: InspectSection,
    pub(super) trusted_names: Vec<TrustedName>,
    pub(super) queue: QueueSection,
    pub(super) firewall: FirewallRules,
    /// Where the chains stand.
    pub(super) chains_place: Place,
    pub(super) control: ControlSection,
    pub(super) state: StateSection,
    pub(super) http: HttpSection,
    pub(super) process: ProcessSection,
    pub(super) knocks: Vec<DraftKnock>,
    pub(super) files: Vec<SecretFile>,
    /// Folders in which `include` finds files.
    pub(super) include_folders: Vec<PathBuf>,
    pub(super) notes: Vec<ConfigNote>,
    /// Flags have had a say.
    pub(super) flagged: bool,
}

/// A knock whose door may still be the general one.
pub(super) struct DraftKnock {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) secret: Secret,
    pub(super) part: Part,
    pub(super) extent: Extent,
    pub(super) ignore_case: bool,
    pub(super) methods: Vec<String>,
    pub(super) sources: Option<Vec<IpNet>>,
    pub(super) door: Option<Life>,
    pub(super) max_doors: Option<u32>,
}

impl Draft {
    pub(super) fn apply(&mut self, flags: &Flags) {
        self.flagged = flags.change_the_meaning();
        if let Some(ports) = &flags.ports {
            self.inspect.scope.ports.clone_from(ports);
        }
        if let Some(door) = flags.door {
            self.inspect.door = door;
        }
        if flags.monitor {
            self.inspect.mode = Mode::Monitor;
        }
        if let Some(queues) = &flags.queues {
            self.queue.numbers = queues.clone();
        }
        if let Some(backend) = flags.backend {
            self.queue.backend = backend;
        }
        if let Some(socket) = &flags.control {
            self.control.socket.clone_from(socket);
        }
        if let Some(file) = &flags.state {
            self.state.file.clone_from(file);
        }
        if let Some(listen) = flags.http {
            self.http.listen = listen;
        }
        if let Some(user) = &flags.user {
            self.process.user.clone_from(user);
            self.process.user_named = true;
        }
        if !flags.chains.is_empty() {
            self.firewall.chains.clone_from(&flags.chains);
            self.firewall.typed = true;
            self.chains_place = Place { key: "--chain".to_owned(), ..Place::default() };
        }
        if !flags.pbx.is_empty() {
            self.firewall.pbx = PbxEntry::collect(flags.pbx.clone());
        }
        self.inspect.trusted.extend(&flags.trusted);
        self.knocks.extend(flags.knocks.iter().map(|(name, secret)| DraftKnock {
            place: Place { key: format!("--knock {name}"), ..Place::default() },
            name: name.clone(),
            secret: secret.clone(),
            part: Part::default(),
            extent: Extent::default(),
            ignore_case: false,
            methods: Vec::new(),
            sources: None,
            door: None,
            max_doors: None,
        }));
    }

    /// Checks what concerns several values.
    pub(super) fn finish(self, path: &Path) -> Result<Config, ConfigError> {
        self.check_duplicates()?;
        self.check_chains()?;
        let general = self.inspect.door;
        let knocks = self.knocks.into_iter().map(|knock| Knock {
            name: knock.name,
            secret: knock.secret,
            part: knock.part,
            extent: knock.extent,
            ignore_case: knock.ignore_case,
            methods: knock.methods,
            sources: knock.sources.map(|nets| NetSet::new(&nets)),
            door: knock.door.unwrap_or(general),
            max_doors: knock.max_doors,
        });
        let knocks = knocks.collect();
        Ok(Config {
            inspect: self.inspect,
            trusted_names: self.trusted_names,
            queue: self.queue,
            firewall: self.firewall,
            control: self.control,
            state: self.state,
            http: self.http,
            process: self.process,
            knocks,
            files: self.files,
            include_folders: self.include_folders,
            notes: self.notes,
            path: path.to_owned(),
            flagged: self.flagged,
        })
    }

    /// A chain that packets in both directions pass needs to be told which are which.
    fn check_chains(&self) -> Result<(), ConfigError> {
        let others = self.firewall.chains.iter().find(|chain| *chain != DEFAULT_PARENT);
        match others {
            Some(chain) if self.firewall.pbx.is_empty() => Err(ConfigError::Value {
                place: self.chains_place.clone(),
                text: PlanError::NoPbx(chain.clone()).to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn check_duplicates(&self) -> Result<(), ConfigError> {
        let mut names = HashMap::new();
        // By the folded secret, since "abc" with ignore_case finds all that "ABC" without it does.
        let mut secrets: HashMap<_, Vec<&DraftKnock>> = HashMap::new();
        for knock in &self.knocks {
            if let Some(first) = names.insert(&knock.name, &knock.place) {
                let text = format!(
                    "the name {:?} is taken already, at {first}: each knock needs its own",
                    knock.name
                );
                return Err(ConfigError::Value { place: knock.place.with("name"), text });
            }
            let alike = secrets.entry(knock.secret.expose().to_ascii_lowercase()).or_default();
            let same =
                |other: &&&DraftKnock| knock.ignore_case || other.ignore_case || knock.secret == other.secret;
            if let Some(first) = alike.iter().find(same) {
                let text =
                    format!("this secret is that of knock {:?} already: give each its own", first.name);
                return Err(ConfigError::Value { place: knock.place.with("secret"), text });
            }
            alike.push(knock);
        }
        Ok(())
    }
}
