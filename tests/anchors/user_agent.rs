//! `in = "user-agent"`: in the value of a User-Agent header field.

use super::captured::*;
use super::rows::*;

pub(crate) fn table() -> Vec<Row> {
    let agent = |value: &str| register(&format!("User-Agent: {value}"));
    let lf = |message: String| message.replace('\r', "");
    vec![
        yes("baresip", "baresip v1.0.0 (x86_64/linux)", BARESIP),
        yes("baresip's INVITE", "x86_64", BARESIP_INVITE),
        yes("baresip over IPv6", "baresip v1.0.0", BARESIP_IPV6),
        yes("Linphone, a part of it", "belle-sip/1.6.3", LINPHONE),
        yes("X-Lite", "X-Lite 4 release 4.0 stamp 58832", X_LITE),
        yes("Nero", "Nero SIPPS IP Phone Version 2.0.51.16", ESCAPED_QUOTES),
        yes("SIPVicious", "friendly-scanner", SCANNER),
        yes("Zoiper: LF", "Zoiper rev.10106", ZOIPER_LF),
        yes("one word", DOOR, agent("mykn0ckstr1ng")),
        yes(
            "products and comments (RFC 3261, 20.41)",
            DOOR,
            agent("Handset/7 (mykn0ckstr1ng; beta) lib/2.0"),
        ),
        yes("in quotes, which are nothing here", "\"mykn0ckstr1ng\"", agent("\"mykn0ckstr1ng\"")),
        yes("escapes are nothing here", "my\\knock", agent("\"my\\knock\"")),
        yes("commas separate nothing here", "a, b;c", agent("a, b;c")),
        yes("over a fold", "my knock", agent("my\n knock")),
        yes("over a fold with blanks", "my knock", agent("my \t\n\t knock")),
        yes("over two folds", "my own knock", agent("my\n own\n knock")),
        yes("on the folded line", DOOR, agent("\n mykn0ckstr1ng")),
        yes("two spaces", "my  knock", agent("my  knock")),
        yes("white space around the colon", DOOR, register("User-Agent \t : \t mykn0ckstr1ng \t")),
        yes("no white space", DOOR, register("User-Agent:mykn0ckstr1ng")),
        yes("the name in another case", DOOR, register("USER-agent: mykn0ckstr1ng")),
        yes("the second one", DOOR, register("User-Agent: Handset/7\nUser-Agent: mykn0ckstr1ng")),
        yes(
            "the last one, broken off",
            DOOR,
            register("User-Agent: x\nUser-Agent: mykn0ckstr1ng").split("\r\nCall").next().unwrap(),
        ),
        yes("in UTF-8", "Türöffner", agent("Türöffner/1.0")),
        yes("behind LFs, over a fold", "my knock", lf(agent("my\n knock"))),
        yes(
            "in the From first, then here",
            DOOR,
            register("From: mykn0ckstr1ng <sip:a@b>\nUser-Agent: mykn0ckstr1ng"),
        ),
        yes("in an answer", DOOR, "SIP/2.0 200 OK\r\nUser-Agent: mykn0ckstr1ng\r\n\r\n"),
        no("Kamailio: a Server header field", "kamailio", KAMAILIO_OK),
        no("baresip: the display name", DOOR, BARESIP),
        no("a Server header field", DOOR, register("Server: mykn0ckstr1ng")),
        no("a longer name", DOOR, register("X-User-Agent: mykn0ckstr1ng\nUser-Agent-X: mykn0ckstr1ng")),
        no("a folded line of another one", DOOR, register("Subject: x\n User-Agent: mykn0ckstr1ng")),
        no("the line below", DOOR, register("User-Agent: x\nSubject: mykn0ckstr1ng")),
        no("a line that is no header field", DOOR, register("User-Agent mykn0ckstr1ng")),
        no("the body", DOOR, format!("{}User-Agent: mykn0ckstr1ng\r\n\r\n", agent("Handset/7"))),
        no("SDP", "a=tool:baresip", BARESIP_INVITE),
        no("the second message", DOOR, format!("{}{}", agent("x"), agent("mykn0ckstr1ng"))),
        no("with its name", "User-Agent: mykn0ckstr1ng", agent("mykn0ckstr1ng")),
        no("another case", DOOR, agent("MyKn0ckStr1ng")),
        no("the Request-URI", DOOR, request("sip:mykn0ckstr1ng", "User-Agent: x")),
        no("not SIP", DOOR, "GET / HTTP/1.1\r\nUser-Agent: mykn0ckstr1ng\r\n\r\n"),
    ]
}
