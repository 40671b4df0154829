//! What is measured on.

use std::{fs, io};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use super::engine::vectorscan_version;

/// A processor and its system.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// Of its instructions, those that engines choose their code by.
    pub features: Vec<&'static str>,
    /// The kernel's version.
    pub kernel: String,
    /// The core that is measured on.
    pub pinned_to: usize,
    /// This program's version.
    pub sipknock: &'static str,
    /// That of the library, where this build has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectorscan: Option<String>,
}

impl Machine {
    /// Looks around, and makes this thread stay on one core: the one asked for, else the last it may run on, since
    /// interrupts come to the first.
    ///
    /// # Errors
    /// Where it may not run on that core.
    pub fn pin(cpu: Option<usize>) -> Result<Self, PinError> {
        let error = |cpu| move |source| PinError { cpu, source };
        let allowed = sched_getaffinity(None).map_err(io::Error::from).map_err(error(0))?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).unwrap_or_default();
        let pinned_to = cpu.unwrap_or(last);
        let mut only = CpuSet::new();
        if pinned_to < CpuSet::MAX_CPU {
            only.set(pinned_to);
        }
        sched_setaffinity(None, &only).map_err(io::Error::from).map_err(error(pinned_to))?;
        Ok(Self {
            cpu: cpu_name(&read("/proc/cpuinfo")),
            cores: allowed.count() as usize,
            features: features(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            pinned_to,
            sipknock: env!("CARGO_PKG_VERSION"),
            vectorscan: vectorscan_version(),
        })
    }
}

/// Whoever wants a number wants that one.
#[derive(Debug, thiserror::Error)]
#[error("can't run on CPU {cpu}: {source}; 'lscpu' and 'taskset -p $$' show which there are")]
pub struct PinError {
    cpu: usize,
    source: io::Error,
}

/// Nothing, where it can't be read.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `model name` is what x86 has. Others have no name, or say less.
fn cpu_name(cpuinfo: &str) -> String {
    let line = |wanted: &str| {
        let value = |line: &str| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == wanted && !value.trim().is_empty()).then(|| value.trim().to_owned())
        };
        cpuinfo.lines().find_map(value)
    };
    ["model name", "Model", "Hardware", "cpu model"]
        .into_iter()
        .find_map(line)
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    let seen = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vbmi", is_x86_feature_detected!("avx512vbmi")),
    ];
    seen.into_iter().filter_map(|(name, seen)| seen.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    let seen = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
        ("sve2", std::arch::is_aarch64_feature_detected!("sve2")),
    ];
    seen.into_iter().filter_map(|(name, seen)| seen.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_to_a_core_that_there_is() {
        // In a thread of its own, which the other tests do not share.
        std::thread::spawn(|| {
            let machine = Machine::pin(None).unwrap();
            assert!(machine.cores >= 1 && !machine.cpu.is_empty() && !machine.kernel.is_empty());
            assert_eq!(Machine::pin(Some(machine.pinned_to)).unwrap().cores, 1);
            for none in [CpuSet::MAX_CPU - 1, usize::MAX] {
                let error = Machine::pin(Some(none)).unwrap_err().to_string();
                assert!(error.contains(&format!("CPU {none}: ")), "{error}");
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn processors_have_names_or_at_least_a_kind() {
        for (cpuinfo, expected) in [
            ("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: fpu", "Some CPU @ 2 GHz"),
            (
                "processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2711\nModel\t\t: Some Board",
                "Some Board",
            ),
            ("model name\t:\n", std::env::consts::ARCH),
        ] {
            assert_eq!(cpu_name(cpuinfo), expected);
        }
    }
}
