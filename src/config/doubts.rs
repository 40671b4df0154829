//! What is valid and yet can't be meant: with it strangers come in, or a knock never counts.

use ipnet::IpNet;

use crate::config::settings::Config;
use crate::inspect::Mode;
use crate::net::NetSet;

/// Something of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What it is called, for programs.
    pub kind: DoubtKind,
    /// The knock that it is about.
    pub knock: Option<String>,
    /// What it is, for people.
    pub text: String,
    /// What to do about it in the file.
    pub edit: String,
}

/// Kinds of doubts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtKind {
    /// The mode is monitor.
    Monitor,
    /// Every address of a family is trusted.
    EverybodyTrusted,
    /// None of a knock's methods is known, so that it never counts.
    NoKnownMethod,
    /// One of a knock's methods is not known.
    UnknownMethod,
    /// Metrics and the page are on all addresses.
    HttpEverywhere,
}

impl DoubtKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::EverybodyTrusted => "everybody-trusted",
            Self::NoKnownMethod | Self::UnknownMethod => "unknown-method",
            Self::HttpEverywhere => "http-everywhere",
        }
    }
}

impl Config {
    /// What is valid and yet can't be meant.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        let mut add =
            |kind, knock, text: String, edit: String| doubts.push(Doubt { kind, knock, text, edit });
        if self.inspect.mode == Mode::Monitor {
            let text = "the mode is \"monitor\": strangers pass, and are only logged";
            add(DoubtKind::Monitor, None, text.to_owned(), "set [inspect] mode = \"enforce\"".to_owned());
        }
        for family in everybody_trusted(&self.inspect.trusted) {
            let text = format!("`trusted` holds every {family} address: strangers pass without a knock");
            add(DoubtKind::EverybodyTrusted, None, text, "take it out of [inspect] trusted".to_owned());
        }
        for knock in &self.knocks {
            let known = |method: &&String| METHODS.contains(&method.as_str());
            let unknown: Vec<_> = knock.methods.iter().filter(|method| !known(method)).collect();
            let kind = match unknown.len() {
                0 => continue,
                some if some == knock.methods.len() => DoubtKind::NoKnownMethod,
                _ => DoubtKind::UnknownMethod,
            };
            let listed: Vec<_> = unknown.iter().map(|method| format!("{method:?}")).collect();
            let never = match kind {
                DoubtKind::NoKnownMethod => ", so it never opens a door",
                _ => "",
            };
            let text = format!(
                "no phone sends the method {}{never}: known are {}",
                listed.join(" or "),
                METHODS.join(", ")
            );
            add(kind, Some(knock.name.clone()), text, format!("correct `methods` of knock {:?}", knock.name));
        }
        if let Some(listen) = self.http.listen.filter(|listen| listen.ip().is_unspecified()) {
            let text = format!(
                "the status page is on all addresses ({listen}) and has no login: everybody who reaches this machine \
                 sees the phones' addresses"
            );
            let edit = format!("set [http] listen = \"127.0.0.1:{}\"", listen.port());
            add(DoubtKind::HttpEverywhere, None, text, edit);
        }
        doubts
    }
}

/// The families whose addresses are all in these networks, or nearly so: both ends are.
pub fn everybody_trusted(trusted: &[IpNet]) -> Vec<&'static str> {
    let trusted = NetSet::new(trusted);
    let families = [("IPv4", ["0.0.0.0", "255.255.255.255"]), ("IPv6", ["::", "ffff::"])];
    let all =
        |ends: &[&str; 2]| ends.iter().all(|end| end.parse().is_ok_and(|address| trusted.contains(address)));
    families.into_iter().filter(|(_, ends)| all(ends)).map(|(family, _)| family).collect()
}

/// The methods of SIP (IANA's registry of SIP parameters, methods and response codes). They are case-sensitive.
const METHODS: [&str; 14] = [
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    #[test]
    fn doubts_by_name() {
        let knock = "[[knock]]\nname = \"alice\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n";
        for (inspect, more, expected) in [
            ("", "", &[][..]),
            ("mode = \"monitor\"", "", &["monitor"]),
            ("trusted = [\"0.0.0.0/0\"]", "", &["everybody-trusted"]),
            (
                "trusted = [\"::/0\", \"0.0.0.0/1\", \"128.0.0.0/1\"]",
                "",
                &["everybody-trusted", "everybody-trusted"],
            ),
            ("trusted = [\"10.0.0.0/8\", \"2000::/3\"]", "", &[]),
            ("", "methods = [\"REGSTER\"]", &["unknown-method"]),
            ("", "methods = [\"register\", \"INVITE\"]", &["unknown-method"]),
            ("", "methods = [\"REGISTER\", \"PRACK\"]", &[]),
            ("", "[http]\nlisten = \"0.0.0.0:9470\"", &["http-everywhere"]),
            ("", "[http]\nlisten = \"[::]:9470\"", &["http-everywhere"]),
            ("", "[http]\nlisten = \"192.0.2.1:9470\"", &[]),
        ] {
            let text = format!("[inspect]\n{inspect}\n{knock}{more}");
            let doubts = Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap().doubts();
            let names: Vec<_> = doubts.iter().map(|doubt| doubt.kind.name()).collect();
            assert_eq!(names, expected, "{text}");
            assert_eq!(
                doubts.iter().any(|doubt| doubt.knock.is_some()),
                more.starts_with("methods") && !expected.is_empty()
            );
        }
    }
}
