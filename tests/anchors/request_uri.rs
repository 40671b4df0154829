//! `in = "request-uri"`: in a request's Request-URI, as it stands.

use super::captured::*;
use super::rows::*;

pub(crate) fn table() -> Vec<Row> {
    let to = |uri: &str| request(uri, "From: <sip:a@b>");
    vec![
        yes("baresip", "sip:192.0.2.1", BARESIP),
        yes("baresip, a parameter", "transport=udp", BARESIP_INVITE),
        yes("baresip, IPv6", "[2001:db8:1::10]", BARESIP_IPV6),
        yes("Linphone, a number", "8802", LINPHONE),
        yes("Zoiper: no host, and LF", "sip:;transport=UDP", ZOIPER_LF),
        yes("Nero", "97239287044@voip.brujula.net", ESCAPED_QUOTES),
        yes("SIPVicious", "100@131.243.0.1", SCANNER),
        yes("SIPp", "CA.cym.com", SIPP),
        yes("Metasploit: an empty user", "sip:@127.0.0.1", SPOOFED),
        yes("the user", DOOR, to("sip:mykn0ckstr1ng@pbx.example.org")),
        yes("the password", DOOR, to("sip:a:mykn0ckstr1ng@pbx.example.org")),
        yes("the host", DOOR, to("sip:mykn0ckstr1ng.example.org")),
        yes("a parameter", DOOR, to("sip:pbx.example.org;door=mykn0ckstr1ng")),
        yes("a parameter's name", DOOR, to("sip:pbx.example.org;mykn0ckstr1ng")),
        yes("a header", DOOR, to("sip:pbx.example.org?Subject=mykn0ckstr1ng")),
        yes("sips", "sips:mykn0ck", to("sips:mykn0ck@pbx.example.org")),
        yes("tel", "+49301234567", to("tel:+49301234567;phone-context=mykn0ckstr1ng")),
        yes("a scheme nobody knows (RFC 4475, 3.3.2)", DOOR, to("nobodyKnows:mykn0ckstr1ng")),
        yes("a percent escape, as it stands", "my%20knock", to("sip:my%20knock@b")),
        yes("in <> (RFC 4475, 3.1.2.7)", DOOR, to("<sip:mykn0ckstr1ng@b>")),
        yes("with white space (RFC 4475, 3.1.2.8)", "b; knock", to("sip:a@b; knock")),
        yes("behind more white space (RFC 4475, 3.1.2.9)", DOOR, to("  sip:mykn0ckstr1ng@b  ")),
        yes(
            "in front of more white space (RFC 4475, 3.1.2.10)",
            DOOR,
            "BYE sip:mykn0ckstr1ng SIP/2.0  \r\nTo: x\r\n\r\n",
        ),
        yes("behind leading line ends", DOOR, format!("\r\n\r\n{}", to("sip:mykn0ckstr1ng"))),
        yes(
            "a method nobody knows",
            DOOR,
            to("sip:mykn0ckstr1ng").replace("REGISTER", "!interesting-Method"),
        ),
        yes(
            "a version nobody knows (RFC 4475, 3.1.2.16)",
            DOOR,
            to("sip:mykn0ckstr1ng").replace("SIP/2.0", "SIP/7.0"),
        ),
        yes("nothing but a start line", DOOR, "BYE sip:mykn0ckstr1ng SIP/2.0"),
        yes("LF", DOOR, "BYE sip:mykn0ckstr1ng SIP/2.0\nTo: x\n\n"),
        yes("CR CR LF", DOOR, "BYE sip:mykn0ckstr1ng SIP/2.0\r\r\nTo: x\r\r\n\r\r\n"),
        yes("in UTF-8", "Tür", to("sip:Tür@b")),
        yes("also in the To", "8802@192.168.8.13", LINPHONE),
        no("baresip: the From and the To", "301@192.0.2.1", BARESIP),
        no("the To", DOOR, register("To: <sip:mykn0ckstr1ng@b>")),
        no("the Contact", DOOR, register("Contact: <sip:mykn0ckstr1ng@b>")),
        no("the Route", DOOR, register("Route: <sip:mykn0ckstr1ng@b;lr>")),
        no("the method", DOOR, "mykn0ckstr1ng sip:a@b SIP/2.0\r\n\r\n"),
        no("the version", "SIP/2.0", to("sip:a@b")),
        no("over the method's end", "REGISTER sip:", BARESIP),
        no("an answer's reason", DOOR, "SIP/2.0 200 mykn0ckstr1ng\r\n\r\n"),
        no("an answer's To", "5001@192.0.2.10", KAMAILIO_OK),
        no("the next line", DOOR, "BYE sip:a SIP/2.0\r\nsip:mykn0ckstr1ng SIP/2.0\r\n\r\n"),
        no("a folded start line", DOOR, "BYE sip:a SIP/2.0\r\n mykn0ckstr1ng\r\n\r\n"),
        no("the body", DOOR, format!("{}BYE sip:mykn0ckstr1ng SIP/2.0\r\n\r\n", to("sip:a@b"))),
        no("with its percent escape undone", DOOR, to("sip:mykn0ck%73tr1ng@b;x=mykn0ck")),
        no("another case", DOOR, to("sip:MYKN0CKSTR1NG@b")),
        no("HTTP", DOOR, "GET /mykn0ckstr1ng HTTP/1.1\r\n\r\n"),
        no("no version", DOOR, "BYE sip:mykn0ckstr1ng\r\n\r\n"),
    ]
}
