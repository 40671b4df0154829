//! Whom a request means.
//!
//! The page has no login, and a browser lets any site's script ask any address. What keeps that script from the answer
//! is its origin: a site that wants it has to point a name of its own at our address (DNS rebinding). So a request is
//! answered only where its Host is an address, which nobody can rebind, `localhost`, or a name that the configuration has.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether an authority, with or without a port, is one that is answered to.
pub fn is_ours(authority: &str, names: &[String]) -> bool {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => return is_port(port),
            _ => return false,
        },
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    // A name with the root's dot behind it is the same name.
    let plain = name.strip_suffix('.').unwrap_or(name);
    let known = name.parse::<Ipv4Addr>().is_ok()
        || plain.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| ours.strip_suffix('.').unwrap_or(ours).eq_ignore_ascii_case(plain));
    known && is_port(port)
}

/// Nothing, or a colon with digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_what_is_configured() {
        let names = ["pbx.example.org".to_owned(), "short.".to_owned()];
        for (authority, ours) in [
            ("127.0.0.1:9470", true),
            ("192.0.2.7", true),
            ("[::1]:9470", true),
            ("[2001:db8::1]", true),
            ("localhost", true),
            ("LocalHost.:9470", true),
            ("pbx.example.org:8443", true),
            ("PBX.example.org.", true),
            ("short", true),
            ("", false),
            (":9470", false),
            ("evil.example", false),
            ("evil.example:9470", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("127.0.0.1:x", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
            ("[::1", false),
            ("[evil]", false),
            ("[::1]evil", false),
            ("::1", false),
            ("pbx.example.org.evil.example", false),
        ] {
            assert_eq!(is_ours(authority, &names), ours, "{authority:?}");
        }
    }
}
