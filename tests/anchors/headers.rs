//! `in = "headers"`: in the start line and the header fields, folds or no folds, and not in the body.

use super::captured::*;
use super::rows::*;

pub(crate) fn table() -> Vec<Row> {
    let plain = register("From: <sip:a@b>");
    let broken_off = plain.trim_end();
    let lf = |message: String| message.replace('\r', "");
    let crcrlf = |message: String| message.replace('\r', "\r\r");
    vec![
        yes("baresip's display name", DOOR, BARESIP),
        yes("baresip's instance", "urn:uuid:3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4", BARESIP),
        yes("Linphone's User-Agent", "belle-sip/1.6.3", LINPHONE),
        yes("a Request-URI without a host", "sip:;transport=UDP", ZOIPER_LF),
        yes("a Call-ID behind LFs", "MGEyODEzM2E3MTY0N2Q1NmE0ZjdhOTgxYTcyZmNlYzY", ZOIPER_LF),
        yes("compact names", "1-4461", SIPP),
        yes("a registrar's answer", "temp-gruu", KAMAILIO_OK),
        yes("as the method", DOOR, "mykn0ckstr1ng sip:a@b SIP/2.0\r\nFrom: <sip:a@b>\r\n\r\n"),
        yes("in the Request-URI", DOOR, request("sip:mykn0ckstr1ng@b", "From: <sip:a@b>")),
        yes("in an answer's start line", DOOR, "SIP/2.0 200 mykn0ckstr1ng\r\n\r\n"),
        yes("in a branch", DOOR, register("Via: SIP/2.0/UDP a;branch=z9hG4bKmykn0ckstr1ng")),
        yes("in a header field of no known name", DOOR, register("X-Door: mykn0ckstr1ng")),
        yes("in a header field's name", DOOR, register("X-mykn0ckstr1ng:")),
        yes("in a line that is no header field", DOOR, register("mykn0ckstr1ng")),
        yes("in the last header field, broken off", DOOR, format!("{broken_off}\r\nSubject: mykn0ckstr1ng")),
        yes("over a fold, undone", "mykn0ck str1ng", register("Subject: mykn0ck\n\t str1ng")),
        yes("over a fold behind blanks", "mykn0ck str1ng", register("Subject: mykn0ck \t\n str1ng")),
        yes("over a fold, as it stands", "mykn0ck\r\n str1ng", register("Subject: mykn0ck\n str1ng")),
        yes("with a fold elsewhere", DOOR, register("Subject: a\n b\nFrom: mykn0ckstr1ng <sip:a@b>")),
        yes("on the last folded line", DOOR, register("Subject:\n \n mykn0ckstr1ng")),
        yes("over two header fields", "70\r\nFrom: <sip:a@b>", plain.as_str()),
        yes("over two header fields, one folded", "door SIP\r\nTo:", register("Subject: door\n SIP\nTo: x")),
        yes("behind leading line ends", DOOR, format!("\r\n\r\n{BARESIP}")),
        yes("lines that end with LF", DOOR, lf(BARESIP.into())),
        yes("a fold behind LF", "mykn0ck str1ng", lf(register("Subject: mykn0ck\n str1ng"))),
        yes("lines that end with CR CR LF", DOOR, crcrlf(BARESIP.into())),
        yes("a fold behind CR CR LF", "mykn0ck str1ng", crcrlf(register("Subject: mykn0ck\n str1ng"))),
        yes("a lone CR ends no line", "a\rb", register("Subject: x\ra\rb")),
        yes("in the body first, then in front of it", DOOR, format!("{}{DOOR}", BARESIP)),
        yes("in UTF-8", "Дмитрий", BARESIP_IPV6),
        no("in the body only", DOOR, format!("{plain}{DOOR}")),
        no(
            "in a body that looks like header fields",
            DOOR,
            format!("{plain}From: \"{DOOR}\" <sip:a@b>\r\n\r\n"),
        ),
        no("in SDP", "s=Talk", LINPHONE),
        no("in SDP behind LFs", "s=Talk", lf(LINPHONE.into())),
        no("in SDP behind CR CR LFs", "s=Talk", crcrlf(LINPHONE.into())),
        no(
            "behind a blank line right below the start line",
            DOOR,
            "BYE sip:a SIP/2.0\r\n\r\nX: mykn0ckstr1ng\r\n",
        ),
        no("in the datagram's second message", DOOR, format!("{plain}{BARESIP}")),
        no("half of it in the body", "0\r\n\r\nmykn0ckstr1ng", format!("{plain}{DOOR}")),
        no("not SIP", DOOR, "GET /mykn0ckstr1ng HTTP/1.1\r\nFrom: mykn0ckstr1ng\r\n\r\n"),
        no("behind a start line that is none", DOOR, format!("REGISTER sip:a\r\n{}", &BARESIP[32..])),
        no("in noise", DOOR, "\0\0mykn0ckstr1ng"),
        no("in another case", DOOR, register("From: MYKN0CKSTR1NG <sip:a@b>")),
        no(
            "with an escape in it",
            DOOR,
            register("From: \"mykn0ck\\str1ng\" <sip:a@b>\nSubject: mykn0ck\nX: str1ng"),
        ),
    ]
}
