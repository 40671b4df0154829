//! `in = "header:NAME"`: in the value of a header field of that name. The tables are of several names.

use super::captured::*;
use super::rows::*;

/// `header:X-Door`, a header field that nobody else uses.
pub(crate) fn x_door() -> Vec<Row> {
    let door = |value: &str| register(&format!("X-Door: {value}"));
    let lf = |message: String| message.replace('\r', "");
    vec![
        yes("one word", DOOR, door("mykn0ckstr1ng")),
        yes("a part of it", DOOR, door("open mykn0ckstr1ng, please")),
        yes("in quotes, which are nothing here", "\"my knock\"", door("\"my knock\"")),
        yes("escapes are nothing here", "my\\knock", door("my\\knock")),
        yes("the name in another case", DOOR, register("x-dOOR: mykn0ckstr1ng")),
        yes("white space around the colon", DOOR, register("X-Door \t :\t  mykn0ckstr1ng \t")),
        yes("no white space", DOOR, register("X-Door:mykn0ckstr1ng")),
        yes("over a fold", "my knock", door("my\n knock")),
        yes("over a fold with blanks", "my knock", door("my  \n\t\tknock")),
        yes("on the folded line", DOOR, door("\n mykn0ckstr1ng")),
        yes("on the folded line behind an empty one", DOOR, door("\n \n mykn0ckstr1ng")),
        yes("two spaces", "my  knock", door("my  knock")),
        yes("a colon in it", "my:knock", door("my:knock")),
        yes("the second one", DOOR, door("x\nX-Door: mykn0ckstr1ng")),
        yes("the second one, the first being empty", DOOR, door("\nX-Door: mykn0ckstr1ng")),
        yes("the last one, broken off", DOOR, "BYE sip:a SIP/2.0\r\nX-Door: mykn0ckstr1ng"),
        yes("LF", "my knock", lf(door("my\n knock"))),
        yes("CR CR LF", "my knock", door("my\n knock").replace('\r', "\r\r")),
        yes("behind a line that is no header field", DOOR, register("X-Door\nX-Door: mykn0ckstr1ng")),
        yes("in an answer", DOOR, "SIP/2.0 200 OK\r\nX-Door: mykn0ckstr1ng\r\n\r\n"),
        yes(
            "in the From first, then here",
            DOOR,
            register("f: mykn0ckstr1ng <sip:a>\nX-Door: mykn0ckstr1ng"),
        ),
        yes("in UTF-8", "Tür", door("Tür")),
        no(
            "another header field",
            DOOR,
            register("X-Doors: mykn0ckstr1ng\nDoor: mykn0ckstr1ng\nX: mykn0ckstr1ng"),
        ),
        no("its name", "X-Door", door("mykn0ckstr1ng")),
        no("with its name", "X-Door: mykn0ckstr1ng", door("mykn0ckstr1ng")),
        no("the line below", DOOR, door("x\nSubject: mykn0ckstr1ng")),
        no("a folded line of another one", DOOR, register("Subject: x\n X-Door: mykn0ckstr1ng")),
        no("a line that is no header field", DOOR, register("X-Door mykn0ckstr1ng")),
        no("a name with white space in it", DOOR, register("X- Door: mykn0ckstr1ng\nX Door: mykn0ckstr1ng")),
        no("the body", DOOR, format!("{}X-Door: mykn0ckstr1ng\r\n\r\n", door("x"))),
        no("the second message", DOOR, format!("{}{}", door("x"), door("mykn0ckstr1ng"))),
        no("over two of them", "ab", door("a\nX-Door: b\nSubject: ab")),
        no("another case", DOOR, door("MYKN0CKSTR1NG")),
        no("a real phone's display name", DOOR, BARESIP),
        no("not SIP", DOOR, "GET / HTTP/1.1\r\nX-Door: mykn0ckstr1ng\r\n\r\n"),
    ]
}

/// `header:Contact`: the whole value, unlike `contact-instance`, and under its compact name, too.
pub(crate) fn contact() -> Vec<Row> {
    vec![
        yes("baresip", "+sip.instance=\"<urn:uuid:3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4>\"", BARESIP),
        yes("baresip: the URI's gr", "gr=urn:uuid:4c62c2f3", BARESIP_INVITE),
        yes("X-Lite: the URI's rinstance", "rinstance=309c3e58798d5f69", X_LITE),
        yes("SIPVicious: the compact name", "sip:100@192.0.2.20:5060", SCANNER_COMPACT),
        yes("all contacts of one header field", "sip:a>, <sip:b", register("Contact: <sip:a>, <sip:b>")),
        yes("the second header field", DOOR, register("Contact: <sip:a>\nm: <sip:mykn0ckstr1ng>")),
        yes("a registrar's answer", "temp-gruu", KAMAILIO_OK),
        no("another compact name", DOOR, register("n: mykn0ckstr1ng\nContact: <sip:a>")),
        no("its instance in another case", "3F2B8C1E-5D47-4A09-9C66-0E7A51D2B8F4", BARESIP),
        no("the To", "301@192.0.2.1>", BARESIP),
    ]
}

/// `header:f`: the compact name in the config.
pub(crate) fn from() -> Vec<Row> {
    vec![
        yes("baresip", "\"mykn0ckstr1ng\" <sip:301@192.0.2.1>", BARESIP),
        yes("SIPVicious: the compact name", "\"sipvicious\"<sip:100@1.1.1.1>", SCANNER_COMPACT),
        yes("the tag", "tag=65f92ced", X_LITE),
        yes("escapes as they stand", "\\\"arik\\\"", ESCAPED_QUOTES),
        yes("over a fold", "\"my knock\" <sip", register("From: \"my\n knock\"\n <sip:a@b>")),
        no("the To", "tag=8068789c6f489f848d68f11e81141125", KAMAILIO_OK),
        no("the Contact", "rinstance", X_LITE),
        no("the body", DOOR, format!("{}f: mykn0ckstr1ng\r\n", register("From: x"))),
    ]
}

/// `header:Call-ID`, by way of a name that phones write in all ways.
pub(crate) fn call_id() -> Vec<Row> {
    vec![
        yes("baresip", "09fd63f94a7be7c4", BARESIP),
        yes("SIPVicious: the compact name", "94660398983977570776455", SCANNER_COMPACT),
        yes("Zoiper: LF", "MGEyODEzM2E3MTY0N2Q1NmE0ZjdhOTgxYTcyZmNlYzY.", ZOIPER_LF),
        yes("another case", DOOR, "BYE sip:a SIP/2.0\r\nCaLL-iD: mykn0ckstr1ng\r\n\r\n"),
        no("the Via and the Contact", "127.0.1.1:5061", SIPP),
        no("the branch", "9a74", BARESIP),
    ]
}
