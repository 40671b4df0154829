//! `in = "anywhere"`: in the payload's bytes as they stand, whatever they are.

use super::captured::*;
use super::rows::*;

pub(crate) fn table() -> Vec<Row> {
    let plain = register("From: <sip:a@b>");
    vec![
        yes("baresip's display name", DOOR, BARESIP),
        yes("baresip's instance", "3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4", BARESIP),
        yes("Linphone's instance", "<urn:uuid:615f3a97-c4e0-485c-9af7-b388bc70e9bb>", LINPHONE),
        yes("X-Lite's rinstance", "309c3e58798d5f69", X_LITE),
        yes("a name in UTF-8", "Дмитрий", BARESIP_IPV6),
        yes("quotes that are escaped", "\\\"arik\\\"", ESCAPED_QUOTES),
        yes("a body", "s=Talk", LINPHONE),
        yes("a registrar's answer", "pub-gruu", KAMAILIO_OK),
        yes("a scanner's User-Agent", "friendly-scanner", SCANNER),
        yes("across header fields", "Max-Forwards: 70\r\nRoute", BARESIP),
        yes("across header fields, LF", "Max-Forwards: 70\nContact", ZOIPER_LF),
        yes("in the body only", DOOR, format!("{plain}{DOOR}")),
        yes("in the first bytes", DOOR, format!("{DOOR} sip:a SIP/2.0\r\n\r\n")),
        yes("in the last bytes of what breaks off", DOOR, format!("{}{DOOR}", &plain[..90])),
        yes("a payload that is nothing else", DOOR, DOOR),
        yes("not SIP at all", DOOR, format!("GET /{DOOR} HTTP/1.1\r\n\r\n")),
        yes("a keepalive that carries it", DOOR, format!("\r\n\r\n{DOOR}\r\n\r\n")),
        yes("among other bytes", DOOR, [b"\0\xff\x80", DOOR.as_bytes(), b"\0"].concat()),
        yes("in the datagram's second message", DOOR, format!("{plain}{BARESIP}")),
        yes("twice", DOOR, format!("{BARESIP}{BARESIP}")),
        yes("behind its own beginning", DOOR, register("Subject: mykn0ckstr1mykn0ckstr1ng")),
        yes("in the name of a header field", DOOR, register("X-mykn0ckstr1ng: 1")),
        yes("in a line that is no header field", DOOR, register("mykn0ckstr1ng")),
        yes("in a longer word", DOOR, register("Subject: notmykn0ckstr1ngs")),
        yes("with a fold, as the bytes have it", "mykn0ck\r\n str1ng", register("Subject: mykn0ck\n str1ng")),
        no("nowhere", DOOR, plain.as_str()),
        no("in nothing", DOOR, ""),
        no("in another case", DOOR, register("From: \"MyKn0ckStr1ng\" <sip:a@b>")),
        no("but for the last byte", DOOR, register("From: \"mykn0ckstr1n\" <sip:a@b>")),
        no("without its fold", "mykn0ck str1ng", register("Subject: mykn0ck\n str1ng")),
        no("with an escape in it", DOOR, register("From: \"mykn0ck\\str1ng\" <sip:a@b>")),
        no("with a percent escape in it", DOOR, request("sip:mykn0ck%73tr1ng@b", "From: <sip:a@b>")),
        no("cut in two by a blank line", DOOR, format!("{}mykn0ck\r\n\r\nstr1ng", &plain[..90])),
    ]
}
