//! Faults to be found, one at a time.

mod faults;

pub(super) use faults::FAULTS;

use super::*;

/// A fault, what doctor must call it, and what it must say mends it.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// Makes a machine that is sound but for it.
    plant: fn() -> Patient,
    /// Arguments of doctor.
    args: &'static [&'static str],
    /// Every finding that is not "ok", by name and severity, whatever the order and how often.
    found: &'static [(&'static str, &'static str)],
    /// In the first one's mending command.
    mend: &'static str,
    /// Whether that command, run as it stands, mends it.
    mends: bool,
}

/// Plants it, has it found, and does what doctor says.
pub(super) fn find(fault: &Fault) {
    let patient = (fault.plant)();
    let (status, findings) = patient.examine_with(fault.args);
    let mut found: Vec<_> = bad(&findings)
        .into_iter()
        .map(|finding| (finding["name"].as_str().unwrap(), finding["severity"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    found.dedup();
    let mut expected = fault.found.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{findings:#?}");
    let faulty = expected.iter().any(|(_, severity)| *severity == "fault");
    assert_eq!(status, i32::from(faulty));

    let named = |finding: &&Value| finding["name"] == fault.found[0].0;
    let mend = findings.iter().find(named).unwrap()["mend"].as_str().unwrap().to_owned();
    assert!(mend.contains(fault.mend), "{mend}");
    if fault.mends {
        let mut rounds = 0;
        let mut left = findings;
        // Where both families are ill, each has its own command.
        while let Some(finding) = left.iter().find(named) {
            patient.sh(finding["mend"].as_str().unwrap());
            left = patient.examine_with(fault.args).1;
            rounds += 1;
            assert!(rounds < 5, "{mend} does not mend it: {left:#?}");
        }
        assert!(left.iter().all(|finding| finding["severity"] != "fault"), "{left:#?}");
    }
}
