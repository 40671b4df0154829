use super::*;

fn bits(secret: &str) -> f64 {
    of(secret.as_bytes(), false).bits
}

/// Each kind of secret, and the bits that are random in it, to the nearest whole number.
#[test]
fn what_is_random_in_secrets() {
    for (secret, expected, kind) in [
        // By alphabet and length.
        ("adgjmptwad", 28.0, PieceKind::Plain),
        ("adgjmptwadgjdmtpgwjadm", 62.0, PieceKind::Plain),
        ("addgjmptwa", 30.0, PieceKind::Plain),
        ("4707183526", 33.0, PieceKind::Plain),
        ("47071835264902716053", 66.0, PieceKind::Plain),
        ("3f9a81c07be25d64", 64.0, PieceKind::Plain),
        ("3F9A81C07BE25D64", 64.0, PieceKind::Plain),
        ("k7q9xw2mfz", 50.0, PieceKind::Plain),
        ("mykn0ckstr1ng", 67.0, PieceKind::Plain),
        ("hkzvbnwrtyplqc", 66.0, PieceKind::Plain),
        ("Hk0vBnWrTyPlqC", 83.0, PieceKind::Plain),
        ("k7Q$m!2?z", 51.0, PieceKind::Plain),
        ("x7kq-92mf-trw4-88zz", 84.0, PieceKind::Plain),
        ("k", 5.0, PieceKind::Plain),
        ("", 0.0, PieceKind::Plain),
        // Repetitions, rows, words.
        ("abababababababab", 11.0, PieceKind::Plain),
        ("aaaaaaaaaaaaaaaaaaaa", 7.0, PieceKind::Plain),
        ("k7q9xw2mk7q9xw2mk7q9xw2m", 41.0, PieceKind::Plain),
        ("1234567890123456", 16.0, PieceKind::Plain),
        ("qwertzuiop", 8.0, PieceKind::Plain),
        ("mnbvcxz", 8.0, PieceKind::Plain),
        ("k7q9abcdefgh", 28.0, PieceKind::Plain),
        ("CHANGE-ME", 7.0, PieceKind::Plain),
        ("password2024", 14.0, PieceKind::Plain),
        ("Yealink SIP-T46S 66.86.0.15", 42.0, PieceKind::Plain),
        // UUIDs.
        ("9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", 122.0, PieceKind::RandomUuid),
        ("urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", 122.0, PieceKind::RandomUuid),
        ("URN:UUID:9D1F2B60-4E0B-4C6B-8F1E-0F4C2F1A7E55", 122.0, PieceKind::RandomUuid),
        ("urn:uuid:017f22e2-79b0-7cc3-98c4-dc0c0c07398f", 74.0, PieceKind::RandomUuid),
        ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", 54.0, PieceKind::TimeUuid),
        ("urn:uuid:1ec9414c-232a-6b00-b3c8-9f6bdeced846", 77.0, PieceKind::TimeUuid),
        ("urn:uuid:000003e8-7dec-21d0-a765-00a0c91e6bf6", 30.0, PieceKind::TimeUuid),
        ("urn:uuid:2ed6657d-e927-568b-95e1-2665a8aea6a2", 122.0, PieceKind::NameUuid),
        ("urn:uuid:9d1f2b60-4e0b-0c6b-8f1e-0f4c2f1a7e55", 128.0, PieceKind::OddUuid),
        ("urn:uuid:00000000-0000-0000-0000-000000000000", 7.0, PieceKind::FilledUuid),
        ("urn:uuid:11111111-1111-4111-8111-111111111111", 8.0, PieceKind::FilledUuid),
        ("urn:uuid:00000000-0000-1000-8000-0004f2123456", 24.0, PieceKind::MacUuid),
        ("urn:uuid:00000000-0000-0000-0000-000b82a1b2c3", 24.0, PieceKind::MacUuid),
        // MAC addresses.
        ("0004f2a1b2c3", 24.0, PieceKind::Mac),
        ("00:04:f2:a1:b2:c3", 24.0, PieceKind::Mac),
        ("00-04-F2-A1-B2-C3", 24.0, PieceKind::Mac),
        ("0004.f2a1.b2c3", 24.0, PieceKind::Mac),
        ("mac:0004f2a1b2c3", 24.0, PieceKind::Mac),
        ("urn:dev:mac:0024beff804ff1", 24.0, PieceKind::Mac),
        // Twelve hexadecimal digits that no maker has assigned, and more than twelve.
        ("3f04f2a1b2c3", 48.0, PieceKind::Plain),
        ("0004f2a1b2c3d", 52.0, PieceKind::Plain),
        // IMEIs.
        ("urn:gsma:imei:90420156-025763-0", 20.0, PieceKind::Imei),
        ("imei=353250010123454", 20.0, PieceKind::Imei),
        ("356938035643809", 20.0, PieceKind::Imei),
        ("356938035643808", 50.0, PieceKind::Plain),
        // Dates.
        ("20261122", 15.0, PieceKind::Date),
        ("22112026", 15.0, PieceKind::Date),
        ("11222026", 15.0, PieceKind::Date),
        ("2026-11-22", 15.0, PieceKind::Date),
        ("22.11.2026", 15.0, PieceKind::Date),
        ("11/22/2026", 15.0, PieceKind::Date),
        ("202611221405", 26.0, PieceKind::Date),
        ("20261122140559", 32.0, PieceKind::Date),
        ("20261322", 27.0, PieceKind::Plain),
        ("k7q9xw2mfz-20261122", 66.0, PieceKind::Plain),
    ] {
        let found = of(secret.as_bytes(), false);
        assert!((found.bits - expected).abs() <= 0.6, "{secret}: {} bits", found.bits);
        assert_eq!(found.kind, kind, "{secret}");
    }
}

#[test]
fn letters_in_either_case_are_fewer() {
    let both = |secret: &str| [false, true].map(|fold| of(secret.as_bytes(), fold).bits.round());
    assert_eq!(both("HkZvBnWrTyPlqC"), [80.0, 66.0]);
    assert_eq!(both("3F9a81C07be25D64"), [95.0, 64.0]);
    assert_eq!(both("4707183526"), [33.0, 33.0]);
}

#[test]
fn more_letters_are_never_fewer_bits_but_for_forms() {
    let mut last = 0.0;
    for length in 1..=14 {
        let now = bits("hkzvbnwrtyplqc".get(..length).unwrap());
        assert!(now > last, "{length}");
        last = now;
    }
}

#[test]
fn any_bytes_are_weighed() {
    for secret in
        [&b"\xff\xfe\x00\x01"[..], b"\0\0\0\0\0", "Анна Петровна".as_bytes(), b" \t ", b"imei", b"mac:"]
    {
        let found = of(secret, true);
        assert!(found.bits.is_finite() && found.bits >= 0.0, "{}", secret.escape_ascii());
    }
    // The work grows with the length alone.
    for long in
        [vec![b'a'; 1 << 20], b"ab".repeat(1 << 19), b"aab".iter().copied().cycle().take(1 << 20).collect()]
    {
        assert!(of(&long, false).bits < 64.0);
    }
}
