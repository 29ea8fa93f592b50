//! What runs containers, and whether it is known to let them out. Pure.

use super::Finding;
use proto::runed::RunedStatus;

/// What the backend runs agents with.
pub(super) fn check(status: &RunedStatus) -> Option<Finding> {
    if status.versions.is_empty() {
        return None;
    }
    let place = format!("runed, {}", status.backend);
    let all: Vec<String> =
        status.versions.iter().map(|(part, version)| format!("{part} {version}")).collect();
    let holes = status.versions.get("runc").and_then(|version| holes(version));
    Some(match holes {
        Some(holes) => {
            let what = format!("{}: this runc lets a container out ({holes})", all.join(", "));
            let next = "update runc to 1.2.8, 1.3.3, 1.4.0 or newer; some distributions mend it under an old number, and their security tracker says so. Until then run nothing in containers that you do not trust";
            Finding::advice("versions", place, what, next)
        }
        None => Finding::good("versions", place, all.join(", ")),
    })
}

/// The ways out of a container that a runc of this version is known to leave. None is known of what cannot be read.
fn holes(version: &str) -> Option<&'static str> {
    let of = number(version)?;
    let mended = match of {
        (0, ..) | (1, 0 | 1, ..) => None,
        (1, 2, ..) => Some((1, 2, 8, RELEASE)),
        (1, 3, ..) => Some((1, 3, 3, RELEASE)),
        _ => Some((1, 4, 0, 3)),
    };
    if of < (1, 1, 12, RELEASE) {
        return Some("CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881");
    }
    mended
        .is_none_or(|mended| of < mended)
        .then_some("CVE-2025-31133, CVE-2025-52565, CVE-2025-52881")
}

/// A version: three numbers, and which candidate it was; a release comes after all candidates.
type Number = (u32, u32, u32, u32);
const RELEASE: u32 = u32::MAX;

/// Reads a version as engines write it: `1.1.12`, `v1.1.12-0-g51d5e946`, `1.1.5+ds1-1+deb12u1`, `1.4.0-rc.2`.
fn number(text: &str) -> Option<Number> {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    let (major, minor, patch) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let candidate = rest.trim_start_matches(['-', '~']).strip_prefix("rc");
    let digits = |text: &str| {
        let text = text.trim_start_matches('.');
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse().ok())
    };
    Some((major, minor, patch, candidate.and_then(digits).unwrap_or(RELEASE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_runc_that_lets_containers_out_is_told_from_one_that_does_not() {
        for bad in [
            "1.0.0-rc95",
            "1.1.5+ds1-1+deb12u1",
            "v1.1.11-0-g4bccb38c",
            "1.1.12",
            "1.1.15",
            "1.2.7",
            "1.2.8-rc.1",
            "1.3.0",
            "1.3.2",
            "1.4.0-rc.2",
        ] {
            assert!(holes(bad).is_some(), "{bad}");
        }
        for good in ["1.2.8", "v1.2.9-0-gabc", "1.3.3", "1.4.0-rc.3", "1.4.0", "1.10.0", "2.0.0"] {
            assert_eq!(holes(good), None, "{good}");
        }
        assert!(holes("1.1.11").unwrap().contains("2024-21626"));
        assert!(!holes("1.1.12").unwrap().contains("2024-21626"), "mended there");
        for unknown in ["", "N/A", "1", "1.2", "d842d7719497cc3b774fd71620278ac9e17710e0"] {
            assert_eq!(holes(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn versions_are_told_and_a_hole_has_its_next_step() {
        let status = |versions: &[(&str, &str)]| {
            let versions = versions.iter().map(|(part, of)| ((*part).into(), (*of).into()));
            RunedStatus { versions: versions.collect(), ..empty() }
        };
        assert!(check(&status(&[])).is_none(), "a backend without parts");
        let good = check(&status(&[("engine", "28.5.2"), ("runc", "1.3.3")])).unwrap();
        assert_eq!((good.level, &*good.what), (Level::Good, "engine 28.5.2, runc 1.3.3"));
        let bad = check(&status(&[("engine", "28.5.1"), ("runc", "1.2.5")])).unwrap();
        assert_eq!(bad.level, Level::Advice);
        assert!(bad.next.unwrap().starts_with("update runc to 1.2.8"));
    }

    fn empty() -> RunedStatus {
        serde_json::from_value(serde_json::json!({
            "backend": "docker", "pending": 0, "running": 0, "capacity": 1
        }))
        .unwrap()
    }
}
