//! The parameters of a source's URL. Pure.

use std::path::PathBuf;

/// The fewest calls an hour that let a source be polled at all.
pub const CALLS_PER_HOUR_MIN: u32 = 60;

/// Why a URL names no source, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

impl AddressError {
    /// With this reason. A reason names parameters, never what stands in them for a credential.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What stands after the `?` of a source's URL: each known name at most once, none empty.
#[derive(Clone, Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes pairs whose escapes are resolved.
    ///
    /// # Errors
    /// A name is not one of `known`, stands twice, or has no value.
    pub fn new(
        pairs: impl IntoIterator<Item = (String, String)>,
        known: &[&str],
    ) -> Result<Self, AddressError> {
        let pairs: Vec<(String, String)> = pairs.into_iter().collect();
        for (at, (name, value)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let there_are = known.join(", ");
                return Err(AddressError(format!(
                    "{name}= means nothing here; there are {there_are}"
                )));
            }
            if value.is_empty() || pairs.iter().skip(at + 1).any(|(other, _)| other == name) {
                return Err(AddressError(format!("{name}= must stand once, with a value")));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of `name`, where it stands there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, which `why` needs, such as `auth=jwt`.
    ///
    /// # Errors
    /// It is not there.
    pub fn needed(&self, name: &str, why: &str) -> Result<&str, AddressError> {
        self.get(name).ok_or_else(|| AddressError(format!("{why} needs {name}=")))
    }

    /// The path that `name` has.
    ///
    /// # Errors
    /// It is not absolute.
    pub fn file(&self, name: &str) -> Result<Option<PathBuf>, AddressError> {
        match self.get(name).map(PathBuf::from) {
            Some(path) if !path.is_absolute() => {
                Err(AddressError(format!("{name}= is an absolute path")))
            }
            path => Ok(path),
        }
    }

    /// The path that `name` has, which `why` needs.
    ///
    /// # Errors
    /// It is not there, or not absolute.
    pub fn needed_file(&self, name: &str, why: &str) -> Result<PathBuf, AddressError> {
        self.file(name)?.ok_or_else(|| AddressError(format!("{why} needs {name}=")))
    }

    /// What `calls_per_hour=` says, or `default`.
    ///
    /// # Errors
    /// It is no number of at least [`CALLS_PER_HOUR_MIN`].
    pub fn calls_per_hour(&self, default: u32) -> Result<u32, AddressError> {
        match self.get("calls_per_hour").map(str::parse) {
            None => Ok(default),
            Some(Ok(calls)) if calls >= CALLS_PER_HOUR_MIN => Ok(calls),
            Some(_) => Err(AddressError("calls_per_hour= is a number, at least 60".into())),
        }
    }

    /// Refuses each of `names`, which would be without effect with `what`, such as `auth=token`.
    ///
    /// # Errors
    /// One of them stands there.
    pub fn refuses(&self, names: &[&str], what: &str) -> Result<(), AddressError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(AddressError(format!("{name}= has no effect with {what}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, AddressError> {
        let pairs = text.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        Query::new(pairs, &["auth", "calls_per_hour", "file"])
    }

    #[test]
    fn parameters_stand_once_with_a_value_and_a_meaning() {
        let known = query("auth=token&file=/f&calls_per_hour=60").unwrap();
        assert_eq!(known.get("auth"), Some("token"));
        assert_eq!(known.needed_file("file", "auth=token").unwrap(), PathBuf::from("/f"));
        assert_eq!(known.calls_per_hour(7).unwrap(), 60);
        assert_eq!(query("auth=token").unwrap().calls_per_hour(7).unwrap(), 7);
        for (text, reason) in [
            ("rolle=r", "rolle= means nothing here; there are auth, calls_per_hour, file"),
            ("auth=", "must stand once, with a value"),
            ("auth=a&auth=b", "must stand once, with a value"),
        ] {
            let error = query(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let short = query("file=f&calls_per_hour=59").unwrap();
        assert!(short.file("file").unwrap_err().to_string().contains("absolute path"));
        assert!(short.calls_per_hour(7).is_err());
        assert!(short.needed("auth", "this").unwrap_err().to_string().contains("this needs auth="));
        let refused = short.refuses(&["auth", "file"], "auth=none").unwrap_err().to_string();
        assert_eq!(refused, "file= has no effect with auth=none");
    }
}
