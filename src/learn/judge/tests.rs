use super::*;

#[test]
fn instances() {
    for (urn, strength) in [
        ("urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", Strength::Strong),
        ("URN:UUID:9D1F2B60-4E0B-4C6B-8F1E-0F4C2F1A7E55", Strength::Strong),
        ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Strength::Fair),
        ("urn:uuid:2ed6657d-e927-568b-95e1-2665a8aea6a2", Strength::Fair),
        ("urn:uuid:00000000-0000-1000-8000-0004f2123456", Strength::Weak),
        ("urn:uuid:00000000-0000-0000-0000-000b82a1b2c3", Strength::Weak),
        ("urn:uuid:00000000-0000-0000-0000-000000000000", Strength::Unusable),
        ("urn:uuid:1234", Strength::Weak),
        ("urn:uuid:9d1f2b604e0b4c6b8f1e0f4c2f1a7e55", Strength::Fair),
        ("urn:gsma:imei:90420156-025763-0", Strength::Weak),
        ("urn:dev:mac:0024beff804ff1", Strength::Weak),
        ("urn:uuid:", Strength::Weak),
        ("", Strength::Weak),
    ] {
        let judged = instance(urn.as_bytes(), Extent::Within);
        assert_eq!(judged.strength, strength, "{urn}: {}", judged.why);
    }
}

#[test]
fn display_names() {
    for (name, strength) in [
        ("gjdmtwapgjdtmwagptjd", Strength::Strong),
        ("Alice gjdmtwapgjdtmwagpt", Strength::Strong),
        ("x7kq-92mf-trw4-88zz", Strength::Strong),
        ("7kq92mftrw48", Strength::Fair),
        ("Alice", Strength::Weak),
        ("Alice Smith-Jones", Strength::Weak),
        ("Reception Ground Floor 2", Strength::Weak),
        ("Lager und Versand", Strength::Weak),
        ("Анна Петровна", Strength::Weak),
        ("100", Strength::Weak),
        ("100@pbx.example.org", Strength::Weak),
        ("Phone 100 (kitchen)", Strength::Weak),
        ("493012345678", Strength::Weak),
        ("k7q", Strength::Weak),
        ("aaaaaaaaaaaaaaaaaaaa", Strength::Weak),
        ("anonymous", Strength::Unusable),
        ("Asterisk PBX", Strength::Unusable),
        ("sipvicious", Strength::Unusable),
    ] {
        let judged = display_name(name.as_bytes(), b"100@pbx.example.org", Extent::Within);
        assert_eq!(judged.strength, strength, "{name}: {}", judged.why);
    }
}

#[test]
fn user_agents() {
    for (agent, strength) in [
        ("Yealink SIP-T46S 66.86.0.15", Strength::Weak),
        ("baresip v1.0.0 (x86_64/linux)", Strength::Weak),
        ("Grandstream GXP2170 1.0.11.6", Strength::Weak),
        ("Linphone/3.12.0 (belle-sip/1.6.3)", Strength::Weak),
        ("ExamplePhone 9d1f2b604e0b4c6b8f1e", Strength::Strong),
        ("friendly-scanner", Strength::Unusable),
    ] {
        let judged = user_agent(agent.as_bytes(), b"100@pbx", Extent::Within);
        assert_eq!(judged.strength, strength, "{agent}: {}", judged.why);
    }
}
