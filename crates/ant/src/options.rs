//! What `ant` is told on its command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// What a run needs to know before it has its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory that holds the turn's socket (`s`). Not used where there is a listener.
    pub socket_dir: PathBuf,
    /// routd's listener, where the turn is not at a socket.
    pub listener: Option<Listener>,
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

/// Where an agent in a cluster finds its turn, and who it says it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `https://HOST:PORT`.
    pub url: String,
    /// The SHA-256 of the listener's certificate.
    pub certificate: [u8; 32],
    /// The file with this pod's token, which is replaced while the run lasts.
    pub token_file: PathBuf,
}

impl Options {
    /// The usual options for a socket directory and a home.
    pub fn new(socket_dir: impl Into<PathBuf>, home: impl Into<PathBuf>) -> Self {
        Self {
            socket_dir: socket_dir.into(),
            home: home.into(),
            listener: None,
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

const USAGE: &str = "call it as `ant --socket-dir DIR --home DIR [--bridge] [--claude FILE] [--skills DIR]`, or with `--turn-url URL --certificate SHA256 --token-file FILE` instead of the socket's directory";

/// Reads the arguments behind the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, UsageError> {
    const VALUES: [&str; 7] = [
        "--socket-dir",
        "--home",
        "--claude",
        "--skills",
        "--turn-url",
        "--certificate",
        "--token-file",
    ];
    let mut arguments = arguments.into_iter();
    let (mut values, mut bridge) = (BTreeMap::new(), false);
    while let Some(argument) = arguments.next() {
        let unknown = || UsageError::Unknown(argument.to_string_lossy().into_owned());
        let text = argument.to_str().ok_or_else(unknown)?;
        if text == "--bridge" {
            bridge = true;
            continue;
        }
        let name = VALUES.into_iter().find(|name| *name == text).ok_or_else(unknown)?;
        values.insert(name, arguments.next().ok_or(UsageError::Value(name))?);
    }
    let listener = match values.remove("--turn-url") {
        Some(url) => Some(listener(&url, &mut values)?),
        None => None,
    };
    let mut needed = |name| values.remove(name).ok_or(UsageError::Missing(name));
    let socket_dir = match listener {
        Some(_) => OsString::new(),
        None => needed("--socket-dir")?,
    };
    let usual = Options::new(socket_dir, needed("--home")?);
    let skills = values.remove("--skills").map_or(usual.skills.clone(), PathBuf::from);
    let claude = values.remove("--claude").map(PathBuf::from);
    Ok(Options { bridge, claude, skills, listener, ..usual })
}

fn listener(
    url: &OsStr,
    values: &mut BTreeMap<&'static str, OsString>,
) -> Result<Listener, UsageError> {
    let mut needed = |name| values.remove(name).ok_or(UsageError::Missing(name));
    let (certificate, token_file) = (needed("--certificate")?, needed("--token-file")?);
    let mut bytes = [0; 32];
    hex::decode_to_slice(certificate.as_encoded_bytes(), &mut bytes)
        .map_err(|_| UsageError::Value("--certificate"))?;
    let url = url.to_string_lossy().into_owned();
    Ok(Listener { url, certificate: bytes, token_file: token_file.into() })
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
    fn a_turn_in_a_cluster_is_at_a_listener_that_is_known_by_its_certificate() {
        let hash = "ab".repeat(32);
        let all = ["--turn-url", "https://r:8089", "--certificate", &hash, "--token-file", "/t"];
        let options = read(&[&all[..], &["--home", "/h"]].concat()).unwrap();
        let listener = options.listener.unwrap();
        assert_eq!((listener.url.as_str(), listener.certificate), ("https://r:8089", [0xab; 32]));
        let missing = |name| Err(UsageError::Missing(name));
        assert_eq!(read(&[&all[..4], &["--home", "/h"]].concat()), missing("--token-file"));
        assert_eq!(read(&[&all[..2], &["--home", "/h"]].concat()), missing("--certificate"));
        let short = ["--turn-url", "https://r", "--certificate", "ab", "--token-file", "/t"];
        assert_eq!(read(&short), Err(UsageError::Value("--certificate")));
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
