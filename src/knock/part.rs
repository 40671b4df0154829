//! The part of a message that a knock must stand in: what `in` says in the config.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::sip::{
    Message, QuotedPairs, StartLine, addresses, bare_instance, is_token, long_name, shortest_name, unfold,
};

/// Where a secret counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// In all of the payload, SIP or not.
    #[default]
    Anywhere,
    /// In the start line and the header fields, not in the body.
    Headers,
    /// In the display name of a From header field.
    FromDisplayName,
    /// In the `+sip.instance` parameter of a contact (RFC 5626, 4.1).
    ContactInstance,
    /// In a User-Agent header field.
    UserAgent,
    /// In a request's Request-URI.
    RequestUri,
    /// In a header field of that name.
    Header(HeaderName),
}

/// A header field's name. Case and form, long or compact, make no difference.
#[derive(Clone, Debug, Eq)]
pub struct HeaderName(Box<str>);

impl Part {
    /// Reads what `in` says: `anywhere`, `headers`, `from-display-name`, `contact-instance`, `user-agent`,
    /// `request-uri` or `header:NAME`.
    ///
    /// # Errors
    /// On anything else, and on a name that no header field can have.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, part)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(part.clone());
        }
        match text.strip_prefix(HEADER) {
            Some(name) => HeaderName::new(name).map(Self::Header).ok_or_else(|| {
                format!("{name:?} is not a header field's name: write it as in \"header:X-Door\"")
            }),
            None => {
                let words = WORDS.map(|(word, _)| format!("\"{word}\"")).join(", ");
                Err(format!(
                    "{text:?} is not a part of a message: there are {words}, and as in \"header:X-Door\" any header field"
                ))
            }
        }
    }

    /// Shows every text of this part in a message: as the phone means it, without folds and quotes, and with quoted pairs as
    /// told, see [`Part::pairs`]. None for [`Part::Anywhere`], which is no part of a message.
    ///
    /// A display name is without its quotes, a `+sip.instance` without quotes and `<>`; the Request-URI and the values of
    /// other header fields are all that stands there, their own quotes and parameters included.
    pub fn texts(&self, message: &Message<'_>, pairs: QuotedPairs, visit: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Anywhere => {}
            Self::Headers => {
                let block = message.block();
                visit(block);
                // A secret may be meant either way: with the fold in it, as copied, or without.
                if let Cow::Owned(unfolded) = unfold(block) {
                    visit(&unfolded);
                }
            }
            Self::FromDisplayName => {
                let names = message
                    .headers_named("From")
                    .flat_map(addresses)
                    .filter_map(|from| from.display_name_with(pairs));
                names.for_each(|name| visit(&name));
            }
            Self::ContactInstance => {
                let instances = message
                    .headers_named("Contact")
                    .flat_map(addresses)
                    .filter_map(|contact| contact.instance_with(pairs));
                instances.for_each(|instance| visit(&instance));
            }
            Self::UserAgent => fields(message, "User-Agent", visit),
            Self::RequestUri => {
                if let StartLine::Request { uri, .. } = message.start() {
                    visit(uri);
                }
            }
            Self::Header(HeaderName(name)) => fields(message, name, visit),
        }
    }

    /// What of a secret, as the config has it, can stand in this part: a `+sip.instance` may be copied with the quotes
    /// and `<>` around it, which its text is without. `None` where nothing is left.
    pub fn secret(&self, bytes: &[u8]) -> Option<Box<[u8]>> {
        let bytes = if *self == Self::ContactInstance { bare_instance(bytes) } else { bytes };
        (!bytes.is_empty()).then(|| bytes.into())
    }

    /// Whether its texts begin and end somewhere, so that one of them can be the secret and nothing else
    /// ([`Extent::Whole`](super::Extent::Whole)).
    pub fn has_ends(&self) -> bool {
        !matches!(self, Self::Anywhere | Self::Headers)
    }

    /// Bytes of the shortest message with a text in this part, without that text: what a guess costs a sender at least.
    pub fn least_message(&self) -> usize {
        let field = match self {
            Self::Anywhere | Self::Headers => return 0,
            // In the start line.
            Self::RequestUri => return "A  SIP/\n\n".len(),
            Self::FromDisplayName => "f:<\n".len(),
            Self::ContactInstance => "m:;+sip.instance=\n".len(),
            Self::UserAgent => "User-Agent:\n".len(),
            Self::Header(name) => shortest_name(&name.0) + ":\n".len(),
        };
        "A SIP/\n\n".len() + field
    }

    /// Whether ASCII letters match in either case here, whatever the config says (RFC 5626, 4.1, and RFC 4122 for the
    /// UUID).
    pub fn ignores_case(&self) -> bool {
        *self == Self::ContactInstance
    }

    /// How its texts are read for a secret. Quoted pairs are undone for one that holds a quote or a backslash, which a phone
    /// has to escape in a quoted string. No phone escapes anything else.
    pub fn pairs(&self, secret: &[u8]) -> QuotedPairs {
        let is_quoted = matches!(self, Self::FromDisplayName | Self::ContactInstance);
        let undone = is_quoted && memchr::memchr2(b'"', b'\\', secret).is_some();
        if undone { QuotedPairs::Undone } else { QuotedPairs::Kept }
    }

    /// Whether a secret may stand in one of its texts and nowhere in the payload, since a fold becomes a space.
    pub fn unfolds(&self, secret: &[u8]) -> bool {
        !matches!(self, Self::Anywhere | Self::RequestUri) && secret.contains(&b' ')
    }
}

fn fields(message: &Message<'_>, name: &str, visit: &mut dyn FnMut(&[u8])) {
    message.headers_named(name).for_each(|value| visit(&unfold(value)));
}

/// As the config has it.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(HeaderName(name)) => write!(f, "{HEADER}{name}"),
            part => f.write_str(WORDS.iter().find(|(_, known)| known == part).map_or("", |(word, _)| word)),
        }
    }
}

impl HeaderName {
    /// A name as RFC 3261, 25.1 has it: a token.
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty() && name.bytes().all(is_token)).then(|| Self(name.into()))
    }

    fn long(&self) -> &[u8] {
        long_name(self.0.as_bytes())
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.long().eq_ignore_ascii_case(other.long())
    }
}

impl Hash for HeaderName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.long().to_ascii_lowercase().hash(state);
    }
}

/// The parts that are one word.
const WORDS: [(&str, Part); 6] = [
    ("anywhere", Part::Anywhere),
    ("headers", Part::Headers),
    ("from-display-name", Part::FromDisplayName),
    ("contact-instance", Part::ContactInstance),
    ("user-agent", Part::UserAgent),
    ("request-uri", Part::RequestUri),
];

const HEADER: &str = "header:";

#[cfg(test)]
mod tests;
