//! Where the engine finds what runed shows an agent. Pure.
//!
//! The sources of mounts are paths of the engine's machine. Where runed itself is in a container, its data directory has
//! another name there, which the operator says with `HOST_DATA_DIR`.

use std::path::{Path, PathBuf};

/// The data directory under both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPaths {
    own: PathBuf,
    host: PathBuf,
}

impl HostPaths {
    /// `own` is the data directory as runed sees it, `host` as the engine does, where that differs.
    pub fn new(own: PathBuf, host: Option<PathBuf>) -> Self {
        let host = host.unwrap_or_else(|| own.clone());
        Self { own, host }
    }

    /// The data directory as the engine sees it.
    pub fn data_dir(&self) -> &Path {
        &self.host
    }

    /// `path` as the engine sees it. None for what does not lie below the data directory, or is no text: the engine's
    /// interface takes no other.
    pub fn of(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(&self.own).ok()?;
        let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let host = self.host.join(below);
        host.to_str().filter(|_| plain).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(own: &str, host: Option<&str>) -> HostPaths {
        HostPaths::new(own.into(), host.map(Into::into))
    }

    #[test]
    fn a_path_below_the_data_directory_gets_the_engines_name_for_it() {
        let inside = paths("/data", Some("/srv/arizuko/demo"));
        let of = |path: &str| inside.of(Path::new(path));
        assert_eq!(of("/data/homes/corp").unwrap(), "/srv/arizuko/demo/homes/corp");
        assert_eq!(of("/data/run/t/7").unwrap(), "/srv/arizuko/demo/run/t/7");
        let same = paths("/srv/demo", None);
        assert_eq!(same.of(Path::new("/srv/demo/homes/a")).unwrap(), "/srv/demo/homes/a");
    }

    #[test]
    fn what_lies_elsewhere_has_no_name() {
        let inside = paths("/data", Some("/srv/demo"));
        for path in
            ["/database/x", "/etc/shadow", "/", "homes/a", "/data/../etc", "/data/homes/../.env"]
        {
            assert_eq!(inside.of(Path::new(path)), None, "{path}");
        }
    }
}
