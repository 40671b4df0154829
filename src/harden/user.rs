//! As whom the gate runs.

use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities};

use crate::accounts::{User, group_number};
use crate::config::{Config, ConfigError, Place};
use crate::control::socket::GROUP;

/// As whom the gate runs from the moment its queues are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As whoever started it.
    Stay {
        /// His name, or number.
        name: String,
        /// What to do about that.
        warning: Option<String>,
    },
    /// As somebody else.
    Become {
        /// The name.
        name: String,
        /// Its number.
        uid: u32,
        /// The number of its group.
        gid: u32,
    },
}

impl Identity {
    /// Who that is: what the configuration says where root starts the gate, and otherwise whoever does.
    ///
    /// # Errors
    /// Where the configuration names somebody who does not exist, or whom this process can't become.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let wanted = &config.process.user;
        let own = geteuid();
        if !own.is_root() {
            let number = own.as_raw();
            let name = user_name(number).unwrap_or_else(|| format!("user {number}"));
            return Ok(Self::Stay { name, warning: None });
        }
        if wanted == ROOT || wanted == "0" {
            return Ok(Self::Stay { name: ROOT.to_owned(), warning: None });
        }
        let may = capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID));
        let problem = match User::find(wanted) {
            Some(User { uid: 0, .. }) => return Ok(Self::Stay { name: ROOT.to_owned(), warning: None }),
            Some(User { uid, gid, .. }) if may => return Ok(Self::Become { name: wanted.clone(), uid, gid }),
            Some(_) => "becoming another user needs CAP_SETUID and CAP_SETGID: give it those, or start it as that user"
                .to_owned(),
            None => format!("there is no user {wanted}: make it with \"systemd-sysusers --inline 'u {wanted} -'\", or with \
                             'useradd --system --user-group {wanted}'"),
        };
        if config.process.user_named {
            let place = Place { key: "process.user".to_owned(), ..Place::default() };
            let text = format!("{problem}; \"root\" stays root with CAP_NET_ADMIN alone");
            return Err(ConfigError::Value { place, text });
        }
        let warning = format!("the gate stays root, with CAP_NET_ADMIN alone: {problem}");
        Ok(Self::Stay { name: ROOT.to_owned(), warning: Some(warning) })
    }

    /// Who that is, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Stay { name, .. } | Self::Become { name, .. } => name,
        }
    }

    /// What is to be done about it.
    pub fn warning(&self) -> Option<&str> {
        match self {
            Self::Stay { warning, .. } => warning.as_deref(),
            Self::Become { .. } => None,
        }
    }
}

/// Groups that may read secrets: that of those who turn the gate, that of the user as whom it is to run, and, where this
/// process is not root's, its own.
pub fn trusted_groups(config: &Config) -> Vec<u32> {
    let user = User::find(&config.process.user);
    let own = (!geteuid().is_root()).then(|| getegid().as_raw());
    group_number(GROUP).into_iter().chain(user.map(|user| user.gid)).chain(own).collect()
}

/// The name of a user by its number, if it has one.
pub fn user_name(uid: u32) -> Option<String> {
    User::find(&uid.to_string()).map(|user| user.name)
}

const ROOT: &str = "root";
