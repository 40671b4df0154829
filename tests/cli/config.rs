//! Files of the configuration: what is refused, and in what words.

use super::*;

#[test]
fn secrets_that_others_can_read_are_refused() {
    let folder = TempDir::new().unwrap();
    let text = "[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n";
    let inline = config(&folder, text);
    let file = folder.path().join("secret");
    fs::write(&file, "gwadjtpmagjwtdpmjgatwdm").unwrap();
    let named = folder.path().join("named.toml");
    fs::write(&named, "[[knock]]\nname = \"a\"\nsecret_file = \"secret\"\n").unwrap();
    let none = folder.path().join("none.toml");
    fs::write(&none, "[inspect]\nports = [5060]\n").unwrap();
    let (file, named, none) = (file.to_str().unwrap(), named.to_str().unwrap(), none.to_str().unwrap());
    let mode = |path: &str, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    for readable in [0o644, 0o604, 0o602] {
        for (config, culprit) in [(inline.as_str(), inline.as_str()), (named, file)] {
            mode(culprit, readable);
            for command in ["run", "check"] {
                let (status, _, err) = run(&["--config", config, command]);
                assert_eq!(status, 2, "{err}");
                assert!(err.contains(culprit) && err.contains("every user can read"), "{err}");
                assert!(err.contains("--allow-readable-secrets") && !err.contains("gwadjtp"), "{err}");
                // The mend that it names is one.
                let mend = err.split("run '").nth(1).unwrap().split('\'').next().unwrap();
                assert!(mend.starts_with("chmod 06"), "{mend}");
                let words: Vec<_> = mend.split(' ').collect();
                let (status, _, err) = run(&["--config", config, "check", "--allow-readable-secrets"]);
                assert_eq!(status, 0, "{err}");
                if command == "check" {
                    Command::new(words[0]).args(&words[1..]).assert().success();
                }
            }
            let (status, out, err) = run(&["--config", config, "check"]);
            assert!(status == 0 && out.contains("0 warnings"), "{out}{err}");
        }
    }
    // What holds no secret may be read, and so may what others do with one.
    mode(none, 0o644);
    assert_eq!(run(&["--config", none, "firewall", "print"]).0, 0);
    mode(&inline, 0o644);
    let capture = capture(&folder, &["before"]);
    assert_eq!(run(&["--config", &inline, "replay", &capture]).0, 0);
    let (_, out, _) = run(&["--config", &inline, "check", "--allow-readable-secrets"]);
    assert!(out.contains("1 warning\n") && out.contains("every user can read"), "{out}");
}

#[test]
fn no_knock_is_named_like_doors_that_no_knock_opens() {
    let folder = TempDir::new().unwrap();
    for (name, why) in [("manual", "opened by hand"), ("outbound", "a request of the PBX")] {
        let inline =
            config(&folder, &format!("[[knock]]\nname = \"{name}\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n"));
        let flag = format!("{name}=gwadjtpmagjwtdpmjgatwdm");
        for args in [&["--config", &inline, "check"][..], &["check", "--knock", &flag]] {
            let (status, _, err) = run(args);
            assert!(status == 2 && err.contains(why) && err.contains("another"), "{err}");
        }
        assert_eq!(run(&["keygen", "--name", name]).0, 2);
    }
}

#[test]
fn wrong_values_of_a_file_are_told_at_once() {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "[inspect]\nports = [0]\ndoor = \"soon\"\n[queue]\nmax_len = 0\n[[knock]]\nname = \"{}\"\nsecret = \"\"\n\
         [[knock]]\nname = \"ok\"\nsecret = \"k7q9xw2mfzb3\"\nin = \"nowhere\"\nmatch = \"whole\"\n",
        "n".repeat(70)
    );
    let path = config(&folder, &text);
    let (status, out, err) = run(&["check", "--config", &path]);
    let lines: Vec<_> = err.lines().collect();
    assert_eq!((status, out.as_str(), lines.len()), (2, "", 6), "{err}");
    let places = [
        ":2: inspect.ports",
        ":3: inspect.door",
        ":5: queue.max_len",
        ":7: knock 1.name: the name \"nnnnnnnnnnnnnnnnnnnnnnnn\"… has 70 characters",
        ":8: knock 1.secret",
        ":12: knock 2.in",
    ];
    for (line, place) in lines.iter().zip(places) {
        assert!(line.starts_with("sipknock: ") && line.contains(place), "{place}: {line}");
    }
    let (status, out, _) = run(&["check", "--json", "--config", &path]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (status, &json["status"], json["errors"].as_array().unwrap().len()),
        (2, &2.into(), 6),
        "{out}"
    );
    assert_eq!((&json["errors"][0]["line"], &json["errors"][0]["key"]), (&2.into(), &"inspect.ports".into()));
}

#[test]
fn a_knock_with_the_wrong_header_is_told_the_right_one() {
    let folder = TempDir::new().unwrap();
    for header in ["[knock]", "[[knocks]]", "[knocks]", "[ knock ]  # mine", "[[Knock]]"] {
        let path = config(&folder, &format!("# x\n{header}\nname = \"a\"\nsecret = \"hush-hush\"\n"));
        let (status, _, err) = run(&["check", "--config", &path]);
        assert!(status == 2 && err.contains(":2: ") && err.contains("write [[knock]]"), "{header}: {err}");
        assert!(!err.contains("hush"), "{err}");
    }
}

#[test]
fn a_wrong_header_hides_no_other_mistake() {
    let folder = TempDir::new().unwrap();
    let text = "[inspect]\nports = [0]\n[[knocks]]\nname = \"a\"\nsecret = \"\"\n[[Knock]]  # mine\nname = \"b=\"\nsecret = \"hush-hush\"\n";
    let path = config(&folder, text);
    let (status, _, err) = run(&["check", "--config", &path]);
    let places =
        [":2: inspect.ports", ":3: [[knocks]]", ":5: knock 1.secret", ":6: [[Knock]]", ":7: knock 2.name"];
    assert_eq!((status, err.lines().count()), (2, places.len()), "{err}");
    for place in places {
        assert!(err.contains(place), "{place}: {err}");
    }
    assert!(!err.contains("hush"), "{err}");
}

#[test]
fn included_files_are_knocks_and_named_in_errors() {
    let folder = TempDir::new().unwrap();
    let below = folder.path().join("knocks.d");
    fs::create_dir(&below).unwrap();
    let write = |name: &str, text: &str| {
        let path = below.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    let knock = |name: &str, secret: &str| format!("[[knock]]\nname = \"{name}\"\nsecret = \"{secret}\"\n");
    let text = format!("include = [\"knocks.d/*.toml\"]\n{}", knock("main", "gwadjtpmagjwtdpmjgatwdm"));
    let path = config(&folder, &text);
    let check = || run(&["check", "--config", &path]);
    assert_eq!(check().0, 0, "no file is needed");
    write("b.toml", &knock("bob", "jwtdpmjgatwdmgwadjtpmag"));
    write("a.toml", &knock("alice", "twdmgwadjtpmagjwtdpmjga"));
    write("c.toml~", "not TOML");
    let (status, out, err) = check();
    assert!(status == 0 && out.contains("3 knocks"), "{out}{err}");
    let place = |text: &str| out.find(text).unwrap();
    assert!(place(" main ") < place(" alice ") && place(" alice ") < place(" bob "), "{out}");

    write("c.toml", "[inspect]\nports = [1]\n");
    let (status, _, err) = check();
    assert!(status == 2 && err.contains("c.toml:1: "), "only knocks: {err}");
    write("c.toml", &knock("bob", "another-secret-of-bob"));
    let (status, _, err) = check();
    assert!(status == 2 && err.contains("c.toml:1: ") && err.contains("b.toml:1: "), "taken: {err}");
    write("c.toml", &format!("{}in = \"nowhere\"\n", knock("x", "")));
    write("a.toml", &knock("a=b", "twdmgwadjtpmagjwtdpmjga"));
    let (status, _, err) = check();
    assert_eq!((status, err.lines().count()), (2, 3), "{err}");
    assert!(err.contains("a.toml:2: ") && err.contains("c.toml:3: ") && err.contains("c.toml:4: "), "{err}");

    fs::remove_file(below.join("c.toml")).unwrap();
    write("a.toml", &knock("alice", "twdmgwadjtpmagjwtdpmjga"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(below.join("a.toml"), open).unwrap();
    let (status, _, err) = check();
    assert!(status == 2 && err.contains("a.toml holds secrets"), "{err}");
    for (pattern, wanted) in [("missing.toml", "missing.toml"), ("*/a.toml", "before its last part")] {
        let path = config(&folder, &format!("include = [\"{pattern}\"]\n"));
        let (status, _, err) = run(&["check", "--config", &path]);
        assert!(status == 2 && err.contains(":1: include: ") && err.contains(wanted), "{err}");
    }
}

#[test]
fn trusted_names_are_addresses_with_a_name_beside_them() {
    let folder = TempDir::new().unwrap();
    let path = config(&folder, "[inspect]\ntrusted_names = { \"sip.example\" = [\"192.0.2.66\"] }\n");
    let (status, out, err) = run(&["firewall", "print", "--config", &path]);
    assert!(status == 0 && out.contains("192.0.2.66"), "{out}{err}");
    for (value, wanted) in [
        ("{ \"sip.example\" = [\"192.0.2.0/24\"] }", "not an address"),
        ("{ \"sip example\" = [] }", "not the name of a host"),
        ("[\"sip.example\"]", "sipknock setup --trust"),
    ] {
        let path = config(&folder, &format!("[inspect]\ntrusted_names = {value}\n"));
        let (status, _, err) = run(&["check", "--config", &path]);
        assert!(status == 2 && err.contains(":2: inspect.trusted_names") && err.contains(wanted), "{err}");
    }
}
