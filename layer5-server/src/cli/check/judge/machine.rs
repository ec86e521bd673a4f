//! What the service stands on: disk, memory, the newest backup, certificates.
//! Called from: [`super::judge`].

use super::super::{
    certificate::Certificate,
    look::Seen,
    verdict::{State, Verdict, graded, verdict},
};

pub(super) fn disk(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5ResourceExhaustion";
    let free = seen.after.sum("layer5_disk_free_bytes");
    let (Some(free), Some(size)) = (free, seen.after.sum("layer5_disk_size_bytes")) else {
        return verdict("disk", State::Unknown, "not shown", then);
    };
    let used = 1.0 - free / size;
    let said = format!("{:.0} % used, {:.1} GB free", used * 100.0, free / 1e9);
    verdict("disk", graded(used, 0.75, 0.85), said, then)
}

pub(super) fn memory(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5ResourceExhaustion";
    let used = seen.after.sum("process_resident_memory_bytes");
    let (Some(used), Some(limit)) = (used, seen.after.sum("layer5_memory_limit_bytes")) else {
        return verdict("memory", State::Unknown, "not shown", then);
    };
    let said = format!("{:.0} MB of {:.0} MB", used / 1e6, limit / 1e6);
    verdict("memory", graded(used / limit, 0.75, 0.9), said, then)
}

pub(super) fn backup(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5BackupStale";
    match seen.after.sum("layer5_backup_age_seconds") {
        None => verdict(
            "backup",
            State::Unknown,
            "this service knows of no backup",
            then,
        ),
        Some(age) => {
            let said = format!("the newest is {:.1} h old", age / 3600.0);
            verdict("backup", graded(age / 3600.0, 25.0, 26.0), said, then)
        }
    }
}

/// The certificate that ends first, or the one that can't be read.
pub(super) fn certificate(seen: &Seen) -> Verdict {
    let then = "renew it, and see that whoever serves it has read the new one";
    let name = "certificate";
    let worst = seen.certificates.iter().min_by(|a, b| {
        let days = |c: &Certificate| c.days_left.as_ref().copied().unwrap_or(f64::MIN);
        days(a).total_cmp(&days(b))
    });
    let Some(worst) = worst else {
        return verdict(name, State::Unknown, "not asked: give --certificate", then);
    };
    let path = worst.path.display();
    match &worst.days_left {
        Err(why) => verdict(name, State::Red, format!("{path}: {why}"), then),
        Ok(days) => {
            let said = match *days < 0.0 {
                true => format!("{path} ended {:.0} days ago", -days),
                false => format!("{path} ends in {days:.0} days"),
            };
            verdict(name, graded(-days, -30.0, -7.0), said, then)
        }
    }
}
