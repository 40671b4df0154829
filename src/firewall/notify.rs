//! Notifications of nf_tables: who changed which tables, and when.
//!
//! The kernel sends them to the multicast group `NFNLGRP_NFTABLES` (include/uapi/linux/netfilter/nf_tables.h,
//! `nf_tables_commit_notify` in net/netfilter/nf_tables_api.c): a message for each table, chain or rule of a
//! transaction, and a message that ends it and names the process. iptables-nft is a client of nf_tables. The legacy
//! variant of iptables is not, and sends nothing. This file holds the codec; no bytes from outside can make it panic.
//! [`socket`] holds the reader.

pub mod socket;

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// A table, chain or rule is new or gone.
    Change(RulesetChange),
    /// The transaction ends here.
    Generation(Generation<'a>),
    /// Another message, to be skipped: a set, an element, an object.
    Other,
}

/// A change of a table, chain or rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulesetChange {
    /// The table's family, an `NFPROTO_` number.
    pub family: u8,
    /// The netlink port id of the socket that asked for the change.
    pub port_id: u32,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation<'a> {
    /// The number of the ruleset (`NFTA_GEN_ID`).
    pub id: u32,
    /// The netlink port id of the socket that asked for it; the process id, as its own namespace counts, if the
    /// process let the kernel choose.
    pub port_id: u32,
    /// The process (`NFTA_GEN_PROC_PID`), as the first process namespace counts. `None` before Linux 4.14.
    pub pid: Option<u32>,
    /// The process's name (`NFTA_GEN_PROC_NAME`), at most 15 bytes. Empty before Linux 4.14.
    pub name: &'a [u8],
}

impl RulesetChange {
    /// Whether iptables or ip6tables shows this table.
    pub const fn is_of_iptables(&self) -> bool {
        matches!(self.family, NFPROTO_IPV4 | NFPROTO_IPV6)
    }
}

/// A datagram that is not what its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A message or attribute claims a length that its surroundings don't have.
    #[error("nf_tables message of type {kind} says it has {said} bytes, there are {got}")]
    Length {
        /// The message's or attribute's type.
        kind: u16,
        /// Its length field.
        said: usize,
        /// The bytes that are there.
        got: usize,
    },
    /// The end of a transaction has no number.
    #[error("nf_tables message without a generation id")]
    NoId,
}

/// The messages of one datagram. It ends behind the first message that can't be read, since the place of the next one
/// is unknown then.
#[derive(Clone, Debug)]
pub struct Notifications<'a> {
    rest: &'a [u8],
}

impl<'a> Notifications<'a> {
    /// Reads a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Notifications<'a> {
    type Item = Result<Notification<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<NLMSG_HDRLEN>()?;
        let said = u32_ne(header, 0) as usize;
        let kind = u16_ne(header, 4);
        let Some(body) = self.rest.get(NLMSG_HDRLEN..said) else {
            let error = DecodeError::Length { kind, said, got: self.rest.len() };
            self.rest = &[];
            return Some(Err(error));
        };
        self.rest = self.rest.get(align(said)..).unwrap_or_default();
        Some(read_message(kind, u32_ne(header, 12), body))
    }
}

fn read_message(kind: u16, port_id: u32, body: &[u8]) -> Result<Notification<'_>, DecodeError> {
    let [message, subsystem] = kind.to_le_bytes();
    let wanted = matches!(
        message,
        NFT_MSG_NEWTABLE
            | NFT_MSG_DELTABLE
            | NFT_MSG_NEWCHAIN
            | NFT_MSG_DELCHAIN
            | NFT_MSG_NEWRULE
            | NFT_MSG_DELRULE
            | NFT_MSG_NEWGEN
    );
    if subsystem != NFNL_SUBSYS_NFTABLES || !wanted {
        return Ok(Notification::Other);
    }
    let Some((&[family, _version, _, _], attributes)) = body.split_first_chunk::<NFGEN_HDRLEN>() else {
        return Err(DecodeError::Length { kind, said: NFGEN_HDRLEN, got: body.len() });
    };
    if message != NFT_MSG_NEWGEN {
        return Ok(Notification::Change(RulesetChange { family, port_id }));
    }
    read_generation(port_id, attributes).map(Notification::Generation)
}

fn read_generation(port_id: u32, mut rest: &[u8]) -> Result<Generation<'_>, DecodeError> {
    let (mut id, mut pid, mut name) = (None, None, &[][..]);
    while let Some(header) = rest.first_chunk::<NLA_HDRLEN>() {
        let said = usize::from(u16_ne(header, 0));
        let kind = u16_ne(header, 2) & NLA_TYPE_MASK;
        let Some(value) = rest.get(NLA_HDRLEN..said) else {
            return Err(DecodeError::Length { kind, said, got: rest.len() });
        };
        let number = || value.first_chunk::<4>().map(|&number| u32::from_be_bytes(number));
        match kind {
            NFTA_GEN_ID => id = number(),
            NFTA_GEN_PROC_PID => pid = number(),
            NFTA_GEN_PROC_NAME => name = value.split(|byte| *byte == 0).next().unwrap_or_default(),
            _ => {}
        }
        rest = rest.get(align(said)..).unwrap_or_default();
    }
    Ok(Generation { id: id.ok_or(DecodeError::NoId)?, port_id, pid, name })
}

/// Netlink aligns messages and attributes to four bytes.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_ne(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u16::from_ne_bytes(chunk))
}

fn u32_ne(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u32::from_ne_bytes(chunk))
}

const NLMSG_HDRLEN: usize = 16;
const NFGEN_HDRLEN: usize = 4;
const NLA_HDRLEN: usize = 4;
/// Without the bits for nesting and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;

const NFNL_SUBSYS_NFTABLES: u8 = 10;
/// `NFNLGRP_NFTABLES` in include/uapi/linux/netfilter/nfnetlink.h.
const NFNLGRP_NFTABLES: u32 = 7;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_DELCHAIN: u8 = 5;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_DELRULE: u8 = 8;
const NFT_MSG_NEWGEN: u8 = 15;

const NFTA_GEN_ID: u16 = 1;
const NFTA_GEN_PROC_PID: u16 = 2;
const NFTA_GEN_PROC_NAME: u16 = 3;

#[cfg(test)]
mod tests;
