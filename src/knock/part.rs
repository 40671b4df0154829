//! Parts of a message that a knock can be anchored to.

use std::fmt;

use crate::sip::{self, Message, StartLine, addresses};

/// Where a secret must stand to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// Anywhere in the payload, whether or not that is SIP.
    #[default]
    Anywhere,
    /// In the start line or the header fields, not in the body.
    Headers,
    /// In the display name of From, quoted or not.
    FromDisplayName,
    /// In the `+sip.instance` of a contact (RFC 5626, 4.1).
    ContactInstance,
    /// In User-Agent.
    UserAgent,
    /// In the Request-URI.
    RequestUri,
    /// In the header fields of this name, long or compact, in any case.
    Header(Box<str>),
}

impl Part {
    /// Reads a part as the configuration names it.
    ///
    /// # Errors
    /// On anything else, with what there is.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(part) = NAMED.iter().find(|part| part.name() == text) {
            return Ok(part.clone());
        }
        match text.strip_prefix(HEADER) {
            Some(name) if !name.is_empty() && name.bytes().all(sip::is_token) => {
                Ok(Self::Header(name.into()))
            }
            Some(name) => {
                Err(format!("{name:?} is not the name of a header field: write it as in \"header:X-Door\""))
            }
            None => {
                let names: Vec<_> = NAMED.iter().map(|part| format!("{:?}", part.name())).collect();
                Err(format!(
                    "{text:?} is no part of a message: write {} or \"header:NAME\"",
                    names.join(", ")
                ))
            }
        }
    }

    /// The texts that this part has in a message, in their order, with folds, quotes and quoted pairs undone. Anywhere
    /// has none.
    pub fn texts(&self, message: &Message<'_>, visit: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Anywhere => {}
            Self::Headers => {
                let block = message.block();
                visit(block);
                let unfolded = sip::unfold(block);
                if unfolded != block {
                    visit(&unfolded);
                }
            }
            Self::FromDisplayName => message
                .headers_named("From")
                .filter_map(|value| addresses(value).next()?.display_name())
                .for_each(|name| visit(&name)),
            Self::ContactInstance => message
                .headers_named("Contact")
                .flat_map(addresses)
                .filter_map(|contact| contact.instance())
                .for_each(|urn| visit(&urn)),
            Self::RequestUri => {
                if let StartLine::Request { uri, .. } = message.start() {
                    visit(uri);
                }
            }
            Self::UserAgent => {
                message.headers_named("User-Agent").for_each(|value| visit(&sip::unfold(value)))
            }
            Self::Header(name) => message.headers_named(name).for_each(|value| visit(&sip::unfold(value))),
        }
    }

    /// A secret as it would stand in this part's texts; `None` where nothing is left of it.
    pub fn secret(&self, secret: &[u8]) -> Option<Box<[u8]>> {
        let decoration =
            |byte: &u8| *self == Self::ContactInstance && matches!(byte, b'"' | b'<' | b'>' | b' ');
        let start = secret.iter().position(|byte| !decoration(byte))?;
        let end = secret.iter().rposition(|byte| !decoration(byte))?;
        secret.get(start..=end).map(Into::into)
    }

    /// Whether letters match in either case here: URNs do (RFC 8141, 3.1, for the UUIDs of RFC 5626).
    pub fn ignores_case(&self) -> bool {
        *self == Self::ContactInstance
    }

    /// Whether quoted pairs are undone here, so that a secret may not stand in the packet letter for letter.
    pub fn unescapes(&self) -> bool {
        matches!(self, Self::FromDisplayName | Self::ContactInstance)
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Anywhere => "anywhere",
            Self::Headers => "headers",
            Self::FromDisplayName => "from-display-name",
            Self::ContactInstance => "contact-instance",
            Self::UserAgent => "user-agent",
            Self::RequestUri => "request-uri",
            Self::Header(_) => HEADER,
        }
    }
}

/// As the configuration names it.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Header(name) => f.write_str(name),
            _ => Ok(()),
        }
    }
}

/// What stands before the name of a header field.
const HEADER: &str = "header:";

/// The parts that need no name of a header field.
const NAMED: [Part; 6] = [
    Part::Anywhere,
    Part::Headers,
    Part::FromDisplayName,
    Part::ContactInstance,
    Part::UserAgent,
    Part::RequestUri,
];
