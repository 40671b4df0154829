//! `in = "contact-instance"`: in the `+sip.instance` of a contact (RFC 5626, 4.1), in any case.

use super::captured::*;
use super::rows::*;

pub(crate) fn table() -> Vec<Row> {
    let contact = |value: &str| register(&format!("Contact: {}", value.replace("URN", URN)));
    let lf = |message: String| message.replace('\r', "");
    vec![
        yes("baresip", "urn:uuid:3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4", BARESIP),
        yes("baresip over IPv6", "4c62c2f3-31fb-17c0-6cea-7d6f4c475e12", BARESIP_IPV6),
        yes("Linphone", "urn:uuid:615f3a97-c4e0-485c-9af7-b388bc70e9bb", LINPHONE),
        yes("Linphone, copied with its <>", "<urn:uuid:615f3a97-c4e0-485c-9af7-b388bc70e9bb>", LINPHONE),
        yes(
            "Linphone, copied with its quotes",
            "\"<urn:uuid:615f3a97-c4e0-485c-9af7-b388bc70e9bb>\"",
            LINPHONE,
        ),
        yes("Linphone, typed in capitals", "URN:UUID:615F3A97-C4E0-485C-9AF7-B388BC70E9BB", LINPHONE),
        yes("Linphone, a part of it", "9af7-b388bc70e9bb", LINPHONE),
        yes("Linphone behind LFs", "615f3a97-c4e0-485c-9af7-b388bc70e9bb", lf(LINPHONE.into())),
        yes("a registrar's answer", "urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12", KAMAILIO_OK),
        yes(
            "as RFC 5626, 4.2 shows it",
            URN,
            contact("<sip:a@c;transport=tcp>;reg-id=1;+sip.instance=\"<URN>\""),
        ),
        yes("no <> in the quotes", URN, contact("<sip:a@c>;+sip.instance=\"URN\"")),
        yes("no quotes", URN, contact("<sip:a@c>;+sip.instance=<URN>")),
        yes("neither", URN, contact("<sip:a@c>;+sip.instance=URN;q=1")),
        yes("no <> around the URI", URN, contact("sip:a@c;+sip.instance=\"<URN>\"")),
        yes("no <> anywhere", URN, contact("sip:a@c;+sip.instance=URN")),
        yes("the parameter in another case", URN, contact("<sip:a@c>;+SIP.Instance=\"<URN>\"")),
        yes(
            "the URN in another case",
            URN,
            contact(&format!("<sip:a>;+sip.instance=\"<{}>\"", URN.to_uppercase())),
        ),
        yes("white space around everything", URN, contact("<sip:a@c> ; +sip.instance = \"<URN>\" ; q = 1")),
        yes(
            "folds around everything",
            URN,
            contact("\n <sip:a@c>\n ;\n\t+sip.instance\n =\n \"<URN>\"\n ;q=1"),
        ),
        yes("escapes around it", URN, contact("<sip:a@c>;+sip.instance=\"\\<URN\\>\"")),
        yes("the compact name", URN, register(&format!("m: <sip:a@c>;+sip.instance=\"<{URN}>\""))),
        yes(
            "the compact name in another case",
            URN,
            register(&format!("M :<sip:a@c>;+sip.instance=\"<{URN}>\"")),
        ),
        yes("the second contact", URN, contact("<sip:a@c>;q=1, <sip:a@d>;+sip.instance=\"<URN>\"")),
        yes("the second contact, without <>", URN, contact("sip:a@c;q=1, sip:a@d;+sip.instance=\"<URN>\"")),
        yes(
            "the second contact, over a fold",
            URN,
            contact("<sip:a@c>;q=1,\n <sip:a@d>;+sip.instance=\"<URN>\""),
        ),
        yes(
            "the second header field",
            URN,
            contact("<sip:a@c>;+sip.instance=\"<urn:x>\"\nm: <sip:d>;+sip.instance=\"<URN>\""),
        ),
        yes("the header field after *", URN, contact("*\nContact: <sip:a@c>;+sip.instance=\"<URN>\"")),
        yes("behind a comma in quotes", URN, contact("\"a, <b>; \\\"c\" <sip:a@c>;+sip.instance=\"<URN>\"")),
        yes(
            "behind parameters in quotes",
            URN,
            contact("<sip:a@c>;x=\"+sip.instance=y;\";+sip.instance=\"<URN>\""),
        ),
        yes("an IPv6 contact", URN, contact("<sip:a@[2001:db8::7]:5061>;+sip.instance=\"<URN>\"")),
        yes("a quote that nothing closes", URN, contact("<sip:a@c>;+sip.instance=\"<URN>")),
        yes("in the URI first, then here", URN, contact("<sip:a@c;gr=URN>;+sip.instance=\"<URN>\"")),
        yes(
            "in a quoted parameter first, then here",
            URN,
            contact("<sip:a>;x=\"<URN>\";+sip.instance=\"<URN>\""),
        ),
        yes(
            "in the To first, then here",
            URN,
            register(&format!("To: <sip:{URN}>\nm: <sip:a>;+sip.instance=\"<{URN}>\"")),
        ),
        yes(
            "in no registration",
            URN,
            contact("<sip:a>;+sip.instance=\"<URN>\"").replace("REGISTER", "INVITE"),
        ),
        no(
            "escapes in it, as no phone has them",
            URN,
            contact(&format!("<sip:a@c>;+sip.instance=\"\\<{}\\>\"", URN.replace(':', "\\:"))),
        ),
        no("baresip: the URI's gr", "urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12", BARESIP_INVITE),
        no("X-Lite: the URI's rinstance", "309c3e58798d5f69", X_LITE),
        no("the registrar's gruu", "uloc-6b030d7a-5a9a-1-5164e933", KAMAILIO_OK),
        no("the URI's parameter", URN, contact("<sip:a@c;+sip.instance=URN>;q=1")),
        no(
            "the URI's parameter, and another instance",
            URN,
            contact("<sip:a@c;+sip.instance=URN>;+sip.instance=\"<urn:x>\""),
        ),
        no("the URI's header", URN, contact("<sip:a@c?X=+sip.instance=URN>;q=1")),
        no("another parameter", URN, contact("<sip:a@c>;instance=\"<URN>\"")),
        no("another parameter in quotes", URN, contact("<sip:a@c>;x=\";+sip.instance=<URN>\"")),
        no("a longer name", URN, contact("<sip:a@c>;+sip.instances=\"<URN>\"")),
        no("the display name", URN, contact("\";+sip.instance=<URN>\" <sip:a@c>")),
        no("the From", URN, register(&format!("From: <sip:a@b>;+sip.instance=\"<{URN}>\""))),
        no("a Record-Route", URN, register(&format!("Record-Route: <sip:a@b>;+sip.instance=\"<{URN}>\""))),
        no("an Accept-Contact", URN, register(&format!("a: *;+sip.instance=\"<{URN}>\""))),
        no("the body", URN, format!("{}m: <sip:a>;+sip.instance=\"<{URN}>\"\r\n", contact("<sip:a@c>"))),
        no(
            "the second message",
            "3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4",
            format!("{}{BARESIP}", contact("<sip:a@c>")),
        ),
        no(
            "a line that is no header field",
            URN,
            register(&format!("Contact <sip:a@c>;+sip.instance=\"<{URN}>\"")),
        ),
        no("with what stands around it", "+sip.instance=\"<urn:uuid:615f3a97", LINPHONE),
        no("the next parameter", "reg-id=1", BARESIP),
        no("not SIP", URN, format!("GET / HTTP/1.1\r\nm: <sip:a>;+sip.instance=\"<{URN}>\"\r\n\r\n")),
    ]
}
