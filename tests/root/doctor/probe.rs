//! The probe: real packets through a gate of its own.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &trials![
    a_stranger_drops_and_a_knock_passes,
    anchored_and_bound_to_sources,
    one_transport_and_several_queues,
    it_tells_of_rules_that_are_refused,
    it_tells_that_everybody_is_trusted,
    it_enforces_where_the_gate_only_watches,
    nothing_is_left_even_by_kill_9,
];

fn a_stranger_drops_and_a_knock_passes() {
    let patient = Patient::sound();
    let before = patient.rules();
    let (status, findings) = patient.examine_with(&["--probe"]);
    assert_eq!((status, bad(&findings).len()), (0, 0), "{findings:#?}");
    assert_eq!(probed(&findings), (4, 4));
    assert_eq!(patient.rules(), before);
    wait_until(|| (left_over(&patient) == 1).then_some(())).expect("the gate that was there is left alone");
}

fn anchored_and_bound_to_sources() {
    let patient = Patient::sound();
    let knocks = "[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\nin = \"from-display-name\"\n\
                  methods = [\"INVITE\"]\nsources = [\"198.51.100.0/24\"]\ndoor = \"expires\"\n";
    fs::write(&patient.config, knocks).unwrap();
    let (_, findings) = patient.examine_with(&["--probe"]);
    assert_eq!(probed(&findings), (2, 2), "{findings:#?}");
    let said = |text: &str| findings.iter().any(|finding| finding["text"].as_str().unwrap().contains(text));
    assert!(said("IPv6: no knock counts"), "{findings:#?}");
}

fn one_transport_and_several_queues() {
    let inspect =
        "transports = [\"udp\"]\nports = [\"5060-5063\", 5070]\ntrusted = [\"127.0.0.0/8\", \"::1\"]";
    let patient = Patient::with(inspect, "numbers = \"4-7\"", &[]);
    let (status, findings) = patient.examine_with(&["--probe"]);
    assert_eq!((status, probed(&findings)), (0, (2, 2)), "{findings:#?}");
}

fn it_tells_of_rules_that_are_refused() {
    let patient = Patient::sound();
    patient.stand_in("iptables-restore", "cat >/dev/null; echo 'no NFQUEUE here' >&2; exit 2");
    let (status, findings) = patient.examine_with(&["--probe"]);
    let refused = findings.iter().find(|finding| finding["name"] == "probe-rules").unwrap();
    assert!(status == 1 && refused["text"].as_str().unwrap().contains("no NFQUEUE here"), "{refused}");
}

fn it_tells_that_everybody_is_trusted() {
    let patient = Patient::with("trusted = [\"0.0.0.0/0\"]", "", &[]);
    let (status, findings) = patient.examine_with(&["--probe"]);
    assert!(
        status == 1 && findings.iter().any(|finding| finding["name"] == "probe-trusted"),
        "{findings:#?}"
    );
    assert_eq!(probed(&findings), (2, 2), "IPv6 is as it should be");
}

fn it_enforces_where_the_gate_only_watches() {
    let patient = Patient::with("mode = \"monitor\"", "", &[]);
    let (status, findings) = patient.examine_with(&["--probe"]);
    assert_eq!((status, probed(&findings)), (1, (4, 4)), "{findings:#?}");
}

fn nothing_is_left_even_by_kill_9() {
    let patient = Patient::sound();
    let mut command = patient.doctor(&["--probe"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut doctor = command.spawn().unwrap();
    wait_until(|| {
        // They may have come and gone between two looks.
        if doctor.try_wait().unwrap().is_some() {
            doctor = command.spawn().unwrap();
        }
        // The gate of this machine, doctor, witness, and its gate.
        (left_over(&patient) == 4).then_some(())
    })
    .expect("the probe's gate starts");
    doctor.kill().unwrap();
    doctor.wait().unwrap();
    wait_until(|| (left_over(&patient) == 1).then_some(())).expect("the probe's processes end");
}

/// How many strangers were dropped and how many knocks passed.
fn probed(findings: &[Value]) -> (usize, usize) {
    let count = |name: &str| {
        findings.iter().filter(|finding| finding["name"] == name && finding["severity"] == "ok").count()
    };
    (count("probe-stranger"), count("probe-knock"))
}

/// Processes with this machine's configuration among their arguments, but for the gate's helper that keeps the rules.
fn left_over(patient: &Patient) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_left = |process: &fs::DirEntry| {
        let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
        read("cmdline").split(|byte| *byte == 0).any(|word| word == patient.config.as_bytes())
            && read("comm") != b"sipknock-rules\n"
    };
    processes.filter(is_left).count()
}
