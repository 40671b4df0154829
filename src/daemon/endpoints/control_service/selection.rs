//! The doors that a request asks for: by knock, source or network.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::values;
use crate::control::protocol::Refusal;
use crate::door::{Door, Listed};
use crate::inspect::{Inspector, MANUAL, OUTBOUND};
use crate::knock::KnockId;
use crate::net::Source;
use crate::time::Time;

/// Which doors to list.
pub(super) struct DoorSelection {
    pub(super) knock: KnockSelection,
    net: Option<IpNet>,
}

/// By whom the doors are held that are to be listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KnockSelection {
    Any,
    Outbound,
    This(KnockId),
}

impl DoorSelection {
    pub(super) fn new(gate: &Inspector, knock: Option<&str>, source: Option<&str>) -> Result<Self, Refusal> {
        let knock = match knock {
            None => KnockSelection::Any,
            Some(OUTBOUND) => KnockSelection::Outbound,
            Some(name) => KnockSelection::This(knock_named(gate, name)?),
        };
        Ok(Self { knock, net: source.map(network).transpose()? })
    }

    pub(super) fn includes(&self, gate: &Inspector, listed: &Listed, now: Time) -> bool {
        let by_knock = match self.knock {
            KnockSelection::Any => true,
            KnockSelection::Outbound => false,
            KnockSelection::This(knock) => {
                listed.claims().any(|claim| claim.knock == knock && now < claim.until)
            }
        };
        by_knock && self.covers(gate, listed.source)
    }

    pub(super) fn covers(&self, gate: &Inspector, source: Source) -> bool {
        self.net.is_none_or(|net| net.contains(&source.network(gate.cut())))
    }
}

pub(super) fn knock_named(gate: &Inspector, name: &str) -> Result<KnockId, Refusal> {
    let by_hand = || (name == MANUAL).then(Door::by_hand);
    let knock = gate.knock_named(name).or_else(by_hand);
    knock.ok_or_else(|| Refusal::not_found(format!("no knock is named {name:?}")))
}

/// An address, or a network that is a source.
pub(super) fn source(gate: &Inspector, address: &str) -> Result<Source, Refusal> {
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(gate.cut().source(address));
    }
    let net = network(address)?;
    let source = gate.cut().source(net.addr());
    let whole = source.network(gate.cut());
    if whole.prefix_len() != net.prefix_len() {
        let text = format!("{net} is not a source: a door is for a /{}, as {whole}", whole.prefix_len());
        return Err(Refusal::bad(text));
    }
    Ok(source)
}

pub(super) fn network(text: &str) -> Result<IpNet, Refusal> {
    values::network(text).map_err(Refusal::bad)
}
