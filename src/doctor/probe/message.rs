//! What a probe sends.

use std::net::IpAddr;

use crate::config::Config;
use crate::knock::{Knock, KnockSet, Part, Payload};
use crate::net::NetSet;

/// A phone with a knock.
#[derive(Clone, Debug)]
pub(super) struct Phone {
    /// The knock's name.
    pub(super) knock: String,
    /// Where the phone is.
    pub(super) address: IpAddr,
    /// What it sends.
    pub(super) message: Vec<u8>,
}

impl Phone {
    /// A phone of this family that has this knock; `None` where the knock counts from no address that would show it, or
    /// where no message with it can be made.
    pub(super) fn of(
        config: &Config,
        knock: &Knock,
        v4: bool,
        own: &[IpAddr],
        trusted: &NetSet,
    ) -> Option<Self> {
        let of_sources =
            knock.sources.iter().flat_map(NetSet::firsts).filter(|address| address.is_ipv4() == v4);
        let counts = |address: &IpAddr| {
            !trusted.contains(*address) && knock.sources.as_ref().is_none_or(|nets| nets.contains(*address))
        };
        let address = own.iter().copied().chain(of_sources).find(counts)?;
        let message = message(knock);
        let knocks = KnockSet::new(config.knocks.clone()).ok()?;
        let matched = knocks.matched(address, Payload::Datagram(&message));
        let name = matched.iter().map(|found| knocks.name(found.knock)).find(|name| *name == knock.name)?;
        Some(Self { knock: name.to_owned(), address, message })
    }
}

/// A request with the secret where the knock wants it.
fn message(knock: &Knock) -> Vec<u8> {
    let method = knock.methods.first().map_or("REGISTER", String::as_str);
    let secret = knock.secret.expose();
    let in_part = |part: &[Part]| if part.contains(&knock.part) { secret } else { b"probe" };
    let display = escaped(in_part(&[Part::FromDisplayName]));
    let instance = in_part(&[Part::ContactInstance]);
    let uri = in_part(&[Part::RequestUri]);
    let scheme: &[u8] = if uri.starts_with(b"sip:") || uri.starts_with(b"sips:") { b"" } else { b"sip:" };
    let (field, value): (&[u8], &[u8]) = match &knock.part {
        Part::Header(_) => (b"", secret),
        Part::Anywhere | Part::Headers => (b"X-Probe", secret),
        _ => (b"X-Probe", b"probe"),
    };
    let name = knock.part.to_string();
    let field = name.strip_prefix("header:").map_or(field, str::as_bytes);
    let method_bytes = method.as_bytes();
    [
        method_bytes,
        b" ",
        scheme,
        uri,
        b" SIP/2.0\r\nVia: SIP/2.0/UDP probe.invalid;branch=z9hG4bKprobe\r\nFrom: \"",
        &display,
        b"\" <sip:probe@probe.invalid>;tag=probe\r\nTo: <sip:probe@probe.invalid>\r\nCall-ID: probe\r\nCSeq: 1 ",
        method_bytes,
        b"\r\nUser-Agent: ",
        in_part(&[Part::UserAgent]),
        b"\r\nContact: <sip:probe@probe.invalid>;+sip.instance=\"<",
        instance,
        b">\"\r\nExpires: 3600\r\n",
        field,
        b": ",
        value,
        b"\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat()
}

/// As a quoted string has it (RFC 3261, 25.1).
fn escaped(text: &[u8]) -> Vec<u8> {
    text.iter()
        .flat_map(|&byte| [b'\\', byte].into_iter().skip(usize::from(!b"\"\\".contains(&byte))))
        .collect()
}

/// What somebody sends who has no knock. It is complete, so that over TCP it is not taken for the beginning of more.
pub(super) const STRANGER: &[u8] = b"OPTIONS sip:probe.invalid SIP/2.0\r\n\
    Via: SIP/2.0/UDP probe.invalid;branch=z9hG4bKstranger\r\n\
    From: <sip:stranger@probe.invalid>;tag=stranger\r\nTo: <sip:probe.invalid>\r\nCall-ID: stranger\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;

    #[test]
    fn a_message_for_a_knock_in_any_part() {
        for (keys, secret) in [
            ("", "mykn0ckstr1ng"),
            ("in = \"headers\"", "mykn0ckstr1ng"),
            ("in = \"from-display-name\"", "my \\\"quoted\\\" kn0ck"),
            ("in = \"contact-instance\"", "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"),
            ("in = \"user-agent\"", "Door/mykn0ckstr1ng"),
            ("in = \"request-uri\"", "sip:mykn0ckstr1ng@pbx"),
            ("in = \"request-uri\"", "mykn0ckstr1ng"),
            ("in = \"header:X-Door\"", "mykn0ckstr1ng"),
            ("methods = [\"INVITE\"]", "mykn0ckstr1ng"),
            ("sources = [\"198.51.100.0/24\"]", "mykn0ckstr1ng"),
        ] {
            let text = format!("[[knock]]\nname = \"alice\"\nsecret = \"{secret}\"\n{keys}\n");
            let config = Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap();
            let own = ["198.18.0.1".parse().unwrap()];
            let phone = Phone::of(&config, &config.knocks[0], true, &own, &NetSet::default());
            let phone = phone.unwrap_or_else(|| panic!("{keys} {secret}"));
            let elsewhere = keys.contains("sources");
            assert_eq!(phone.address != own[0], elsewhere, "{keys}");
        }
    }

    #[test]
    fn no_phone_where_its_knock_counts_from_trusted_addresses_only() {
        let text = "[[knock]]\nname = \"a\"\nsecret = \"mykn0ckstr1ng\"\nsources = [\"10.0.0.0/24\"]\n";
        let config = Config::parse(text, Path::new("x.toml"), &Flags::default()).unwrap();
        let trusted = NetSet::new(&["10.0.0.0/8".parse().unwrap()]);
        assert!(Phone::of(&config, &config.knocks[0], true, &[], &trusted).is_none());
    }
}
