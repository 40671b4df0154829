//! Notes: no errors, but of interest to the owner.

use std::fmt;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::difference::Difference;
use super::names::{CHAIN, CHAIN_OUT};

/// A remark for the owner that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirewallNote {
    /// The kernel does not speak IPv6.
    NoIpv6,
    /// The kernel speaks IPv6, and there is nothing to filter it with.
    NoProgram {
        /// What was looked for.
        program: String,
    },
    /// The configuration leaves this family out.
    NotWanted,
    /// A PBX behind this machine has no address of this family.
    NoAddress,
    /// Nothing says by which interface packets come from the PBX.
    NoInterface {
        /// The PBX's addresses.
        net: IpNet,
    },
    /// The kernel or iptables has no NFLOG target.
    OutboundLeftOut,
    /// The kernel or iptables has no u32 match.
    AnswersCopied,
    /// The kernel or iptables has no conntrack match.
    ReassemblyLeftOut,
    /// There is no table mangle, or no comment match.
    CounterLeftOut,
    /// The other variant's rules of ours are taken out.
    OtherRemoved {
        /// Its program.
        program: String,
    },
    /// The other variant's rules of ours could not be taken out.
    OtherLeft {
        /// Its program.
        program: String,
        /// Why.
        error: String,
    },
    /// Something that rules of others do, and that ours do not change.
    Amiss(Difference),
}

/// What it means, and what to do about it.
impl fmt::Display for FirewallNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIpv6 => f.write_str("no IPv6 rules: this kernel does not speak IPv6"),
            Self::NoProgram { program } => write!(
                f,
                "no IPv6 rules, although this kernel speaks IPv6: {program} is not installed. Everybody who reaches \
                 this machine over IPv6 reaches its SIP ports; install it, or keep the PBX off IPv6"
            ),
            Self::NotWanted => f.write_str("no rules: `families` leaves it out"),
            Self::NoAddress => f.write_str("no rules: no address or interface in `pbx` is of this family"),
            Self::NoInterface { net } => write!(
                f,
                "packets of {net} are not copied to the gate, so its calls open no door: only the default route leads \
                 there, and without an interface every host could send with that address. Name the \
                 interface in `pbx`, as in `pbx = [\"{net}\", \"eth1\"]`"
            ),
            Self::OutboundLeftOut => write!(
                f,
                "without chain {CHAIN_OUT}, so the gate does not see the PBX's calls, and providers must be in \
                 `trusted`: this kernel or iptables has no NFLOG target (`modprobe nfnetlink_log xt_NFLOG`; on OpenWrt: \
                 `kmod-nfnetlink-log iptables-mod-nflog`)"
            ),
            Self::AnswersCopied => f.write_str(
                "answers of the PBX are copied to the gate as well, which costs a little and changes nothing: this kernel \
                 or iptables has no u32 match (`modprobe xt_u32`; on OpenWrt: `iptables-mod-u32`)",
            ),
            Self::ReassemblyLeftOut => write!(
                f,
                "without the rule in {CHAIN} that makes the kernel reassemble fragments: this kernel or iptables has no \
                 conntrack match (`modprobe xt_conntrack`; on OpenWrt: `kmod-ipt-conntrack`). A knock behind the first \
                 fragment of a datagram is not found, and TCP segments in fragments are dropped"
            ),
            Self::CounterLeftOut => f.write_str(
                "without rules that count packets before the rules of others: there is no table mangle, or no comment \
                 match (`modprobe iptable_mangle xt_comment`). Packets that rules of others take from the gate do not show",
            ),
            Self::OtherRemoved { program } => write!(f, "rules that {program} had of ours are removed"),
            Self::OtherLeft { program, error } => {
                write!(f, "rules that {program} has of ours are still there: {error}")
            }
            Self::Amiss(difference) => difference.fmt(f),
        }
    }
}

/// As its sentence.
impl Serialize for FirewallNote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
