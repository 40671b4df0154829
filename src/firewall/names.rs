//! Names of our chains and marks of our rules, and bounds of iptables.

/// The chain for packets to the PBX, in table filter of each family.
pub const CHAIN: &str = "SIPKNOCK";

/// The chain for packets from the PBX.
pub const CHAIN_OUT: &str = "SIPKNOCK-OUT";

/// The end of a rule without a target that counts. The comment says whose it is: such a rule has nothing else to tell it
/// by from one that somebody else's accounting put in.
pub(super) const COUNTER: &str = "-m comment --comment sipknock-counter";

/// Behind the NFQUEUE rule, and so never reached: the match has the kernel put fragments together before any rule sees
/// them (nf_ct_netns_get, net/netfilter/xt_conntrack.c; nf_defrag_ipv6).
pub(super) const REASSEMBLY: &str = "-m conntrack --ctstate INVALID -j DROP";

/// The length iptables allows: XT_EXTENSION_MAXNAMELEN is 29 with the closing zero
/// (include/uapi/linux/netfilter/x_tables.h).
pub(super) const MAX_CHAIN_NAME: usize = 28;

/// The kernel keeps the count in 16 bits: queues_total, include/uapi/linux/netfilter/xt_NFQUEUE.h.
pub(super) const MAX_QUEUES: usize = 65_535;
