//! Names whose addresses are trusted: whether they still have these.

use std::net::IpAddr;

use crate::config::shell_word;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Subject};

pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for written in &subject.config.trusted_names {
        let name = &written.name;
        let again = subject.command(&format!("setup --yes --trust {}", shell_word(name)));
        let now = match facts.resolved.iter().find(|(resolved, _)| resolved == name) {
            Some((_, Ok(now))) => now,
            Some((_, Err(error))) => {
                let text =
                    format!("trusted name: {error}; the addresses that are written down pass as before");
                found.push(
                    Finding::warning(UNKNOWN, text).mend(format!("getent ahosts {}", shell_word(name))),
                );
                continue;
            }
            None => continue,
        };
        let missing = |one: &[IpAddr], other: &[IpAddr]| -> Vec<String> {
            one.iter().filter(|address| !other.contains(address)).map(ToString::to_string).collect()
        };
        // An address that another entry trusts passes as well.
        let trusted = &subject.config.inspect.trusted;
        let mut new = missing(now, &written.addresses);
        new.retain(|text| {
            text.parse::<IpAddr>().is_ok_and(|address| !trusted.iter().any(|net| net.contains(&address)))
        });
        let gone = missing(&written.addresses, now);
        if !new.is_empty() {
            let text = format!(
                "{name} has an address that is not trusted: {}; `trusted_names` has others from an earlier time, so packets from \
                 there need a knock",
                new.join(", ")
            );
            found.push(Finding::warning(CHANGED, text).mend(again));
        } else if !gone.is_empty() {
            let text = format!(
                "{name} has no longer the address {}, which is trusted all the same: somebody else may have it by now",
                gone.join(", ")
            );
            found.push(Finding::note(CHANGED, text).mend(again));
        }
    }
    found
}

const CHANGED: &str = "trusted-name-changed";
const UNKNOWN: &str = "trusted-name-unknown";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};
    use crate::doctor::Severity;
    use crate::firewall::Plan;

    #[test]
    fn names_that_have_other_addresses() {
        let text = "[inspect]\ntrusted = [\"10.0.0.0/8\"]\ntrusted_names = { \"sip.example\" = [\"192.0.2.1\", \"192.0.2.2\"] }\n";
        let config = Config::parse(text, Path::new("x.toml"), &Flags::default()).unwrap();
        assert_eq!(config.inspect.trusted.len(), 3, "they are trusted");
        let addresses = |text: &str| Ok(text.split(' ').map(|address| address.parse().unwrap()).collect());
        for (name, now, expected) in [
            ("the same in another order", addresses("192.0.2.2 192.0.2.1"), None),
            (
                "another one",
                addresses("192.0.2.1 192.0.2.3"),
                Some((CHANGED, Severity::Warning, "192.0.2.3")),
            ),
            ("another one that is trusted", addresses("192.0.2.1 192.0.2.2 10.1.1.1"), None),
            ("one less", addresses("192.0.2.1"), Some((CHANGED, Severity::Note, "192.0.2.2"))),
            ("none", Err("no answer".to_owned()), Some((UNKNOWN, Severity::Warning, "no answer"))),
        ] {
            let facts = Facts { resolved: vec![("sip.example".to_owned(), now)], ..Facts::default() };
            let plan = Plan::default();
            let found = check(Subject { config: &config, plan: &plan }, &facts);
            let shown = found.first().map(|finding| (finding.name.as_str(), finding.severity));
            assert_eq!(shown, expected.map(|(name, severity, _)| (name, severity)), "{name}");
            if let (Some(finding), Some((_, _, word))) = (found.first(), expected) {
                assert!(finding.text.contains(word), "{finding:?}");
                assert!(finding.mend.as_ref().unwrap().contains("sip.example"), "{finding:?}");
            }
        }
    }
}
