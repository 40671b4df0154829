//! `check`.

use super::*;

#[test]
fn check_reports_and_warns() {
    let folder = TempDir::new().unwrap();
    let good = config(&folder, "[[knock]]\nname = \"a\"\nsecret = \"gjdmtwapgjdtmwagptjd\"\n");
    let (status, out, err) = run(&["check", "--config", &good]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with("the configuration is valid: 1 knock, 0 warnings\n"), "{out}");
    let weak = config(
        &folder,
        "[inspect]\ntrusted = [\"10.0.0.1/8\"]\n[[knock]]\nname = \"a\"\nsecret = \"470718352649\"\n\
         [[knock]]\nname = \"b\"\nsecret = \"gjdmtwapgjdtmwagptjd \"\n",
    );
    let (status, out, _) = run(&["check", "--config", &weak]);
    assert_eq!(status, 0);
    for says in [
        "10.0.0.0/8",
        "warning: knock \"a\": 40 bits, which a sender at 1 Gbit/s guesses in 67 minutes",
        "warning: knock \"b\": it begins or ends with white space",
        "the configuration is valid: 2 knocks, 3 warnings",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let (_, out, _) = run(&["check", "--json", "--config", &weak]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["ok"], &json["knocks"], json["warnings"].as_array().unwrap().len()),
        (&true.into(), &2.into(), 3)
    );
    assert_eq!(json["refused"], serde_json::json!([]));
    assert!(!out.contains("470718352649"));
}

/// Knocks that are guessed within a minute, each with a word on why.
#[test]
fn check_refuses_what_is_guessed_within_a_minute() {
    let folder = TempDir::new().unwrap();
    for (secret, keys, says) in [
        ("8421", "", "13 bits, which a sender at 1 Gbit/s guesses in less than a second"),
        ("adgjmptwad", "", "28 bits, which a sender at 1 Gbit/s guesses in 1 second"),
        ("adgjmptwad", "in = \"from-display-name\"\nmatch = \"whole\"", "guesses in 28 seconds"),
        ("friendly-scanner", "", "it occurs in text that SIP scanners send"),
        ("CHANGE-ME", "", "it occurs in the example configuration"),
        (
            "<urn:dev:mac:0004f2a1b2c3>",
            "in = \"contact-instance\"",
            "it is made of the MAC address, which is printed",
        ),
        ("urn:gsma:imei:90420156-025763-0", "in = \"contact-instance\"", "it is the IMEI, which is printed"),
        (
            "urn:uuid:00000000-0000-1000-8000-0004f2a1b2c3",
            "in = \"contact-instance\"",
            "a UUID made of the MAC address, which is printed",
        ),
    ] {
        let text = format!(
            "[[knock]]\nname = \"good\"\nsecret = \"k7q9xw2mfzb3\"\n[[knock]]\nname = \"a\"\nsecret = \"{secret}\"\n{keys}\n"
        );
        let file = config(&folder, &text);
        let (status, out, err) = run(&["check", "--config", &file]);
        assert_eq!((status, err.as_str()), (2, ""), "{secret}: {out}");
        assert!(out.contains(says), "{says}: {out}");
        assert!(out.contains("error: knock \"a\": ") && !out.contains("error: knock \"good\""), "{out}");
        assert!(
            out.contains("the configuration is refused for 1 knock that anybody guesses: 2 knocks"),
            "{out}"
        );
        assert!(!out.contains(secret), "{out}");
        let (status, out, _) = run(&["check", "--json", "--config", &file]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (status, &json["ok"], &json["refused"][0]["knock"]),
            (2, &false.into(), &"a".into()),
            "{out}"
        );
    }
}

/// The secret of the string rules that this program takes the place of is in use, and 67 bits long.
#[test]
fn check_warns_of_the_documented_secret() {
    let (status, out, _) = run(&["check", "--knock", "alice-desk=mykn0ckstr1ng"]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("warning: knock \"alice-desk\": it occurs in the documentation"), "{out}");
}

#[test]
fn check_prints_bits_and_time_of_each_knock() {
    let folder = TempDir::new().unwrap();
    let knocks = [
        ("keypad", "gjdmtwapgjdtmwagptjdgmp", "", 65, "sound"),
        ("keypad, short", "adgjmptwadga", "", 34, "weak"),
        ("digits", "47071835264902716053", "", 66, "sound"),
        ("digits, short", "470718352649", "", 40, "weak"),
        ("letters", "hkzvbnwrtyplqc", "", 66, "sound"),
        ("letters and digits", "k7q9xw2mfz", "", 50, "sound"),
        ("hexadecimal", "3f9a81c07be25d64", "", 64, "sound"),
        ("all of it", "Vb7-Qm2-Kx9-Rw4", "", 76, "sound"),
        (
            "UUID",
            "<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>",
            "in = \"contact-instance\"\nmatch = \"whole\"",
            122,
            "sound",
        ),
        (
            "UUID of a time",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "in = \"contact-instance\"",
            54,
            "sound",
        ),
    ];
    let text: String = knocks
        .iter()
        .map(|(name, secret, keys, ..)| {
            format!("[[knock]]\nname = \"{name}\"\nsecret = \"{secret}\"\n{keys}\n")
        })
        .collect();
    let file = config(&folder, &text);
    let (status, out, _) = run(&["check", "--config", &file]);
    assert_eq!(status, 0, "{out}");
    let (_, json, _) = run(&["check", "--json", "--config", &file]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let strengths = json["strengths"].as_array().unwrap();
    assert_eq!(strengths.len(), 10);
    for ((name, _, keys, bits, grade), strength) in knocks.iter().zip(strengths) {
        let row = out.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        let guessed = strength["guessed_in"].as_str().unwrap();
        assert!(row.contains(&format!(" {bits} ")) && row.contains(guessed), "{row}: {bits} {guessed}");
        assert!((strength["bits"].as_f64().unwrap() - f64::from(*bits)).abs() <= 0.5, "{strength}");
        assert_eq!((&strength["knock"], &strength["grade"]), (&(*name).into(), &(*grade).into()));
        let whole = if keys.contains("whole") { "whole" } else { "within" };
        assert_eq!(strength["match"], whole);
        assert!(strength["seconds"].as_f64().unwrap() > 60.0);
    }
    // All of them at once are guessed before the weakest one.
    let weakest = strengths[1]["seconds"].as_f64().unwrap();
    let any = json["any_seconds"].as_f64().unwrap();
    assert!(any < weakest && any > weakest * 0.9, "{any} {weakest}");
    assert!(out.contains("any of them: guessed in "), "{out}");
}

/// As it is shipped, the example is refused for its secret alone.
#[test]
fn the_shipped_example_wants_a_secret_of_its_own() {
    let folder = TempDir::new().unwrap();
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/sipknock.toml")).unwrap();
    let (status, out, _) = run(&["check", "--config", &config(&folder, &shipped)]);
    assert_eq!(status, 2, "{out}");
    assert!(out.contains("error: knock \"example\": it occurs in the example configuration"), "{out}");
    let (_, secret, _) = run(&["keygen"]);
    let (status, out, _) =
        run(&["check", "--config", &config(&folder, &shipped.replace("CHANGE-ME", secret.trim()))]);
    assert!(status == 0 && out.ends_with("1 knock, 0 warnings\n"), "{out}");
}

#[test]
fn check_warns_of_what_doctor_finds() {
    let folder = TempDir::new().unwrap();
    let doubtful = "[inspect]\nmode = \"monitor\"\ntrusted = [\"0.0.0.0/0\"]\n[http]\nlisten = \"[::]:9470\"\n\
                    [[knock]]\nname = \"a\"\nsecret = \"gjdmtwapgjdtmwagptjd\"\nmethods = [\"REGSTER\"]\n";
    let (status, out, _) = run(&["check", "--config", &config(&folder, doubtful)]);
    assert_eq!(status, 0);
    for says in [
        "the mode is \"monitor\"",
        "`trusted` holds every IPv4 address",
        "warning: knock \"a\": no phone sends the method \"REGSTER\", so it never opens a door",
        "set [http] listen = \"127.0.0.1:9470\"",
        "1 knock, 4 warnings",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
}
