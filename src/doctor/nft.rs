//! Tables of nftables that iptables does not show, read from what `nft -j list ruleset` prints (libnftables-json(5)).
//!
//! Every base chain of a hook has its say, whatever another one has accepted. So an accept there takes nothing from the
//! gate, and a drop there is a drop.

use serde_json::Value;

use crate::packet::Transport;

/// What nft shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Nft {
    /// There is no nft, or it shows nothing.
    #[default]
    Unknown,
    /// Its tables, without those that belong to iptables.
    Tables(Vec<NftTable>),
}

/// A table with a base chain that packets to this machine pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NftTable {
    /// As in `nft list table inet firewalld`.
    pub name: String,
    /// What a base chain of it does to what nothing in it accepts.
    pub drops_the_rest: bool,
    rules: Vec<NftRule>,
}

/// A rule that hands flows to a flowtable, which takes them past chain FORWARD (nft(8), FLOWTABLES).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offload {
    /// The rule, for people.
    pub rule: String,
    /// The command that ends it.
    pub mend: String,
}

/// The rules of a listing that do so.
pub fn offloads(text: &str) -> Vec<Offload> {
    let Ok(listing) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let rules = listing["nftables"].as_array().into_iter().flatten().filter_map(|item| item.get("rule"));
    let offloads = rules.filter_map(|rule| {
        let flow = rule["expr"].as_array()?.iter().find_map(|part| part.get("flow"))?;
        let (table, chain) = (full_name(rule), rule["chain"].as_str()?);
        let mend = match table.as_str() {
            // OpenWrt's firewall, which would write it again.
            "inet fw4" => OPENWRT.to_owned(),
            _ => format!("nft delete rule {table} {chain} handle {}", rule["handle"].as_u64()?),
        };
        let flowtable = flow["flowtable"].as_str().unwrap_or_default();
        Some(Offload { rule: format!("{table} {chain}: flow add {flowtable}"), mend })
    });
    offloads.collect()
}

/// What switches off the offloading of OpenWrt's firewall, of either generation.
pub(super) const OPENWRT: &str =
    "uci set firewall.@defaults[0].flow_offloading=0 && uci commit firewall && service firewall restart";

/// A rule that may be about SIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NftRule {
    handle: u64,
    chain: String,
    accepts: bool,
    drops: bool,
    transport: Option<String>,
    ports: Vec<(u16, u16)>,
    /// It asks for something else, too.
    conditions: bool,
}

impl NftTable {
    /// Whether a rule accepts packets to this port.
    pub fn accepts(&self, transport: Transport, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.accepts && rule.is_about(transport, port))
    }

    /// The command that deletes a rule by which these packets are dropped, where there is one.
    pub fn dropped_by(&self, transport: Transport, port: u16) -> Option<String> {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.drops && !rule.conditions && rule.is_about(transport, port))?;
        Some(format!("nft delete rule {} {} handle {}", self.name, rule.chain, rule.handle))
    }
}

impl NftRule {
    fn is_about(&self, transport: Transport, port: u16) -> bool {
        self.transport.as_deref().is_none_or(|named| named == transport.name() || named == "th")
            && self.ports.iter().any(|&(first, last)| (first..=last).contains(&port))
    }
}

impl Nft {
    /// Reads a listing.
    pub fn parse(text: &str) -> Self {
        let Ok(listing) = serde_json::from_str::<Value>(text) else { return Self::Unknown };
        let Some(items) = listing["nftables"].as_array() else { return Self::Unknown };
        let mut tables: Vec<NftTable> = Vec::new();
        for item in items {
            if let Some(chain) = item.get("chain").filter(|chain| is_on_the_way(chain)) {
                let table = table(&mut tables, chain);
                table.drops_the_rest |= chain["policy"] == "drop";
            }
        }
        for item in items {
            let Some(rule) = item.get("rule") else { continue };
            let name = full_name(rule);
            let Some(table) = tables.iter_mut().find(|table| table.name == name) else { continue };
            let read = read_rule(rule);
            // As firewalld ends its chains, whose policy is to accept.
            let base = items.iter().any(|item| {
                item.get("chain").is_some_and(|chain| {
                    chain["name"] == rule["chain"] && full_name(chain) == name && is_on_the_way(chain)
                })
            });
            table.drops_the_rest |=
                base && read.drops && !read.conditions && read.ports.is_empty() && read.transport.is_none();
            table.rules.push(read);
        }
        Self::Tables(tables)
    }
}

fn full_name(item: &Value) -> String {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    // A chain names itself `name` and its table `table`, and so do rules.
    format!("{} {}", text("family"), text("table"))
}

fn table<'a>(tables: &'a mut Vec<NftTable>, chain: &Value) -> &'a mut NftTable {
    let name = full_name(chain);
    let place = tables.iter().position(|table| table.name == name).unwrap_or_else(|| {
        tables.push(NftTable { name, ..NftTable::default() });
        tables.len() - 1
    });
    &mut tables[place]
}

/// A base chain that packets to this machine pass, and not one of iptables's.
fn is_on_the_way(chain: &Value) -> bool {
    let hook = chain["hook"].as_str().unwrap_or_default();
    let family = chain["family"].as_str().unwrap_or_default();
    let name = chain["table"].as_str().unwrap_or_default();
    let iptables = ["ip", "ip6"].contains(&family) && IPTABLES.contains(&name);
    ["input", "prerouting"].contains(&hook) && ["ip", "ip6", "inet"].contains(&family) && !iptables
}

fn read_rule(rule: &Value) -> NftRule {
    let mut read = NftRule {
        handle: rule["handle"].as_u64().unwrap_or_default(),
        chain: rule["chain"].as_str().unwrap_or_default().to_owned(),
        ..NftRule::default()
    };
    for part in rule["expr"].as_array().into_iter().flatten() {
        if part.get("accept").is_some() {
            read.accepts = true;
        } else if part.get("drop").is_some() || part.get("reject").is_some() {
            read.drops = true;
        } else if let Some(asked) = part.get("match") {
            let payload = &asked["left"]["payload"];
            if payload["field"] == "dport" && asked["op"] != "!=" {
                read.transport = payload["protocol"].as_str().map(str::to_owned);
                read.ports.extend(ports(&asked["right"]));
            } else if asked["left"]["meta"]["key"] == "l4proto" && asked["right"].is_string() {
                read.transport = asked["right"].as_str().map(str::to_owned);
            } else {
                read.conditions = true;
            }
        } else if part.get("counter").is_none() && part.get("log").is_none() {
            read.conditions = true;
        }
    }
    read
}

/// A number, a range, or a set of both.
fn ports(right: &Value) -> Vec<(u16, u16)> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    if let Some(port) = number(right) {
        return vec![(port, port)];
    }
    if let Some([first, last]) = right["range"].as_array().map(Vec::as_slice) {
        return number(first).zip(number(last)).into_iter().collect();
    }
    right["set"].as_array().into_iter().flatten().flat_map(ports).collect()
}

/// The tables that iptables's nf_tables variant makes (iptables/nft.c).
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

#[cfg(test)]
mod tests {
    use super::*;

    const FIREWALLD: &str = r#"{"nftables":[{"metainfo":{"json_schema_version":1}},
        {"table":{"family":"inet","name":"firewalld","handle":1}},
        {"chain":{"family":"inet","table":"firewalld","name":"filter_INPUT","handle":1,"type":"filter","hook":"input","prio":10,"policy":"accept"}},
        {"chain":{"family":"inet","table":"firewalld","name":"filter_IN_public_allow","handle":2}},
        {"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","handle":3,"expr":[{"match":{"op":"==","left":{"ct":{"key":"state"}},"right":{"set":["established","related"]}}},{"accept":null}]}},
        {"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","handle":4,"expr":[{"jump":{"target":"filter_IN_public_allow"}}]}},
        {"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","handle":5,"expr":[{"reject":{"type":"icmpx","expr":"admin-prohibited"}}]}},
        {"rule":{"family":"inet","table":"firewalld","chain":"filter_IN_public_allow","handle":6,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[22,{"range":[5060,5070]}]}}},{"accept":null}]}}]}"#;

    #[test]
    fn firewalld_drops_what_it_does_not_accept() {
        let Nft::Tables(tables) = Nft::parse(FIREWALLD) else { panic!() };
        assert_eq!((tables.len(), tables[0].name.as_str()), (1, "inet firewalld"));
        assert!(tables[0].drops_the_rest);
        assert!(tables[0].accepts(Transport::Udp, 5061) && !tables[0].accepts(Transport::Tcp, 5061));
        assert_eq!(tables[0].dropped_by(Transport::Udp, 5060), None);
    }

    #[test]
    fn tables_of_iptables_are_left_to_iptables() {
        let text = r#"{"nftables":[{"chain":{"family":"ip","table":"filter","name":"INPUT","handle":1,"type":"filter","hook":"input","prio":0,"policy":"drop"}}]}"#;
        assert_eq!(Nft::parse(text), Nft::Tables(vec![]));
        assert_eq!(Nft::parse(""), Nft::Unknown);
        assert_eq!(Nft::parse("{}"), Nft::Unknown);
    }

    #[test]
    fn flows_that_are_offloaded() {
        let listing = |table: &str, expr: &str| {
            format!(
                r#"{{"nftables":[{{"flowtable":{{"family":"inet","name":"f","table":"{table}","handle":3}}}},
                {{"rule":{{"family":"inet","table":"{table}","chain":"forward","handle":7,"expr":[{expr}]}}}}]}}"#
            )
        };
        let flow = r#"{"match":{"op":"in","left":{"meta":{"key":"l4proto"}},"right":{"set":["tcp","udp"]}}},{"flow":{"op":"add","flowtable":"@f"}}"#;
        let found = offloads(&listing("mine", flow));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rule, "inet mine forward: flow add @f");
        assert_eq!(found[0].mend, "nft delete rule inet mine forward handle 7");
        assert_eq!(offloads(&listing("fw4", flow))[0].mend, OPENWRT);
        assert_eq!(offloads(&listing("mine", r#"{"accept":null}"#)), []);
        assert_eq!(offloads("no listing"), []);
    }

    #[test]
    fn a_rule_that_drops_is_named() {
        let text = r#"{"nftables":[
            {"chain":{"family":"inet","table":"mine","name":"in","handle":1,"type":"filter","hook":"input","prio":5,"policy":"accept"}},
            {"rule":{"family":"inet","table":"mine","chain":"in","handle":9,"expr":[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":5060}},{"counter":{"packets":0,"bytes":0}},{"drop":null}]}}]}"#;
        let Nft::Tables(tables) = Nft::parse(text) else { panic!() };
        let command = tables[0].dropped_by(Transport::Udp, 5060);
        assert_eq!(command.as_deref(), Some("nft delete rule inet mine in handle 9"));
        assert!(!tables[0].drops_the_rest);
    }
}
