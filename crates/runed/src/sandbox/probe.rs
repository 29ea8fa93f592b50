//! What an agent would try first, tried from inside a sandbox: to read what is not its own, to speak to a socket that
//! is not its own, to reach this machine's network.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// How long a listener on this machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the probe could do. Everything here should be false. `writes` is looked at from outside: in a root of its own
/// a program may well write something under the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// It read a file outside of its home, or listed a directory there.
    pub files: bool,
    /// It wrote a file there, or changed one's mode.
    pub writes: bool,
    /// It connected to a Unix socket there.
    pub sockets: bool,
    /// It connected to a TCP listener of this machine.
    pub network: bool,
}

/// Runs `probe DIRECTORY TCP_ADDRESS …`: the directory holds the socket `s`, and in `hidden` the file `canary`. What an
/// agent is told besides is not needed.
pub(super) fn run(args: &[&str]) -> ExitCode {
    let [directory, address, ..] = args else { return ExitCode::from(64) };
    let reached = look(directory, address);
    let line = serde_json::to_string(&reached).unwrap_or_default();
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn look(directory: &str, address: &str) -> Reached {
    let hidden = format!("{directory}/hidden");
    let canary = format!("{hidden}/canary");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    Reached {
        files: fs::read(&canary).is_ok() || fs::read_dir(&hidden).is_ok(),
        writes: fs::write(format!("{directory}/written"), "x").is_ok()
            || fs::set_permissions(&canary, mode).is_ok(),
        sockets: UnixStream::connect(format!("{directory}/s")).is_ok(),
        network: address.parse().is_ok_and(|address: SocketAddr| {
            TcpStream::connect_timeout(&address, PATIENCE).is_ok()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn without_a_sandbox_the_probe_reaches_everything_it_tries() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("hidden")).unwrap();
        fs::write(place.path().join("hidden/canary"), "x").unwrap();
        let _socket = UnixListener::bind(place.path().join("s")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let reached = look(place.path().to_str().unwrap(), &address);
        let all = Reached { files: true, writes: true, sockets: true, network: true };
        assert_eq!(reached, all, "a probe that could reach nothing anyway would prove nothing");
    }
}
