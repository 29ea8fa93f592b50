//! Versions of a secret, and which of them counts. Pure.

use crate::trouble::Trouble;
use google_cloud_secretmanager_v1::model::{SecretVersion, secret_version::State};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is known of a version without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) created: Option<SystemTime>,
    state: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Enabled,
    Disabled,
    Destroyed,
    Unknown,
}

impl Version {
    /// As the service describes it.
    pub(crate) fn read(version: &SecretVersion) -> Result<Self, Trouble> {
        let created = version.create_time.as_ref().and_then(|at| {
            let since = Duration::new(at.seconds().try_into().ok()?, at.nanos().try_into().ok()?);
            UNIX_EPOCH.checked_add(since)
        });
        let state = match version.state {
            State::Enabled => Stage::Enabled,
            State::Disabled => Stage::Disabled,
            State::Destroyed => Stage::Destroyed,
            _ => Stage::Unknown,
        };
        Ok(Self { number: number(&version.name)?, created, state })
    }

    /// Refuses what is no value: a version that is disabled or destroyed.
    pub(crate) const fn check(&self) -> Result<(), Trouble> {
        match self.state {
            Stage::Enabled => Ok(()),
            Stage::Disabled => Err(Trouble::Disabled(self.number)),
            Stage::Destroyed => Err(Trouble::Destroyed(self.number)),
            Stage::Unknown => Err(Trouble::Stateless(self.number)),
        }
    }

    /// Whether it can be read.
    pub(crate) fn is_enabled(&self) -> bool {
        self.state == Stage::Enabled
    }

    /// Whether both are the same version of the same secret: numbers begin anew where a secret is
    /// deleted and made again.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.number == other.number && self.created == other.created
    }
}

/// The number in `projects/…/secrets/…/versions/NUMBER`.
pub(crate) fn number(name: &str) -> Result<u64, Trouble> {
    let number = name.rsplit_once("/versions/").and_then(|(_, number)| number.parse().ok());
    number.filter(|number| *number > 0).ok_or(Trouble::Garbled)
}

/// The number to ask for by itself, where `latest` may be an old answer: of all that is read, only
/// versions by their numbers are consistent. That is one that was seen already, unless the secret is
/// another one since, or one that a hint named.
pub(crate) fn newer(latest: &Version, known: Option<&Version>, hinted: Option<u64>) -> Option<u64> {
    let known = known.filter(|known| match (known.created, latest.created) {
        (Some(known), Some(latest)) => latest <= known,
        _ => true,
    });
    let number = known.map(|known| known.number).max(hinted)?;
    (number > latest.number).then_some(number)
}

/// Of the versions that are enabled, the last before `current`.
pub(crate) fn before(current: u64, versions: Vec<Version>) -> Option<Version> {
    let mut earlier: Vec<Version> = versions
        .into_iter()
        .filter(|version| version.is_enabled() && version.number < current)
        .collect();
    earlier.sort_by_key(|version| version.number);
    earlier.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, created: u64) -> Version {
        let created = Some(UNIX_EPOCH + Duration::from_secs(created));
        Version { number, created, state: Stage::Enabled }
    }

    #[test]
    fn a_version_is_read_with_its_number_and_state() {
        let name = "projects/123/secrets/s/versions/7";
        let described = SecretVersion::new().set_name(name).set_state(State::Disabled);
        let read = Version::read(&described).unwrap();
        assert_eq!((read.number, read.check()), (7, Err(Trouble::Disabled(7))));
        assert!(!read.is_enabled());
        for name in ["projects/1/secrets/s/versions/latest", "versions/1", "", "a/versions/0"] {
            assert_eq!(number(name), Err(Trouble::Garbled), "{name}");
        }
        let gone = described.clone().set_state(State::Destroyed);
        assert_eq!(Version::read(&gone).unwrap().check(), Err(Trouble::Destroyed(7)));
        let odd = described.set_state(State::Unspecified);
        assert_eq!(Version::read(&odd).unwrap().check(), Err(Trouble::Stateless(7)));
    }

    #[test]
    fn an_old_answer_never_takes_a_version_back() {
        let known = version(5, 500);
        assert_eq!(newer(&version(4, 400), Some(&known), None), Some(5), "latest is behind");
        assert_eq!(newer(&version(5, 500), Some(&known), None), None);
        assert_eq!(newer(&version(6, 600), Some(&known), None), None);
        assert_eq!(newer(&version(1, 900), Some(&known), None), None, "the secret was made anew");
        assert_eq!(newer(&version(5, 500), Some(&known), Some(6)), Some(6), "a hint is ahead");
        assert_eq!(newer(&version(5, 500), None, Some(4)), None);
        assert_eq!(newer(&version(5, 500), None, None), None);
    }

    #[test]
    fn the_previous_one_is_the_last_that_is_enabled() {
        let mut three = version(3, 300);
        three.state = Stage::Disabled;
        let list = vec![version(2, 200), three, version(4, 400), version(1, 100)];
        assert_eq!(before(4, list.clone()).unwrap().number, 2);
        assert_eq!(before(5, list.clone()).unwrap().number, 4);
        assert_eq!(before(1, list), None);
    }
}
