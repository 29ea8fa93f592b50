//! What an operator may set of runed.

use kit::{AnySetting, RUN_TIMEOUT, Setting, SettingError, Settings, parse};

/// What runs agents.
pub const CONTAINER_BACKEND: Setting<BackendChoice> = Setting {
    name: "CONTAINER_BACKEND",
    default: "process",
    about: "What runs agents: `process` starts them as child processes in a sandbox; `none` runs none, and messages are stored and observed only.",
    expects: "process or none; docker and kubernetes are not in this build",
    parse: backend,
};

/// The image of agent containers.
pub const CONTAINER_IMAGE: Setting<Option<String>> = Setting {
    name: "CONTAINER_IMAGE",
    default: "",
    about: "The image that agents run in, where the backend has images and the run names none. Processes have none.",
    expects: "an image reference",
    parse: |text| parse::optional(text, parse::text),
};

/// Runs at once.
pub const MAX_CONCURRENT_RUNS: Setting<u32> = Setting {
    name: "MAX_CONCURRENT_RUNS",
    default: "4",
    about: "How many agents run at once. Others wait in order; a folder never has two.",
    expects: "a number from 1 to 1000",
    parse: |text| parse::number(text).filter(|number| (1..=1000).contains(number)),
};

/// All of them, for the reference.
pub const SETTINGS: &[&dyn AnySetting] =
    &[&CONTAINER_BACKEND, &CONTAINER_IMAGE, &MAX_CONCURRENT_RUNS, &RUN_TIMEOUT];

/// A backend that this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// Child processes.
    Process,
    /// Nothing runs.
    None,
}

fn backend(text: &str) -> Option<BackendChoice> {
    match text {
        "process" => Some(BackendChoice::Process),
        "none" => Some(BackendChoice::None),
        _ => None,
    }
}

/// What was set, read once.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) backend: BackendChoice,
    pub(crate) image: Option<String>,
    pub(crate) capacity: u32,
    pub(crate) run_timeout_seconds: u32,
}

impl Values {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingError> {
        let timeout = settings.get(&RUN_TIMEOUT)?;
        Ok(Self {
            backend: settings.get(&CONTAINER_BACKEND)?,
            image: settings.get(&CONTAINER_IMAGE)?,
            capacity: settings.get(&MAX_CONCURRENT_RUNS)?,
            run_timeout_seconds: u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_refused_with_what_would_do() {
        for backend in ["docker", "kubernetes", "podman", "Process"] {
            let settings = Settings::default().with("CONTAINER_BACKEND", backend);
            let error = Values::read(&settings).unwrap_err().to_string();
            assert!(error.contains(backend) && error.contains("process or none"), "{error}");
        }
        let values = Values::read(&Settings::default()).unwrap();
        assert_eq!(values.backend, BackendChoice::Process);
        assert_eq!((values.capacity, values.run_timeout_seconds), (4, 900));
        for (name, bad) in [("MAX_CONCURRENT_RUNS", "0"), ("RUN_TIMEOUT", "2d")] {
            assert!(Values::read(&Settings::default().with(name, bad)).is_err(), "{name}={bad}");
        }
    }
}
