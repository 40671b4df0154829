//! What the tables are made of.

/// One message, and whether a secret counts in it.
pub(crate) struct Row {
    pub(crate) why: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) counts: bool,
}

/// The knock counts.
pub(crate) fn yes(why: &'static str, secret: &'static str, message: impl Into<Vec<u8>>) -> Row {
    Row { why, secret, message: message.into(), counts: true }
}

/// The knock does not count, though the message may hold it.
pub(crate) fn no(why: &'static str, secret: &'static str, message: impl Into<Vec<u8>>) -> Row {
    Row { why, secret, message: message.into(), counts: false }
}

/// A REGISTER with these header fields among others. `\n` stands for the line end.
pub(crate) fn register(fields: &str) -> String {
    request("sip:pbx.example.org", fields)
}

/// The same with a Request-URI.
pub(crate) fn request(uri: &str, fields: &str) -> String {
    lines(&format!(
        "REGISTER {uri} SIP/2.0\n\
         Via: SIP/2.0/UDP 203.0.113.7:5061;branch=z9hG4bKk7d1;rport\n\
         Max-Forwards: 70\n\
         {fields}\n\
         Call-ID: 77-door@203.0.113.7\n\
         CSeq: 1 REGISTER\n\
         Content-Length: 0\n\
         \n"
    ))
}

/// A text with CR LF at its line ends.
pub(crate) fn lines(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// The knock of most rows.
pub(crate) const DOOR: &str = "mykn0ckstr1ng";

/// The instance of most rows.
pub(crate) const URN: &str = "urn:uuid:00000000-0000-1000-8000-aabbccddeeff";
