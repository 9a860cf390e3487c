//! The build, and the process as Prometheus expects every process to describe itself: processor time, memory, files.
//!
//! Read when they are asked for, out of a few lines of `/proc/self`: a crate for that brings the whole of `/proc`.

use std::{
    fmt, fs,
    sync::atomic::{AtomicI64, AtomicU64},
};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeValLike,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode_registry},
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::domain::window::Millis;

const MICROS: f64 = 1_000_000.0;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

/// `0.1.0 (8a2c5d1)`: the number and the commit.
fn build() -> Build {
    let (version, commit) = env!("TOLLGATE_VERSION").split_once(' ').unwrap_or((env!("TOLLGATE_VERSION"), ""));
    Build { version, commit: commit.trim_matches(['(', ')']) }
}

/// Metrics that have no name of this program before them.
pub(super) struct ProcessMetrics {
    registry: Registry,
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge<i64, AtomicI64>,
    open_files: Gauge,
    most_files: Gauge,
    start: Gauge,
}

impl fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessMetrics")
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("process"),
            cpu: Counter::default(),
            resident: Gauge::default(),
            open_files: Gauge::default(),
            most_files: Gauge::default(),
            start: Gauge::default(),
        };
        let r = &mut metrics.registry;
        r.register("cpu_seconds", "Processor time, of users and of the system", metrics.cpu.clone());
        r.register("resident_memory_bytes", "Resident memory", metrics.resident.clone());
        r.register("open_fds", "Open file descriptors", metrics.open_files.clone());
        r.register("max_fds", "Most file descriptors that may be open", metrics.most_files.clone());
        r.register("start_time_seconds", "When the node was started, since the Unix epoch", metrics.start.clone());
        metrics
    }
}

impl ProcessMetrics {
    /// Says what was built.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Build { version, commit } = build();
        registry.register("build", "The build", Info::new([("version", version), ("commit", commit)]));
    }

    /// Writes everything of the process; what cannot be read stays what it was.
    pub(super) fn write(&self, text: &mut String, started_at: Millis) -> fmt::Result {
        if let Some(seconds) = cpu_seconds() {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident(&status) {
            self.resident.set(bytes);
        }
        if let Some(open) = open_files() {
            self.open_files.set(open);
        }
        if let Ok((most, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.most_files.set(i64::try_from(most).unwrap_or(i64::MAX));
        }
        self.start.set(i64::try_from(started_at / 1_000).unwrap_or(i64::MAX));
        encode_registry(text, &self.registry)
    }
}

fn cpu_seconds() -> Option<f64> {
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    // Exact below 2^53 microseconds, which are 285 years.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    Some(micros as f64 / MICROS)
}

/// `VmRSS:     12345 kB`.
fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}

/// Without the one that lists them.
fn open_files() -> Option<i64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(open.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_what_it_uses() {
        let metrics = ProcessMetrics::default();
        let mut text = String::new();
        metrics.write(&mut text, 1_795_336_200_000).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert_eq!(value("process_start_time_seconds"), 1_795_336_200.0);
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident("Name:\ttollgate\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(resident("VmRSS: much\n"), None);
    }
}
