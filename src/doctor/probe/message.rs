//! What a probe sends.

use std::net::IpAddr;

use crate::config::Config;
use crate::knock::part::HeaderName;
use crate::knock::{Extent, Knock, KnockSet, Part, Payload};
use crate::net::NetSet;

/// A phone with a knock.
#[derive(Clone, Debug)]
pub(super) struct ProbePhone {
    /// The knock's name.
    pub(super) knock: String,
    /// Where the phone is.
    pub(super) address: IpAddr,
    /// What it sends.
    pub(super) message: Vec<u8>,
}

impl ProbePhone {
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
    let method = knock.methods.first().map_or("REGISTER", String::as_str).as_bytes();
    let secret = knock.secret.expose();
    let in_part = |part: Part| if part == knock.part { secret } else { b"probe" };
    let uri = in_part(Part::RequestUri);
    let is_uri = uri.starts_with(b"sip:") || uri.starts_with(b"sips:") || knock.extent == Extent::Whole;
    let scheme: &[u8] = if is_uri && knock.part == Part::RequestUri { b"" } else { b"sip:" };
    let mut fields: Vec<(&str, Vec<u8>)> = vec![
        ("Via", b"SIP/2.0/UDP probe.invalid;branch=z9hG4bKprobe".to_vec()),
        (
            "From",
            [b"\"", &escaped(in_part(Part::FromDisplayName))[..], b"\" <sip:probe@probe.invalid>;tag=probe"]
                .concat(),
        ),
        ("To", b"<sip:probe@probe.invalid>".to_vec()),
        ("Call-ID", b"probe".to_vec()),
        ("CSeq", [b"1 ", method].concat()),
        ("User-Agent", in_part(Part::UserAgent).to_vec()),
        (
            "Contact",
            [b"<sip:probe@probe.invalid>;+sip.instance=\"<", in_part(Part::ContactInstance), b">\""].concat(),
        ),
        ("Expires", b"3600".to_vec()),
    ];
    let own = knock.part.to_string();
    match &knock.part {
        Part::Header(wanted) => {
            // Where it must be all of the field, no other field of that name may stand beside it.
            fields.retain(|(name, _)| HeaderName::new(name).as_ref() != Some(wanted));
            fields.push((own.strip_prefix("header:").unwrap_or(&own), secret.to_vec()));
        }
        Part::Anywhere | Part::Headers => fields.push(("X-Probe", secret.to_vec())),
        _ => {}
    }
    let mut message = [method, b" ", scheme, uri, b" SIP/2.0\r\n"].concat();
    for (name, value) in fields {
        message.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    message.extend(b"Content-Length: 0\r\n\r\n");
    message
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
            ("in = \"from-display-name\"\nmatch = \"whole\"", "my \\\"quoted\\\" kn0ck"),
            (
                "in = \"contact-instance\"\nmatch = \"whole\"",
                "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>",
            ),
            ("in = \"user-agent\"\nmatch = \"whole\"", "Door/mykn0ckstr1ng"),
            ("in = \"request-uri\"\nmatch = \"whole\"", "mykn0ckstr1ng"),
            ("in = \"request-uri\"\nmatch = \"whole\"", "sip:mykn0ckstr1ng@pbx"),
            ("in = \"header:X-Door\"\nmatch = \"whole\"", "mykn0ckstr1ng"),
            ("in = \"header:user-agent\"\nmatch = \"whole\"", "Door/mykn0ckstr1ng"),
            ("in = \"header:f\"\nmatch = \"whole\"", "my <sip:kn0ck@str1ng>"),
            ("methods = [\"INVITE\"]", "mykn0ckstr1ng"),
            ("sources = [\"198.51.100.0/24\"]", "mykn0ckstr1ng"),
        ] {
            let text = format!("[[knock]]\nname = \"alice\"\nsecret = \"{secret}\"\n{keys}\n");
            let config = Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap();
            let own = ["198.18.0.1".parse().unwrap()];
            let phone = ProbePhone::of(&config, &config.knocks[0], true, &own, &NetSet::default());
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
        assert!(ProbePhone::of(&config, &config.knocks[0], true, &[], &trusted).is_none());
    }
}
