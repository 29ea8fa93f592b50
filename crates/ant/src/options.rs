//! What `ant` is told on its command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What a run needs to know before it has its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory that holds the turn's socket (`s`).
    pub socket_dir: PathBuf,
    /// The agent's home: the working directory of what runs.
    pub home: PathBuf,
    /// Whether to offer the socket on 127.0.0.1 too. Only where this run has a network namespace
    /// of its own: anyone who can reach that port is the agent.
    pub bridge: bool,
    /// `PATH` of the program that the `command` harness runs.
    pub path: OsString,
    /// `LANG` of that program.
    pub lang: OsString,
    /// How long to wait for the first answer of routd.
    pub patience: Duration,
    /// The Claude Code CLI; without it, `claude` of `path`.
    pub claude: Option<PathBuf>,
    /// The directory of the skills. It need not be there.
    pub skills: PathBuf,
}

impl Options {
    /// The usual options for a socket directory and a home.
    pub fn new(socket_dir: impl Into<PathBuf>, home: impl Into<PathBuf>) -> Self {
        Self {
            socket_dir: socket_dir.into(),
            home: home.into(),
            bridge: false,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            lang: "C.UTF-8".into(),
            patience: Duration::from_secs(120),
            claude: None,
            skills: "/workspace".into(),
        }
    }
}

/// Why a command line is not understood. The process exits with 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An option that is needed is not there.
    #[error("ant needs `{0}`; {USAGE}")]
    Missing(&'static str),
    /// An option stands at the end, without its value.
    #[error("`{0}` needs a value; {USAGE}")]
    Value(&'static str),
    /// An argument that means nothing here.
    #[error("`{0}` is not an option of ant; {USAGE}")]
    Unknown(String),
}

const USAGE: &str =
    "call it as `ant --socket-dir DIR --home DIR [--bridge] [--claude FILE] [--skills DIR]`";

/// Reads the arguments behind the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, UsageError> {
    let mut arguments = arguments.into_iter();
    let (mut socket_dir, mut home, mut bridge) = (None, None, false);
    let (mut claude, mut skills) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--socket-dir") => {
                socket_dir = Some(arguments.next().ok_or(UsageError::Value("--socket-dir"))?);
            }
            Some("--home") => home = Some(arguments.next().ok_or(UsageError::Value("--home"))?),
            Some("--bridge") => bridge = true,
            Some("--claude") => {
                claude = Some(arguments.next().ok_or(UsageError::Value("--claude"))?);
            }
            Some("--skills") => {
                skills = Some(arguments.next().ok_or(UsageError::Value("--skills"))?);
            }
            _ => return Err(UsageError::Unknown(argument.to_string_lossy().into_owned())),
        }
    }
    let socket_dir = socket_dir.ok_or(UsageError::Missing("--socket-dir"))?;
    let home = home.ok_or(UsageError::Missing("--home"))?;
    let usual = Options::new(socket_dir, home);
    let skills = skills.map_or(usual.skills.clone(), PathBuf::from);
    Ok(Options { bridge, claude: claude.map(PathBuf::from), skills, ..usual })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn a_command_line_says_where_the_socket_and_the_home_are() {
        let options = read(&["--home", "/home/a", "--socket-dir", "/run/t"]).unwrap();
        assert_eq!(options, Options::new("/run/t", "/home/a"));
        assert!(!options.bridge, "a bridge must be asked for");
        assert!(read(&["--socket-dir", "/t", "--home", "/h", "--bridge"]).unwrap().bridge);
        let given = ["--socket-dir", "/t", "--home", "/h", "--claude", "/c", "--skills", "/s"];
        let options = read(&given).unwrap();
        assert_eq!((options.claude, options.skills), (Some("/c".into()), "/s".into()));
    }

    #[test]
    fn a_command_line_that_is_not_understood_says_how_to_call_it() {
        for (arguments, error) in [
            (&[][..], UsageError::Missing("--socket-dir")),
            (&["--socket-dir", "/t"], UsageError::Missing("--home")),
            (&["--socket-dir", "/t", "--home"], UsageError::Value("--home")),
            (&["--verbose"], UsageError::Unknown("--verbose".into())),
        ] {
            assert_eq!(read(arguments).unwrap_err(), error);
            assert!(error.to_string().contains("ant --socket-dir DIR --home DIR"), "{error}");
        }
    }
}
