use super::*;

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

/// Display name, URI and header parameters of each.
fn read(value: &str) -> Vec<(Option<String>, String, Vec<String>)> {
    addresses(value.as_bytes())
        .map(|address| {
            let params = address
                .params()
                .map(|(name, value)| format!("{}={}", text(name), text(unquote(value, QuotedPairs::Undone))));
            (address.display_name().map(text), text(address.uri()), params.collect())
        })
        .collect()
}

#[test]
fn one_address() {
    for (value, name, uri, params) in [
        ("<sip:a@b>", None, "sip:a@b", &[][..]),
        ("sip:a@b", None, "sip:a@b", &[]),
        ("sip:a@b;tag=1", None, "sip:a@b", &["tag=1"]),
        ("<sip:a@b;transport=tcp>;tag=1", None, "sip:a@b;transport=tcp", &["tag=1"]),
        ("Door <sip:a@b>", Some("Door"), "sip:a@b", &[]),
        ("Door<sip:a@b>", Some("Door"), "sip:a@b", &[]),
        ("The  Door\t<sip:a@b>", Some("The  Door"), "sip:a@b", &[]),
        ("The\r\n Door\r\n <sip:a@b>\r\n ;tag=1", Some("The Door"), "sip:a@b", &["tag=1"]),
        (r#""The Door" <sip:a@b>"#, Some("The Door"), "sip:a@b", &[]),
        (r#""The Door"<sip:a@b>"#, Some("The Door"), "sip:a@b", &[]),
        (r#""" <sip:a@b>"#, Some(""), "sip:a@b", &[]),
        (r#"" Door " <sip:a@b>"#, Some(" Door "), "sip:a@b", &[]),
        (r#""\"Door\" \\ \k" <sip:a@b>"#, Some(r#""Door" \ k"#), "sip:a@b", &[]),
        (r#""<sip:x@y>, ;tag=2" <sip:a@b>"#, Some("<sip:x@y>, ;tag=2"), "sip:a@b", &[]),
        ("\"The\r\n\tDoor\" <sip:a@b>", Some("The Door"), "sip:a@b", &[]),
        ("Türe <sip:a@b>", Some("Türe"), "sip:a@b", &[]),
        (r#""\Türe" <sip:a@b>"#, Some("Türe"), "sip:a@b", &[]),
        ("<sip:a@[2001:db8::1]:5060>;tag=1", None, "sip:a@[2001:db8::1]:5060", &["tag=1"]),
        ("< sip:a@b >", None, "sip:a@b", &[]),
        ("tel:+4930123;x", None, "tel:+4930123", &["x="]),
        ("*", None, "*", &[]),
        (r#"<sip:a@b> ; q = 0.5 ; n = " a\"; b " ;lr"#, None, "sip:a@b", &["q=0.5", "n= a\"; b ", "lr="]),
        (r#"<sip:a@b>;x="<sip:c@d>;y=1,";z=2"#, None, "sip:a@b", &["x=<sip:c@d>;y=1,", "z=2"]),
        (r#"sip:a@b;x="<sip:c@d>""#, None, "sip:a@b", &["x=<sip:c@d>"]),
        ("sip:a@b;x=<urn:c;d>", None, "sip:a@b", &["x=<urn:c;d>"]),
        ("<sip:a@b>junk;x=1;;y", None, "sip:a@b", &["x=1", "=", "y="]),
        // Wrong, each in its way, but plain enough.
        ("Watson, Thomas <sip:a@b>;x", Some("Watson, Thomas"), "sip:a@b", &["x="]),
        (r#""Watson", Thomas <sip:a@b>"#, Some("Watson"), "sip:a@b", &[]),
        ("Door; keeper <sip:a@b>", Some("Door; keeper"), "sip:a@b", &[]),
        (r#""Door" sip:a@b;x=1"#, Some("Door"), "sip:a@b", &["x=1"]),
        (r#""Door <sip:a@b>"#, Some("\"Door"), "sip:a@b", &[]),
        (r#"Door "the" keeper <sip:a@b>"#, Some("Door \"the\" keeper"), "sip:a@b", &[]),
        (r#""Door""#, Some("Door"), "", &[]),
        (r#"\"Door\" <sip:a@b>;x="y""#, Some(r#"\"Door\""#), "sip:a@b", &["x=y"]),
        ("Door <sip:a@b;x=1", Some("Door"), "sip:a@b;x=1", &[]),
        ("Door <", Some("Door"), "", &[]),
        (r#"<sip:a@b>;x="un;closed"#, None, "sip:a@b", &["x=\"un", "closed="]),
        ("Door", None, "Door", &[]),
        (";x=1", None, "", &["x=1"]),
    ] {
        let params = params.iter().map(|&param| param.to_owned()).collect();
        assert_eq!(read(value), [(name.map(str::to_owned), uri.to_owned(), params)], "{value}");
    }
}

#[test]
fn several_addresses() {
    for (value, uris) in [
        ("", &[][..]),
        (" , ,", &[]),
        ("<sip:a>,<sip:b>", &["sip:a", "sip:b"]),
        ("sip:a;x=1, sip:b", &["sip:a", "sip:b"]),
        ("<sip:a,b>\r\n ,\r\n <sip:c>", &["sip:a,b", "sip:c"]),
        (r#""a, b" <sip:a> , "\", c" <sip:c>"#, &["sip:a", "sip:c"]),
        ("a, b <sip:a>, c, d <sip:c>", &["sip:a", "sip:c"]),
        (", <sip:a>,, <sip:b>,", &["sip:a", "sip:b"]),
        ("*, <sip:a>", &["*", "sip:a"]),
        ("* , <sip:a>", &["*", "sip:a"]),
        (r#"<sip:a>;x=",", <sip:b>;y="un, <sip:c>"#, &["sip:a", "sip:b", "sip:c"]),
        ("<sip:a, <sip:b>, <sip:c", &["sip:a, <sip:b", "sip:c"]),
    ] {
        let found: Vec<_> = addresses(value.as_bytes()).map(|address| text(address.uri())).collect();
        assert_eq!(found, uris, "{value}");
    }
}

#[test]
fn parameters_by_name() {
    let value = br#"<sip:a@b;expires=1>;Expires=2;expires=3;+SIP.Instance="<urn:x>";lr"#;
    let address = addresses(value).next().unwrap();
    for (name, value) in [
        ("expires", Some("2")),
        ("EXPIRES", Some("2")),
        ("+sip.instance", Some("<urn:x>")),
        ("lr", Some("")),
        ("expire", None),
        ("", None),
    ] {
        assert_eq!(address.param(name).map(text).as_deref(), value, "{name}");
    }
}

#[test]
fn instances() {
    let urn = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF";
    for (value, found) in [
        (format!(r#"<sip:a>;+sip.instance="<{urn}>""#), Some(urn)),
        (format!(r#"<sip:a>;+sip.instance="{urn}""#), Some(urn)),
        (format!(r"<sip:a>;+sip.instance=<{urn}>"), Some(urn)),
        (format!(r"<sip:a>;+sip.instance={urn}"), Some(urn)),
        (format!(r#"sip:a;+sip.instance="<{urn}>""#), Some(urn)),
        (format!("<sip:a>\r\n ;\t+Sip.Instance\r\n = \"<{urn}>\"\r\n ;q=1"), Some(urn)),
        (format!(r#"<sip:a>;+sip.instance="\<{}>""#, urn.replace(':', r"\:")), Some(urn)),
        (format!(r#"<sip:a>;+sip.instance="\"<{urn}>\"""#), Some(urn)),
        (format!(r#"<sip:a>;+sip.instance="<{urn}>"#), Some(urn)),
        (format!(r#"<sip:a;+sip.instance="<{urn}>">"#), Some("")),
        (format!(r#"<sip:a;+sip.instance="{urn}">;q=1"#), None),
        (format!(r#"<sip:a>;x="+sip.instance={urn}""#), None),
        (format!(r#"<sip:a>;+sip.instances="<{urn}>""#), None),
        ("<sip:a>;+sip.instance".into(), Some("")),
        ("<sip:a>".into(), None),
    ] {
        // `>` within the URI's own parameter ends the URI: its rest is junk up to the next semicolon.
        let found = found.filter(|found| !found.is_empty() || !value.contains(">\">"));
        let address = addresses(value.as_bytes()).next().unwrap();
        assert_eq!(address.instance().map(text).as_deref(), found, "{value}");
    }
}

/// A quote that nothing closes must not be searched for again at each that follows.
#[test]
fn many_unclosed_quotes_and_brackets() {
    for unit in [r#"\"a:,"#, r#"",;\"#, "<:,", "  ,", "x,", ";=\"\\"] {
        let value = unit.repeat(1 << 16);
        let address = addresses(value.as_bytes()).last();
        let found = address.map(|address| (address.param("x"), address.display_name()));
        assert!(found.is_none_or(|(param, _)| param.is_none()), "{unit}");
    }
}

proptest::proptest! {
    /// Whatever comes in, URIs are pieces of it in their order.
    #[test]
    fn arbitrary_bytes(value in "[\"<>,;:=\\\\ \r\na*]{0,40}") {
        let mut behind = value.as_bytes().as_ptr();
        for address in addresses(value.as_bytes()) {
            let uri = address.uri().as_ptr_range();
            assert!(address.uri().is_empty() || (uri.start >= behind && value.as_bytes().as_ptr_range().end >= uri.end));
            behind = if address.uri().is_empty() { behind } else { uri.end };
            let _ = (address.display_name(), address.instance());
        }
    }

    /// However a name is escaped, it is that name.
    #[test]
    fn names_survive_escapes(name in "[ -~äöü]{0,20}", escapes: [bool; 20]) {
        let quoted: String = name
            .chars()
            .zip(escapes)
            .flat_map(|(c, escape)| [(escape || matches!(c, '"' | '\\')).then_some('\\'), Some(c)])
            .flatten()
            .collect();
        let value = format!("<sip:first>, \"{quoted}\" <sip:a@b>;tag=1, <sip:last>");
        let found: Vec<_> = addresses(value.as_bytes()).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].display_name().as_deref(), Some(name.as_bytes()));
        assert_eq!(found[1].param("tag").as_deref(), Some(&b"1"[..]));
    }
}
