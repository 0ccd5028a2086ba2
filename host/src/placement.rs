//! Whether a model's weights are mapped or copied, if the caller leaves it open.

use std::path::Path;

use crate::Mapping;

/// Whether `bytes` of weights may be mapped.
pub(crate) fn is_mapped(mapping: Mapping, bytes: u64) -> bool {
    match mapping {
        Mapping::Auto => !is_copy_affordable(bytes, available()),
        Mapping::Allowed => true,
        Mapping::Copy => false,
    }
}

/// A copy may take half of the available memory: the file's own pages, from which it is made, want the other half.
fn is_copy_affordable(bytes: u64, available: Option<u64>) -> bool {
    available.is_some_and(|available| bytes <= available / 2)
}

/// Bytes that this process can still use without swapping: what the system reports as available, within the limits of
/// the process's control groups. `None` if the system does not say.
fn available() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limit(Path::new("/sys/fs/cgroup"), &groups);
    Some(mem_available(&meminfo)?.min(limit))
}

/// `MemAvailable` in the text of `/proc/meminfo`, in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let value = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The smallest memory limit of the control group in the text of `/proc/self/cgroup` and those around it, in bytes;
/// `u64::MAX` without a limit. Only version 2 of control groups is understood.
fn group_limit(root: &Path, groups: &str) -> u64 {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let group = root.join(path.unwrap_or_default());
    let limit = |group: &Path| -> Option<u64> {
        let text = std::fs::read_to_string(group.join("memory.max")).ok()?;
        text.trim().parse().ok()
    };
    let around = group.ancestors().take_while(|path| path.starts_with(root));
    around.filter_map(limit).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_must_leave_room() {
        assert!(is_copy_affordable(1 << 30, Some(2 << 30)));
        assert!(!is_copy_affordable((1 << 30) + 1, Some(2 << 30)));
        assert!(!is_copy_affordable(1, None), "nobody knows");
        assert!(is_mapped(Mapping::Auto, u64::MAX));
        assert!(is_mapped(Mapping::Allowed, 0));
        assert!(!is_mapped(Mapping::Copy, u64::MAX));
    }

    #[test]
    fn meminfo_is_in_kib() {
        let text = "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:   48 kB\n";
        assert_eq!(mem_available(text), Some(48 << 10));
        for odd in [
            "",
            "MemAvailable:\n",
            "MemAvailable: x kB",
            "MemAvailable: 1",
        ] {
            assert_eq!(mem_available(odd), None, "{odd:?}");
        }
        let huge = format!("MemAvailable: {} kB", u64::MAX);
        assert_eq!(mem_available(&huge), None);
    }

    #[test]
    fn the_narrowest_control_group_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("outer/inner");
        std::fs::create_dir_all(&inner).expect("folders");
        let limit = |groups| group_limit(root.path(), groups);
        assert_eq!(limit("0::/outer/inner\n"), u64::MAX, "no limit");
        std::fs::write(inner.join("memory.max"), "max\n").expect("written");
        std::fs::write(root.path().join("outer/memory.max"), "4096\n").expect("written");
        assert_eq!(limit("1:name=x:/y\n0::/outer/inner\n"), 4096);
        assert_eq!(limit("0::/elsewhere\n"), u64::MAX);
        assert_eq!(limit(""), u64::MAX);
    }
}
