//! What an operator may set. Never a secret.
//!
//! A setting is one value: its name, its default, what it is for, and how it parses. The same value
//! reads it, prints the reference and words the refusal.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// One setting. Declared once, as a constant, by the crate that reads it.
#[derive(Debug)]
pub struct Setting<T: 'static> {
    /// Its name in the environment, the ConfigMap and the settings file.
    pub name: &'static str,
    /// Its value when nobody sets it, as it would be written; empty for "not set".
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub about: &'static str,
    /// What would do, as the end of "expected …".
    pub expects: &'static str,
    /// Reads it; `None` refuses to start.
    pub parse: fn(&str) -> Option<T>,
}

/// A setting whose type does not matter: for the reference.
pub trait AnySetting: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Its default, as written.
    fn default(&self) -> &'static str;
    /// What it is for.
    fn about(&self) -> &'static str;
    /// What would do.
    fn expects(&self) -> &'static str;
    /// Whether `text` would be taken.
    fn accepts(&self, text: &str) -> bool;
    /// Whether what was set for it does, in the words of whoever would read it.
    ///
    /// # Errors
    /// It was set, and does not parse.
    fn check(&self, settings: &Settings) -> Result<(), SettingError>;
}

impl<T> AnySetting for Setting<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn default(&self) -> &'static str {
        self.default
    }
    fn about(&self) -> &'static str {
        self.about
    }
    fn expects(&self) -> &'static str {
        self.expects
    }
    fn accepts(&self, text: &str) -> bool {
        (self.parse)(text).is_some()
    }
    fn check(&self, settings: &Settings) -> Result<(), SettingError> {
        match settings.raw(self.name, self.default) {
            (_, Place::Default) => Ok(()),
            _ => settings.get(self).map(drop),
        }
    }
}

/// A setting that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting {name} is `{value}`, from {place}; expected {expects}")]
pub struct SettingError {
    /// The setting.
    pub name: &'static str,
    /// Its value, as it was found.
    pub value: String,
    /// Where it was found.
    pub place: &'static str,
    /// What would do.
    pub expects: &'static str,
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The process's environment, or a flag of the command line.
    Environment,
    /// The instance's settings file.
    File,
    /// Nobody set it.
    Default,
}

impl Place {
    /// As an operator would say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "the environment",
            Self::File => "the settings file",
            Self::Default => "the default",
        }
    }
}

/// The settings of this process, as they were at its start.
#[derive(Clone, Default)]
pub struct Settings(Arc<BTreeMap<String, (String, Place)>>);

impl Settings {
    /// The settings of `file`, under those of `environment`. A value that is empty is not set.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        file: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let file = file.into_iter().map(|(name, value)| (name, (value, Place::File)));
        let environment =
            environment.into_iter().map(|(name, value)| (name, (value, Place::Environment)));
        let set = file.chain(environment).filter(|(_, (value, _))| !value.is_empty());
        Self(Arc::new(set.collect()))
    }

    /// The value of `setting`.
    ///
    /// # Errors
    /// What was found does not parse; or the default does not, which is "not set": then the message
    /// says what would do.
    pub fn get<T>(&self, setting: &Setting<T>) -> Result<T, SettingError> {
        let (value, place) = self.raw(setting.name, setting.default);
        (setting.parse)(&value).ok_or_else(|| SettingError {
            name: setting.name,
            value,
            place: place.name(),
            expects: setting.expects,
        })
    }

    /// The value as it was written, and where.
    pub fn raw(&self, name: &str, default: &str) -> (String, Place) {
        match self.0.get(name) {
            Some((value, place)) => (value.clone(), *place),
            None => (default.to_owned(), Place::Default),
        }
    }

    /// The names that the settings file sets, and nothing else does.
    pub fn in_file(&self) -> impl Iterator<Item = &str> {
        let of_file = |(_, place): &&(String, Place)| *place == Place::File;
        self.0.iter().filter(move |(_, value)| of_file(value)).map(|(name, _)| name.as_str())
    }

    /// These settings with `name` set to `value`, as if by the environment.
    pub fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut all = (*self.0).clone();
        all.insert(name.to_owned(), (value.into(), Place::Environment));
        Self(Arc::new(all))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: somebody will put a secret into the settings file one day.
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Ready-made ways to read a setting.
pub mod parse {
    use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

    /// `250ms`, `30s`, `5m`, `1h` or `7d`; whole numbers, more than nothing.
    pub fn duration(text: &str) -> Option<Duration> {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().ok()?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let total = number.checked_mul(milliseconds)?;
        (total > 0).then(|| Duration::from_millis(total))
    }

    /// `127.0.0.1:8081`, `[::1]:8081`, or `:8081` for every address.
    pub fn socket_addr(text: &str) -> Option<SocketAddr> {
        match text.strip_prefix(':') {
            Some(port) => Some(SocketAddr::from(([0, 0, 0, 0], port.parse().ok()?))),
            None => text.parse().ok(),
        }
    }

    /// An `http` or `https` address, without a trailing slash.
    pub fn url(text: &str) -> Option<String> {
        let url = url::Url::parse(text).ok()?;
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        known.then(|| text.trim_end_matches('/').to_owned())
    }

    /// Any text.
    pub fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// A path.
    pub fn path(text: &str) -> Option<PathBuf> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// A number of the wanted type.
    pub fn number<N: FromStr>(text: &str) -> Option<N> {
        text.parse().ok()
    }

    /// `true` or `false`.
    pub fn flag(text: &str) -> Option<bool> {
        text.parse().ok()
    }

    /// What `inner` reads; nothing for an empty text.
    pub fn optional<T>(text: &str, inner: fn(&str) -> Option<T>) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { inner(text).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIMEOUT: Setting<Duration> = Setting {
        name: "RUN_TIMEOUT",
        default: "15m",
        about: "How long a run may take.",
        expects: "a duration such as 15m",
        parse: parse::duration,
    };

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
        let none = Settings::default();
        assert_eq!(none.get(&TIMEOUT).unwrap(), Duration::from_secs(900));
        let file = Settings::new([], pairs(&[("RUN_TIMEOUT", "1m")]));
        assert_eq!(file.get(&TIMEOUT).unwrap(), Duration::from_secs(60));
        let both = Settings::new(pairs(&[("RUN_TIMEOUT", "2s")]), pairs(&[("RUN_TIMEOUT", "1m")]));
        assert_eq!(both.get(&TIMEOUT).unwrap(), Duration::from_secs(2));
        let empty = Settings::new(pairs(&[("RUN_TIMEOUT", "")]), pairs(&[("RUN_TIMEOUT", "1m")]));
        assert_eq!(empty.get(&TIMEOUT).unwrap(), Duration::from_secs(60), "empty is not set");
    }

    #[test]
    fn what_does_not_parse_names_the_setting_the_value_and_what_would_do() {
        for bad in ["soon", "0s", "5", "-1s", "5 m", "99999999999999999999s"] {
            let settings = Settings::new(pairs(&[("RUN_TIMEOUT", bad)]), []);
            let message = settings.get(&TIMEOUT).unwrap_err().to_string();
            let expected = format!(
                "the setting RUN_TIMEOUT is `{bad}`, from the environment; expected a duration such as 15m"
            );
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn an_address_without_a_host_is_every_address() {
        assert_eq!(parse::socket_addr(":8081"), "0.0.0.0:8081".parse().ok());
        assert_eq!(parse::socket_addr("[::1]:1"), "[::1]:1".parse().ok());
        assert_eq!(parse::socket_addr("localhost"), None);
        assert_eq!(parse::url("http://127.0.0.1:1/"), Some("http://127.0.0.1:1".into()));
        assert_eq!(parse::url("file:///etc/passwd"), None);
    }
}
