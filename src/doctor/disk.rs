//! Room on the disks of store and log.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::{Check, Finding, Unseen};
use crate::config::Config;

/// So many times what is kept in reserve should be free.
const RESERVES: u64 = 10;
/// So much of a disk should be free, in percent.
const PERCENT: u64 = 10;

/// A disk, as far as the server may use it.
#[derive(Debug, Clone, Copy)]
struct Disk {
    free: u64,
    size: u64,
    device: u64,
}

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let (data, audit) = (look(&config.data_folder), look(&config.audit_folder));
    // The log needs room for one more segment, else it stops at the end of the one in use.
    let mut found = vec![
        judge(&config.data_folder, &data, config.store.reserve_bytes, "writes are refused"),
        judge(&config.audit_folder, &audit, config.audit.segment_bytes, "no further segment of the log can be made"),
    ];
    if let (Ok(data), Ok(audit)) = (&data, &audit) {
        found.push(apart(*data, *audit));
    }
    found
}

fn look(folder: &Path) -> io::Result<Disk> {
    let disk = rustix::fs::statvfs(folder)?;
    let device = std::fs::metadata(folder)?.dev();
    Ok(Disk { free: disk.f_bavail * disk.f_frsize, size: disk.f_blocks * disk.f_frsize, device })
}

fn judge(folder: &Path, disk: &io::Result<Disk>, reserve: u64, below: &str) -> Finding {
    let folder = folder.display();
    let Disk { free, size, .. } = match disk {
        Ok(disk) => *disk,
        Err(error) => return Check::DiskSpace.unknown(&Unseen::new(format!("{folder}: {error}"), super::AS_ROOT)),
    };
    let found = format!("{} MiB of {} MiB are free for {folder}", free >> 20, size >> 20);
    if free < reserve {
        return Check::DiskSpace.fail(format!("{found}: below {} MiB {below}", reserve >> 20), "make room now");
    }
    if free < RESERVES.saturating_mul(reserve) || u128::from(free) * 100 < u128::from(size) * u128::from(PERCENT) {
        return Check::DiskSpace.warn(format!("{found}; below {} MiB {below}", reserve >> 20), "make room, or a larger disk");
    }
    Check::DiskSpace.pass(found)
}

fn apart(data: Disk, audit: Disk) -> Finding {
    if data.device == audit.device {
        let found = "store and log lie on one file system: what fills it stops both";
        return Check::DiskSpace.warn(found, "give the audit folder a volume of its own");
    }
    Check::DiskSpace.pass("store and log lie on file systems of their own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    const MIB: u64 = 1 << 20;

    fn verdict(free: u64, size: u64) -> Verdict {
        judge(Path::new("data"), &Ok(Disk { free, size, device: 1 }), 64 * MIB, "writes are refused").verdict
    }

    #[test]
    fn below_the_reserve_fails_and_near_it_warns() {
        let small = 1_000 * MIB;
        assert_eq!(verdict(64 * MIB - 1, small), Verdict::Fail);
        assert_eq!(verdict(64 * MIB, small), Verdict::Warn);
        assert_eq!(verdict(640 * MIB - 1, small), Verdict::Warn);
        assert_eq!(verdict(640 * MIB, small), Verdict::Pass);
        let large = 10_000 * MIB;
        assert_eq!(verdict(1_000 * MIB - 1, large), Verdict::Warn);
        assert_eq!(verdict(1_000 * MIB, large), Verdict::Pass);
        assert_eq!(verdict(u64::MAX, u64::MAX), Verdict::Pass);
    }

    #[test]
    fn one_disk_for_both_warns_and_an_unseen_one_is_unknown() {
        let disk = |device| Disk { free: 1, size: 1, device };
        assert_eq!(apart(disk(1), disk(1)).verdict, Verdict::Warn);
        assert_eq!(apart(disk(1), disk(2)).verdict, Verdict::Pass);
        assert_eq!(judge(Path::new("/nowhere"), &look(Path::new("/nowhere")), 1, "").verdict, Verdict::Unknown);
    }
}
