//! Messages by their structure. A trial knows a message's parts since it made them, and reads none of its text.

use proptest::prelude::*;

/// A SIP message, or a payload that is none.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Request(Request),
    Response,
    /// Line ends (RFC 5626, 4.4.1).
    Keepalive,
    /// Bytes that are no SIP.
    Noise,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// In From.
    pub(crate) display: Option<&'static str>,
    pub(crate) from_tag: bool,
    pub(crate) to_tag: bool,
    pub(crate) user: &'static str,
    pub(crate) contact: Contact,
    /// In an Expires header field; `None`: there is no such field.
    pub(crate) expires: Option<u32>,
    pub(crate) agent: &'static str,
    /// In a field of the same name, behind it.
    pub(crate) second_agent: Option<&'static str>,
    /// Behind the header fields.
    pub(crate) body: &'static str,
    pub(crate) spelling: Spelling,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    None,
    /// Ends all registrations of the user, with `Expires: 0`.
    All,
    /// A host part, and perhaps an instance with its reg-id (RFC 5626).
    One {
        host: &'static str,
        instance: Option<(&'static str, Option<u32>)>,
    },
}

/// Ways to write the same message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    pub(crate) compact: bool,
    pub(crate) folded: bool,
    pub(crate) upper: bool,
    pub(crate) bare_newlines: bool,
    /// Empty lines in front (RFC 3261, 7.5).
    pub(crate) blank: bool,
}

impl Message {
    pub(crate) fn request(&self) -> Option<&Request> {
        match self {
            Self::Request(request) => Some(request),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.text(),
            Self::Response => b"SIP/2.0 200 OK\r\nFrom: <sip:a@pbx>;tag=1\r\nTo: <sip:b@pbx>;tag=2\r\n\
                Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
            Self::Keepalive => b"\r\n\r\n".to_vec(),
            Self::Noise => b"\x01\x02<<>>\x00\xff".to_vec(),
        }
    }
}

impl Request {
    fn text(&self) -> Vec<u8> {
        let Spelling { compact, folded, upper, bare_newlines, blank } = self.spelling;
        let fold = if folded { "\r\n " } else { "" };
        let name = |long: &str, short: &str| match (compact, upper) {
            (true, false) => short.to_owned(),
            (true, true) => short.to_ascii_uppercase(),
            (false, true) => long.to_ascii_uppercase(),
            (false, false) => long.to_owned(),
        };
        let tag = |there: bool| if there { ";tag=a1b2" } else { "" };
        let display = self.display.map(|display| format!("\"{display}\" ")).unwrap_or_default();
        let mut lines = vec![
            format!("{} sip:{}@pbx SIP/2.0", self.method, self.user),
            format!("{}: SIP/2.0/UDP host;branch=z9hG4bK1", name("Via", "v")),
            // A tag in the URI and one in a quoted name are none (RFC 3261, 19.3).
            format!(
                "{}: {fold}{display}<sip:{}@pbx;tag=no>{}",
                name("From", "f"),
                self.user,
                tag(self.from_tag)
            ),
            format!("{}: \";tag=no\" {fold}<sip:{}@pbx>{}", name("To", "t"), self.user, tag(self.to_tag)),
            format!("{}: 1", name("Call-ID", "i")),
            format!("CSeq: 1 {}", self.method),
            format!("User-Agent: {fold}{}", self.agent),
        ];
        match &self.contact {
            Contact::None => {}
            Contact::All => lines.push(format!("{}: *", name("Contact", "m"))),
            Contact::One { host, instance } => {
                let instance = instance.map_or_else(String::new, |(urn, reg_id)| {
                    let reg_id = reg_id.map(|id| format!(";reg-id={id}")).unwrap_or_default();
                    format!("{fold};+sip.instance=\"<{urn}>\"{reg_id}")
                });
                lines.push(format!("{}: <sip:{}@{host}>{instance}", name("Contact", "m"), self.user));
            }
        }
        lines.extend(self.second_agent.map(|agent| format!("User-Agent: {agent}")));
        lines.extend(self.expires.map(|expires| format!("Expires: {expires}")));
        lines.push(format!("{}: {}", name("Content-Length", "l"), self.body.len()));
        let end = if bare_newlines { "\n" } else { "\r\n" };
        let block: String = lines.iter().map(|line| format!("{}{end}", line.replace("\r\n", end))).collect();
        let blank = if blank { "\r\n\r\n" } else { "" };
        format!("{blank}{block}{end}{}", self.body).into_bytes()
    }
}

pub(crate) const ANYWHERE: &str = "mykn0ckstr1ng";
pub(crate) const DISPLAY: &str = "desk-s3cret-9";
pub(crate) const URN: &str = "urn:uuid:0c6a7b52-7c3b-4d0f-9b34-5f1f6f2a4c11";
pub(crate) const OTHER_URN: &str = "urn:uuid:5f1f6f2a-9b34-4d0f-7c3b-0c6a7b524c11";
pub(crate) const AGENT: &str = "Ph0ne-Fourty-Tw0";
pub(crate) const WHOLE_DISPLAY: &str = "wh0le-s3cret-5";
pub(crate) const WHOLE_AGENT: &str = "Wh0le/Agent-8";

/// A message of a phone, a stranger or the PBX.
pub(crate) fn message() -> BoxedStrategy<Message> {
    prop_oneof![
        12 => request().prop_map(Message::Request),
        2 => Just(Message::Response),
        1 => Just(Message::Keepalive),
        1 => Just(Message::Noise),
    ]
    .boxed()
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        6 => Just("REGISTER"), 1 => Just("register"), 2 => Just("INVITE"), 2 => Just("OPTIONS"),
        1 => Just("SUBSCRIBE"), 1 => Just("BYE"), 1 => Just("NOTIFY"), 1 => Just("MESSAGE"),
    ];
    let display = prop_oneof![
        2 => Just(None), 2 => Just(Some("Alice")), 3 => Just(Some(ANYWHERE)), 2 => Just(Some(DISPLAY)),
        // Longer than the secret, which stands inside.
        1 => Just(Some("x desk-s3cret-9 x")), 1 => Just(Some("kn0ckstr")),
        2 => Just(Some(WHOLE_DISPLAY)), 1 => Just(Some(" wh0le-s3cret-5  ")), 1 => Just(Some("x wh0le-s3cret-5")),
    ];
    let instance = prop_oneof![
        3 => Just(None),
        3 => Just(Some((URN, None))), 1 => Just(Some((URN, Some(1)))), 1 => Just(Some((URN, Some(2)))),
        1 => Just(Some((OTHER_URN, None))),
    ];
    let one = (prop_oneof![Just("198.51.100.1"), Just("198.51.100.2")], instance)
        .prop_map(|(host, instance)| Contact::One { host, instance });
    let contact = prop_oneof![1 => Just(Contact::None), 1 => Just(Contact::All), 8 => one];
    let expires = prop_oneof![
        2 => Just(None), 2 => Just(Some(0)), 2 => Just(Some(60)), 2 => Just(Some(600)), 1 => Just(Some(7200)),
    ];
    let agent = || {
        prop_oneof![
            3 => Just("Other"), 1 => Just(AGENT), 1 => Just("pH0NE-fOURTY-tW0"), 2 => Just(WHOLE_AGENT),
            1 => Just("Wh0le/Agent-8 (beta)"), 1 => Just("wh0le/agent-8"),
        ]
    };
    let second_agent = prop::option::weighted(0.1, agent());
    let agents = (agent(), second_agent);
    let body = prop_oneof![6 => Just(""), 1 => Just(ANYWHERE), 1 => Just(DISPLAY)];
    let user = prop_oneof![Just("100"), Just("101")];
    (
        (method, display, any::<bool>(), prop::bool::weighted(0.3), user),
        (contact, expires, agents, body, spelling()),
    )
        .prop_map(
            |((method, display, from_tag, to_tag, user), (contact, expires, agents, body, spelling))| {
                let (agent, second_agent) = agents;
                Request {
                    method,
                    display,
                    from_tag,
                    to_tag,
                    user,
                    contact,
                    expires,
                    agent,
                    second_agent,
                    body,
                    spelling,
                }
            },
        )
}

fn spelling() -> impl Strategy<Value = Spelling> {
    let rarely = || prop::bool::weighted(0.15);
    (rarely(), rarely(), rarely(), rarely(), rarely()).prop_map(
        |(compact, folded, upper, bare_newlines, blank)| Spelling {
            compact,
            folded,
            upper,
            bare_newlines,
            blank,
        },
    )
}
