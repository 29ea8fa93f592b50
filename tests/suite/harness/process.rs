//! Processes that end with their test.

use super::LIMIT;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The program under test: the one that `ARIZUKO_PROGRAM` names, such as one that is to be released;
/// otherwise built once from what is in the tree.
pub fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if let Some(program) = std::env::var_os("ARIZUKO_PROGRAM") {
            return fs::canonicalize(program).expect("ARIZUKO_PROGRAM names a file");
        }
        let out = Command::new(env!("CARGO"))
            .args(["build", "-p", "arizuko", "--locked", "--message-format=json", "--quiet"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout);
        let messages =
            text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut programs = messages.filter_map(|m| m["executable"].as_str().map(PathBuf::from));
        programs.find(|path| path.ends_with("arizuko")).expect("cargo names the program it built")
    });
    built.clone()
}

/// A process, killed when this is dropped.
pub struct Running {
    child: Child,
    /// Behind a lock only so that a suite can be asked from several threads.
    lines: Mutex<Receiver<String>>,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; its standard error goes to `log`, which is shown when the test fails.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let errors = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let (say, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines: Mutex::new(lines), log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on its standard output that begins with `beginning`.
    pub fn line(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.get_mut().unwrap().recv_timeout(left) {
                Ok(line) if line.starts_with(beginning) => return line,
                Ok(_) => {}
                Err(why) => panic!("no line `{beginning}` ({why}):\n{}", self.log_text()),
            }
        }
    }

    /// What it has written on standard error so far.
    pub fn log_text(&self) -> String {
        let mut text = String::new();
        fs::File::open(&self.log).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for its end, without asking for it; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        self.ended_somehow().code()
    }

    /// Waits for its end; how it ended.
    pub fn ended_somehow(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }

    /// Asks it to end (SIGTERM) and waits; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        signal(self.pid(), rustix::process::Signal::TERM);
        self.ended()
    }

    /// Has it stand still (SIGSTOP), as a machine that is out of breath does.
    pub fn pause(&self) {
        signal(self.pid(), rustix::process::Signal::STOP);
    }

    /// Has it go on (SIGCONT).
    pub fn go_on(&self) {
        signal(self.pid(), rustix::process::Signal::CONT);
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ended = self.child.kill().is_err();
        let _waited = self.child.wait().is_err();
        if thread::panicking() {
            let text = self.log_text();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            eprintln!("--- the end of {}", self.log.display());
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Sends `signal` to a process of this test.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until `look` finds something. Waits for a state; the bound is not a measurement.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
