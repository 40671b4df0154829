//! Settings, by flags and answers.

use std::io::{BufRead, Write};
use std::time::Duration;

use ipnet::IpNet;

use crate::cli::{self, SetupArgs, Trust};
use crate::commands::failure::{Failure, WorkError};
use crate::config::{Config, TrustedName, values};
use crate::firewall::{DEFAULT_PARENT, Pbx};
use crate::resolve;
use crate::setup::dialog::Dialog;
use crate::setup::proposal::{Proposal, Settings, net_texts, pbx, ports_answer, span};
use crate::state::file::has_enforced;

/// All settings but the grace, in the order of the questions. A value that a flag gives is not asked for.
pub(super) fn settings<R: BufRead, W: Write>(
    proposal: &Proposal,
    current: Option<&Config>,
    args: &SetupArgs,
    dialog: &mut Dialog<R, W>,
) -> Result<Settings, Failure> {
    let mut settings = proposal.settings.clone();
    settings.ports = match args.ports() {
        Some(ports) => ports,
        None => {
            let proposed = ports_answer(&settings.ports);
            dialog.ask("Ports of SIP", &proposed, values::ports)?
        }
    };
    trusted(&mut settings, proposal, current, args, dialog)?;
    if args.chain.is_empty() {
        let proposed = settings.chains.join(",");
        let chains = |text: &str| text.split(',').map(|chain| values::chain(chain.trim())).collect();
        settings.chains = dialog.ask("Chains that packets to the PBX pass", &proposed, chains)?;
    } else {
        settings.chains.clone_from(&args.chain);
    }
    let elsewhere = settings.chains.iter().any(|chain| chain != DEFAULT_PARENT);
    if !args.pbx.is_empty() {
        settings.pbx = values::PbxEntry::collect(args.pbx.clone());
    } else if elsewhere {
        let proposed = pbx(&settings.pbx).join(",");
        settings.pbx = dialog.ask("Addresses or interfaces of the PBX there", &proposed, pbx_entries)?;
    } else if current.is_none() {
        settings.pbx = Pbx::default();
    }
    settings.user.clone_from(&args.user);
    Ok(settings)
}

/// How long everything passes at first.
pub(super) fn grace<R: BufRead, W: Write>(
    proposal: &Proposal,
    current: Option<&Config>,
    args: &SetupArgs,
    dialog: &mut Dialog<R, W>,
) -> Result<Duration, Failure> {
    if let Some(grace) = args.grace {
        return Ok(grace);
    }
    // A gate that has enforced never goes back by itself.
    let state = current.and_then(|config| config.state.file.as_deref());
    if current.is_some() && state.is_none_or(has_enforced) {
        return Ok(proposal.settings.grace);
    }
    let proposed = span(proposal.settings.grace);
    Ok(dialog.ask("Time of grace, in which everything passes (0s: none)", &proposed, cli::grace)?)
}

fn pbx_entries(text: &str) -> Result<Pbx, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let entries = entries.map(values::pbx).collect::<Result<Vec<_>, _>>()?;
    if entries.is_empty() {
        return Err(
            "every chain but INPUT needs the PBX's addresses or interfaces, as in 172.18.0.5".to_owned()
        );
    }
    Ok(values::PbxEntry::collect(entries))
}

/// Flags add to what is trusted already; an answer is all of it.
fn trusted<R: BufRead, W: Write>(
    settings: &mut Settings,
    proposal: &Proposal,
    current: Option<&Config>,
    args: &SetupArgs,
    dialog: &mut Dialog<R, W>,
) -> Result<(), Failure> {
    if !args.trust.is_empty() || args.yes || args.dry_run {
        return add(settings, proposal, &args.trust);
    }
    let mut words = net_texts(&settings.trusted);
    words.extend(settings.names.iter().map(|name| name.name.clone()));
    if current.is_none() {
        words.extend(net_texts(&proposal.own));
    }
    let proposed = if words.is_empty() { "none".to_owned() } else { words.join(",") };
    let wanted = dialog.ask("Networks or names that pass without a knock", &proposed, |text| {
        let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        words.map(cli::trust).collect::<Result<Vec<_>, _>>()
    })?;
    let known = std::mem::take(&mut settings.names);
    settings.trusted.clear();
    // Names keep the addresses that they have; the flag looks them up again.
    let (kept, new): (Vec<_>, Vec<_>) = wanted.into_iter().partition(
        |trust| matches!(trust, Trust::Name(name) if known.iter().any(|known| known.name == *name)),
    );
    settings.names =
        known.into_iter().filter(|known| kept.contains(&Trust::Name(known.name.clone()))).collect();
    add(settings, proposal, &new)
}

fn add(settings: &mut Settings, proposal: &Proposal, trust: &[Trust]) -> Result<(), Failure> {
    if trust.contains(&Trust::Nothing) {
        settings.trusted.clear();
        settings.names.clear();
    }
    let mut push = |net: IpNet| {
        if !settings.trusted.contains(&net) {
            settings.trusted.push(net);
        }
    };
    for trust in trust {
        match trust {
            Trust::Network(net) => push(*net),
            Trust::Own => proposal.own.iter().copied().for_each(&mut push),
            Trust::Nothing | Trust::Name(_) => {}
        }
    }
    for trust in trust {
        let Trust::Name(name) = trust else { continue };
        let addresses = resolve::addresses(name).map_err(|error| Failure::Work(WorkError::Other(error)))?;
        settings.names.retain(|known| known.name != *name);
        settings.names.push(TrustedName { name: name.clone(), addresses });
    }
    settings.names.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(())
}
