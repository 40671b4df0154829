//! Whether two processes go by the same configuration, without either showing its secrets to the other.
//!
//! A digest is SHA-256 over a salt and all of the configuration, so that it is never the hash of one secret, and differs
//! from load to load. It is for comparison only: whoever has the same configuration computes the same digest from the
//! salt that stands in it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::config::firewall::FirewallRules;
use crate::config::guard::SecretFile;
use crate::config::settings::Config;
use crate::knock::Knock;

/// Two digests of a configuration, with the salt that both are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of what the configuration means: `[inspect]`, `[queue]`, `[firewall]` and all knocks.
    pub meaning: String,
    /// Of the bytes of all files that were read for it.
    pub files: String,
}

impl Config {
    /// Its digests, with 16 bytes of salt.
    pub fn digests(&self, salt: [u8; SALT]) -> Digests {
        Digests { meaning: finish(salt, self.meaning()), files: finish(salt, self.file_contents()) }
    }

    /// The digests that another process would have of this configuration, from one that it has of its own. `None` if
    /// `other` is no digest.
    pub fn digests_like(&self, other: &str) -> Option<Digests> {
        let hex = other.split_once(':')?.0;
        let mut salt = [0; SALT];
        if hex.len() != 2 * SALT || !hex.is_ascii() {
            return None;
        }
        for (place, digits) in salt.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *place = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(self.digests(salt))
    }

    /// What decides packets and makes rules. Where it stands, who runs the gate and where it listens are left out.
    fn meaning(&self) -> Vec<Vec<u8>> {
        let Self { inspect, queue, firewall, knocks, control: _, state: _, http: _, process: _, .. } = self;
        let mut inspect = inspect.clone();
        inspect.scope.ports.sort_unstable_by_key(|ports| (*ports.start(), *ports.end()));
        inspect.scope.transports.sort_unstable();
        for nets in [&mut inspect.trusted, &mut inspect.nat64] {
            *nets = nets.iter().map(ipnet::IpNet::trunc).collect();
            nets.sort_unstable();
            nets.dedup();
        }
        // For starts alone.
        inspect.grace = std::time::Duration::ZERO;
        let firewall = FirewallRules { typed: false, ..firewall.clone() };
        let mut parts = vec![format!("{inspect:?}").into_bytes(), format!("{queue:?}").into_bytes()];
        parts.push(format!("{firewall:?}").into_bytes());
        // The order of knocks is that of their names in lists, and changes nothing else.
        let mut knocks: Vec<&Knock> = knocks.iter().collect();
        knocks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for knock in knocks {
            // Without the secret, whose Debug form is its length.
            parts.push(format!("{knock:?}").into_bytes());
            parts.push(knock.secret.expose().to_vec());
        }
        parts
    }

    fn file_contents(&self) -> Vec<Vec<u8>> {
        self.files.iter().map(|SecretFile { content, .. }| content.0.to_vec()).collect()
    }
}

/// Each part with its length, so that no two lists of parts are the same bytes.
fn finish(salt: [u8; SALT], parts: Vec<Vec<u8>>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let mut text = hex(&salt);
    text.push(':');
    text.push_str(&hex(&hash));
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of salt.
pub const SALT: usize = 16;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    const SALT_A: [u8; SALT] = [0xa5; SALT];

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("x.toml"), &Flags::default()).unwrap()
    }

    #[test]
    fn digests_tell_meanings_apart_and_nothing_else() {
        let knocks = "[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmag\"\n[[knock]]\nname = \"b\"\nsecret = \"jwtdpmjgat\"\n";
        let text = |inspect: &str, knocks: &str| format!("[inspect]\n{inspect}\n{knocks}");
        let base = config(&text("ports = [5060, 5070]", knocks)).digests(SALT_A).meaning;
        let swapped = "[[knock]]\nname = \"b\"\nsecret = \"jwtdpmjgat\"\n[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmag\"\n";
        for (name, other, same) in [
            ("a comment", text("# Hello\nports = [5060, 5070]", knocks), true),
            ("another order", text("ports = [5070, 5060]", swapped), true),
            (
                "a default that is written down",
                text("ports = [5060, 5070]\nmode = \"enforce\"", knocks),
                true,
            ),
            (
                "what does not decide packets",
                text("ports = [5060, 5070]\n[http]\nlisten = \"127.0.0.1:1\"", knocks),
                true,
            ),
            ("a port", text("ports = [5060, 5071]", knocks), false),
            ("the mode", text("ports = [5060, 5070]\nmode = \"monitor\"", knocks), false),
            ("trust", text("ports = [5060, 5070]\ntrusted = [\"192.0.2.1\"]", knocks), false),
            (
                "the default of nat64 that is written down",
                text("ports = [5060, 5070]\nnat64 = [\"64:ff9b::/96\"]", knocks),
                true,
            ),
            ("nat64", text("ports = [5060, 5070]\nnat64 = []", knocks), false),
            ("a rule's key", text("ports = [5060, 5070]\n[firewall]\nkeep = false", knocks), false),
            ("a grace", text("ports = [5060, 5070]\ngrace = \"1h\"", knocks), true),
            ("a queue", text("ports = [5060, 5070]\n[queue]\nnumbers = 1", knocks), false),
            (
                "a secret of the same length",
                text("ports = [5060, 5070]", &knocks.replace("jwt", "jwd")),
                false,
            ),
            (
                "secrets exchanged",
                text(
                    "ports = [5060, 5070]",
                    &knocks.replace("\"a\"", "\"c\"").replace("\"b\"", "\"a\"").replace("\"c\"", "\"b\""),
                ),
                false,
            ),
        ] {
            let found = config(&other).digests(SALT_A).meaning;
            assert_eq!(found == base, same, "{name}");
        }
    }

    #[test]
    fn a_digest_goes_by_where_and_how_a_secret_matches() {
        let digest = |keys: &str| {
            let text = format!("[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmag\"\n{keys}\n");
            config(&text).digests(SALT_A).meaning
        };
        let base = digest("in = \"user-agent\"");
        for (keys, same) in [
            ("in = \"user-agent\"\nmatch = \"within\"", true),
            ("in = \"user-agent\"\nmatch = \"whole\"", false),
            ("in = \"from-display-name\"", false),
            ("", false),
        ] {
            assert_eq!(digest(keys) == base, same, "{keys}");
        }
    }

    #[test]
    fn a_digest_says_how_to_make_the_same_one() {
        let (one, other) = (config("[inspect]\nmax_doors = 7"), config("[inspect]\nmax_doors = 8"));
        let told = one.digests([0x1f; SALT]);
        assert_ne!(told, one.digests(SALT_A), "the salt is part of it");
        assert_eq!(one.digests_like(&told.meaning), Some(told.clone()));
        assert_ne!(other.digests_like(&told.meaning).map(|digests| digests.meaning), Some(told.meaning));
        for wrong in ["", ":", "12:34", "zz", &"é".repeat(16), &format!("{}:00", "0g".repeat(16))] {
            assert_eq!(one.digests_like(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_are_told_apart_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = (folder.path().join("x.toml"), folder.path().join("a.secret"));
        std::fs::write(&path, "[[knock]]\nname = \"a\"\nsecret_file = \"a.secret\"\n").unwrap();
        std::fs::write(&secret, "gwadjtpmag\n").unwrap();
        let digests = || Config::load(&path, true, &Flags::default()).unwrap().digests(SALT_A);
        let first = digests();
        assert_eq!(digests(), first);
        std::fs::write(&secret, "gwadjtpmag").unwrap();
        let second = digests();
        assert!(second.meaning == first.meaning && second.files != first.files, "a line end");
        std::fs::write(&secret, "gwadjtpmaw").unwrap();
        assert_ne!(digests().meaning, first.meaning);
    }
}
