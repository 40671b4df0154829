//! Programs that manage a firewall of their own, known by the chains that they make. Pure.

use crate::firewall::{DEFAULT_PARENT, Listing};

/// The managers whose chains are there, for people.
pub fn known(tables: &Listing) -> Vec<&'static str> {
    MANAGERS
        .iter()
        .filter(|(chain, _)| {
            tables.has_chain(|name| match chain.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *chain,
            })
        })
        .map(|(_, manager)| *manager)
        .collect()
}

/// Why rules are not put into these chains, and what to do instead; `None` if nothing speaks against it.
pub fn refusal(tables: &Listing, chains: &[String]) -> Option<&'static str> {
    (chains.iter().any(|chain| chain == DEFAULT_PARENT) && tables.has_chain(|name| name == FREEPBX))
        .then_some(FREEPBX_REFUSAL)
}

/// The chain of FreePBX's firewall.
const FREEPBX: &str = "fpbxfirewall";

/// FreePBX's module (`drivers/Iptables.class.php` in its sources) takes a rule of INPUT before its own jump for an intrusion, and
/// flushes its tables, unless its custom rules are enabled or the rule's text has "fail2ban" or "f2b". Each line of its custom
/// rules is arguments of iptables or ip6tables. They pass a shell with all special signs escaped, also those within quotes.
const FREEPBX_REFUSAL: &str = "FreePBX's firewall is here (chain fpbxfirewall). It flushes all tables if a rule that is not \
    its own stands before it in INPUT, unless custom rules are enabled in it; so nothing is put into INPUT. Let FreePBX put \
    the rules in: Connectivity -> Firewall -> Advanced, enable \"Custom Firewall Rules\", and enter the lines of 'sipknock \
    firewall print' into \"Custom Rules\", those of ip6tables for IPv6, each without its first word and without quotes. \
    docs/recipes/freepbx.md has the commands";

/// Names that end in `*` are beginnings.
const MANAGERS: &[(&str, &str)] = &[
    (FREEPBX, "FreePBX's firewall"),
    ("f2b-*", "fail2ban"),
    ("fail2ban-*", "fail2ban"),
    ("DOCKER", "Docker"),
    ("ufw-*", "ufw"),
    ("INPUT_direct", "firewalld"),
    ("IN_public", "firewalld"),
    ("shorewall", "shorewall"),
    ("net2fw", "shorewall"),
    ("net-fw", "shorewall"),
    ("LOCALINPUT", "csf"),
    ("KUBE-*", "kube-proxy"),
    ("CROWDSEC_CHAIN", "crowdsec's bouncer"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(chains: &[&str]) -> Listing {
        let lines: String = chains.iter().map(|chain| format!(":{chain} - [0:0]\n")).collect();
        Listing::parse(&format!("*filter\n{lines}COMMIT\n"))
    }

    #[test]
    fn by_their_chains() {
        for (chains, managers) in [
            (&["INPUT", "SIPKNOCK"][..], &[][..]),
            (&["f2b-asterisk-iptables"], &["fail2ban"]),
            (&["DOCKER", "DOCKER-USER", "ufw-before-input"], &["Docker", "ufw"]),
            (&["fpbxfirewall", "fpbx-rtp"], &["FreePBX's firewall"]),
            (&["DOCKER-USER"], &[]),
        ] {
            assert_eq!(known(&tables(chains)), managers, "{chains:?}");
        }
    }

    #[test]
    fn freepbx_puts_rules_in_itself() {
        let freepbx = tables(&["INPUT", "fpbxfirewall"]);
        assert!(refusal(&freepbx, &["INPUT".to_owned()]).is_some_and(|text| text.contains("Custom Rules")));
        assert_eq!(refusal(&freepbx, &["FORWARD".to_owned()]), None);
        assert_eq!(refusal(&tables(&["INPUT"]), &["INPUT".to_owned()]), None);
    }
}
