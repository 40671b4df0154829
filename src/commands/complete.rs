//! `sipknock complete`: names for a shell to offer, one a line. A file that can't be read has none.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::failure::Failure;
use crate::cli::{Cli, CompleteArgs, Completed};
use crate::config::Flags;
use crate::firewall::{DEFAULT_PARENT, Family, Firewall};

pub(super) fn run(cli: &Cli, args: &CompleteArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration_of(&Flags::default()).ok();
    let names: BTreeSet<String> = match args.what {
        Completed::Knocks => {
            config.into_iter().flat_map(|config| config.knocks).map(|knock| knock.name).collect()
        }
        Completed::Chains => {
            let configured = config.into_iter().flat_map(|config| config.firewall.chains);
            let usual = [DEFAULT_PARENT, "FORWARD", "DOCKER-USER"].map(str::to_owned);
            let there = Family::ALL.into_iter().filter_map(|family| Firewall::default().listing(family).ok());
            let there: Vec<String> = there.flat_map(|text| chains(&text)).collect();
            configured.chain(usual).chain(there).collect()
        }
    };
    let mut out = io::stdout().lock();
    for name in names {
        writeln!(out, "{name}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Chains of table filter that could jump to ours, as iptables-save lists them.
fn chains(text: &str) -> Vec<String> {
    let filter = text.lines().skip_while(|line| *line != "*filter").take_while(|line| *line != "COMMIT");
    let names = filter.filter_map(|line| line.strip_prefix(':')?.split_ascii_whitespace().next());
    names
        .filter(|name| crate::config::values::chain(name).is_ok() && *name != "OUTPUT")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_the_filter_table() {
        let text = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:SIPKNOCK - [0:0]\n\
                    :MINE - [0:0]\n-A INPUT -j MINE\nCOMMIT\n";
        assert_eq!(chains(text), ["INPUT", "MINE"]);
    }
}
