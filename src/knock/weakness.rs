//! What makes a knock easy to guess, or makes it open for the wrong people.

use std::collections::BTreeMap;

use super::matcher::Matcher;
use super::{Knock, KnockId};

/// Something about a knock that its owner should change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    /// The knock's place in the config, from 0.
    pub knock: usize,
    /// What is weak about it, and what to do. Says nothing of the secret but its length and kind.
    pub why: String,
}

/// The weaknesses of a set of knocks, in its order.
pub fn of(knocks: &[Knock]) -> Vec<Weakness> {
    let mut found = Vec::new();
    for (index, knock) in knocks.iter().enumerate() {
        let secret = knock.secret.expose();
        found.extend(
            [length(secret), alphabet(secret), ends(secret)]
                .into_iter()
                .flatten()
                .map(|why| Weakness { knock: index, why }),
        );
    }
    // What can't be compiled can't be used either, and is refused elsewhere.
    if let Ok(matcher) = Matcher::new(knocks.iter().map(Knock::pattern)) {
        found.extend(ordinary_text(&matcher));
        found.extend(contained(&matcher, knocks));
    }
    found.sort_by_key(|weakness| weakness.knock);
    found
}

fn length(secret: &[u8]) -> Option<String> {
    (secret.len() < MIN_LENGTH).then(|| {
        let length = secret.len();
        format!("{length} bytes are quickly guessed; take {MIN_LENGTH} or more ('sipknock keygen' makes a good one)")
    })
}

fn alphabet(secret: &[u8]) -> Option<String> {
    let mut distinct = secret.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < MIN_DISTINCT {
        return Some(format!("it is made of {} different bytes only; take a random one", distinct.len()));
    }
    let digits = secret.iter().all(u8::is_ascii_digit);
    (digits && secret.len() < MIN_DIGITS).then(|| {
        format!("{} digits look like an extension or a phone number, which scanners try; take {MIN_DIGITS} or letters too", secret.len())
    })
}

/// Scanners and everybody else's phones send such text all day.
fn ordinary_text(matcher: &Matcher) -> impl Iterator<Item = Weakness> {
    ORDINARY.iter().flat_map(|(what, text)| {
        let why = format!("it occurs in {what}, so it opens the door to strangers; take a random one");
        let knocks = matcher.occurring(text.as_bytes()).into_iter();
        knocks.map(move |knock| Weakness { knock: knock.index(), why: why.clone() })
    })
}

/// Whoever sends the longer one sends the shorter one too.
fn contained(matcher: &Matcher, knocks: &[Knock]) -> impl Iterator<Item = Weakness> {
    let mut around: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (outer, knock) in knocks.iter().enumerate() {
        for inner in matcher.occurring(knock.secret.expose()).into_iter().map(KnockId::index) {
            if inner != outer {
                around.entry(inner).or_insert((outer, 0)).1 += 1;
            }
        }
    }
    around.into_iter().filter_map(|(inner, (outer, count))| {
        let outer = &knocks.get(outer)?.name;
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let why = format!(
            "it stands inside the secret of knock {outer:?}{others}, whose phones always knock with both"
        );
        Some(Weakness { knock: inner, why })
    })
}

/// An editor's doing, most often.
fn ends(secret: &[u8]) -> Option<String> {
    let odd =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control());
    let bom = secret.starts_with(b"\xef\xbb\xbf");
    (bom || odd(secret.first()) || odd(secret.last())).then(|| {
        "it begins or ends with white space, a line end or a byte order mark; if that is not meant, no phone sends it".to_owned()
    })
}

/// Random letters of this number take years to guess at any rate a network has; fewer may take days.
const MIN_LENGTH: usize = 10;

/// Ten digits are a phone number, sixteen are not.
const MIN_DIGITS: usize = 16;

/// "aaaaaaaaaa" is long, too.
const MIN_DISTINCT: usize = 5;

/// Text that a gate sees from everybody, and where it comes from.
pub(super) const ORDINARY: [(&str, &str); 5] = [
    ("the documentation", "mykn0ckstr1ng CHANGE-ME"),
    (
        "ordinary SIP text",
        "REGISTER INVITE ACK BYE CANCEL OPTIONS SUBSCRIBE NOTIFY PUBLISH MESSAGE REFER INFO PRACK UPDATE \
         sip:localhost SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK;rport;received= Max-Forwards: 70\r\n\
         Via: From: To: Call-ID: CSeq: 1 REGISTER\r\nContact: <sip:100@192.168.1.100:5060;transport=udp>;expires=3600\r\n\
         User-Agent: Allow-Events: presence, message-summary\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\n\
         Supported: replaces, timer, outbound, path, gruu\r\nAuthorization: Digest username=\"\", realm=\"asterisk\", \
         nonce=\"\", uri=\"sip:\", response=\"\", algorithm=MD5\r\n+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000000>\"",
    ),
    (
        "what SIP scanners send",
        "friendly-scanner sipvicious sundayddr sipcli/v1.8 VaxSIPUserAgent/3.1 pplsip sip-scan sipsak sip:nm SIP OPTIONS \"sipvicious\"<sip:100@1.1.1.1>",
    ),
    (
        "a list of factory settings",
        "asterisk freepbx fusionpbx extension anonymous unknown admin password 1234567890 voicemail reception conference",
    ),
    (
        "the User-Agent of every phone of its make",
        "Yealink SIP-T46S Grandstream GXP2170 snomD785 PolycomVVX-VVX_411 Cisco-CP8841 Linphone baresip Zoiper MicroSIP Asterisk PBX FPBX-16",
    ),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::knock::Secret;

    fn knock(name: &str, secret: &str) -> Knock {
        Knock::new(name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(4000))
    }

    #[test]
    fn each_weakness() {
        for (secret, expected) in [
            ("gjdmtwapgjdtmwagptjd", None),
            ("urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", None),
            ("3f9a81", Some("6 bytes are quickly guessed")),
            ("4930123456", Some("10 digits look like")),
            ("4930123456784930", None),
            ("abababababababab", Some("2 different bytes")),
            ("gjdmtwapgjdtmwagptjd\r\n", Some("begins or ends with white space")),
            ("\u{feff}gjdmtwapgjdtmwagptjd", Some("byte order mark")),
            ("User-Agent", Some("ordinary SIP text")),
            ("branch=z9hG4bK", Some("ordinary SIP text")),
            ("friendly-scanner", Some("what SIP scanners send")),
            ("Grandstream", Some("every phone of its make")),
        ] {
            let weak = of(&[knock("a", secret)]);
            match expected {
                None => assert_eq!(weak, [], "{secret}"),
                Some(expected) => {
                    assert!(weak.iter().any(|weak| weak.why.contains(expected)), "{secret}: {weak:?}")
                }
            }
            assert!(weak.iter().all(|weak| !weak.why.contains(secret)));
        }
    }

    #[test]
    fn a_secret_inside_another() {
        let knocks = [
            knock("outer", "xx-gjdmtwapgjdtmw-yy"),
            knock("inner", "gjdmtwapgjdtmw"),
            knock("other", "zqkvbnwrtyplkj"),
        ];
        let weak = of(&knocks);
        assert_eq!(weak.len(), 1, "{weak:?}");
        assert_eq!(weak[0].knock, 1);
        assert!(weak[0].why.contains("\"outer\""));
    }
}
