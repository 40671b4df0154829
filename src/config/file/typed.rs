//! Values of several keys, out of TOML.

use std::ops::RangeInclusive;

use toml::Value;

use super::reader::{list, one_of, text_of};
use crate::config::sections::{Fallback, TrustedName};
use crate::config::values;
use crate::packet::Transport;

/// Names with the addresses that they had when they were written down.
pub(super) fn trusted_names(value: &Value) -> Result<Vec<TrustedName>, String> {
    let table = value.as_table().ok_or(
        "write a table here, as in { \"sip.provider.example\" = [\"198.51.100.7\"] }: 'sipknock setup --trust NAME' does that",
    )?;
    let mut names = Vec::new();
    for (name, addresses) in table {
        let name = values::host(name)?;
        let addresses = list(addresses)?.iter().map(|item| text_of(item).and_then(values::address));
        names.push(TrustedName { name, addresses: addresses.collect::<Result<_, _>>()? });
    }
    Ok(names)
}

pub(super) fn ports(value: &Value) -> Result<Vec<RangeInclusive<u16>>, String> {
    let items = list(value)?;
    if items.is_empty() {
        return Err("no port at all: write them as in [5060, \"5061-5063\"]".to_owned());
    }
    let parsed = items.iter().map(|item| match item {
        Value::Integer(number) => values::ports(&number.to_string()),
        other => text_of(other).and_then(values::ports),
    });
    parsed.collect::<Result<Vec<_>, _>>().map(|lists| lists.concat())
}

pub(super) fn transports(value: &Value) -> Result<Vec<Transport>, String> {
    let mut transports: Vec<_> = list(value)?
        .iter()
        .map(|item| one_of(item, &[("udp", Transport::Udp), ("tcp", Transport::Tcp)]))
        .collect::<Result<_, _>>()?;
    transports.sort_unstable();
    transports.dedup();
    if transports.is_empty() {
        return Err("no transport at all: write them as in [\"udp\", \"tcp\"]".to_owned());
    }
    Ok(transports)
}

/// A list of texts with something in it.
pub(super) fn items<T>(
    value: &Value,
    if_empty: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match list(value)? {
        [] => Err(if_empty.to_owned()),
        items => items.iter().map(|item| text_of(item).and_then(&read)).collect(),
    }
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "write true or false".to_owned())
}

pub(super) fn fallback(value: &Value) -> Result<Fallback, String> {
    one_of(value, &[("closed", Fallback::Closed), ("open", Fallback::Open)])
}
