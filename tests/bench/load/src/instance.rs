//! An instance of its own, and what the system says of its process.

use crate::{Bench, Failed, client::Client};
use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An instance that runs in one process. It ends, and is removed, when this is dropped.
pub struct Instance {
    child: Child,
    program: PathBuf,
    dir: tempfile::TempDir,
    /// Where the edge listens.
    pub edge: String,
    /// From the start of the process to its `ready` line.
    pub started_in: Duration,
}

/// A directory for an instance, which is made in it.
///
/// # Errors
/// It cannot be made.
pub async fn made(bench: &Bench) -> Result<tempfile::TempDir, Failed> {
    let dir = tempfile::Builder::new().prefix("load").tempdir_in(&bench.on)?;
    let mut command = Command::new(&bench.program);
    command.arg("--data-dir").arg(dir.path().join("d")).args(["--quiet", "create", "load"]);
    let made = command.stdout(Stdio::null()).kill_on_drop(true).status().await?;
    if !made.success() {
        return Err("the instance could not be made".into());
    }
    Ok(dir)
}

impl Instance {
    /// Makes an instance and starts it.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn new(bench: &Bench) -> Result<Self, Failed> {
        let dir = made(bench).await?;
        Self::start(bench, dir).await
    }

    /// Starts the instance in `dir`.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(bench: &Bench, dir: tempfile::TempDir) -> Result<Self, Failed> {
        Self::start_as(bench, dir, &[], &[]).await
    }

    /// Starts the instance in `dir`, with settings of its own, by the program `through` where that is not empty: it gets
    /// the command line after its own.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_as(
        bench: &Bench,
        dir: tempfile::TempDir,
        settings: &[(&str, &str)],
        through: &[&str],
    ) -> Result<Self, Failed> {
        let before = Instant::now();
        let mut command = match through {
            [] => Command::new(&bench.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&bench.program);
                command
            }
        };
        command.arg("--data-dir").arg(dir.path().join("d")).args(["up", "--port-base", "0"]);
        let log = fs::File::create(dir.path().join("log"))?;
        command.env("LOG_LEVEL", "warn").stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // As an operator has it: no real platform is spoken with.
        command.env("TELEGRAM_API_URL", "http://127.0.0.1:1");
        command.env("SLACK_API_URL", "http://127.0.0.1:1/api");
        command.envs(settings.iter().copied());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(said).lines();
        let edge = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(edge) = line.strip_prefix("ready ") {
                    return Ok(edge.trim().to_owned());
                }
            }
            Err::<_, Failed>("it ended before it was ready".into())
        });
        let edge = edge.await??;
        let started_in = before.elapsed();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, program: bench.program.clone(), dir, edge, started_in })
    }

    /// Stops it as an operator does, and gives its directory back.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(mut self) -> Result<tempfile::TempDir, Failed> {
        let pid = self.pid()?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        Ok(self.dir)
    }

    /// Runs a command of the program, and reads its JSON.
    ///
    /// # Errors
    /// It fails.
    pub async fn json(&self, args: &[&str]) -> Result<serde_json::Value, Failed> {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(self.data()).arg("--json").args(args).kill_on_drop(true);
        let output = command.output().await?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {why}", args.join(" ")).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What it says of itself.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("d")
    }

    /// Where a daemon listens.
    ///
    /// # Errors
    /// It does not run.
    pub async fn url(&self, daemon: &str) -> Result<String, Failed> {
        let status = self.json(&["status"]).await?;
        let daemons = status["daemons"].as_array().ok_or("no daemons")?;
        let one = daemons.iter().find(|one| one["daemon"] == daemon).ok_or("no such daemon")?;
        Ok(one["address"].as_str().ok_or("no address")?.to_owned())
    }

    /// A secret of its `.env`.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn secret(&self, name: &str) -> Result<String, Failed> {
        let file = fs::read_to_string(self.data().join(".env"))?;
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        Ok(file.lines().find_map(value).ok_or(format!("no {name} in .env"))?)
    }

    /// The operator's token, for five minutes.
    ///
    /// # Errors
    /// authd does not answer.
    pub async fn operator_token(&self) -> Result<String, Failed> {
        let mut admin = Client::on_socket(&self.data().join("run/admin.sock")).await?;
        let token = admin.ok("POST", "/v1/operator-token", "", "{}".to_owned()).await?;
        let token: serde_json::Value = serde_json::from_slice(&token)?;
        Ok(token["token"].as_str().ok_or("no token")?.to_owned())
    }

    /// The path of a new link to chat with `folder`.
    ///
    /// # Errors
    /// The instance does not answer.
    pub async fn chat(&self, folder: &str) -> Result<String, Failed> {
        let link = self.json(&["token", "issue", "--kind", "chat", "--folder", folder]).await?;
        let path = link["path"].as_str().ok_or("no path")?;
        Ok(path.trim_end_matches('/').to_owned())
    }

    /// What the system says of the process.
    ///
    /// # Errors
    /// It is gone.
    pub fn process(&self) -> Result<Process, Failed> {
        Process::of(self.pid()?)
    }

    /// How many descriptors it has open.
    ///
    /// # Errors
    /// It is gone.
    pub fn descriptors(&self) -> Result<usize, Failed> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()?))?.count())
    }

    fn pid(&self) -> Result<u32, Failed> {
        Ok(self.child.id().ok_or("the process has ended")?)
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Resident memory, in KiB.
    pub resident: u64,
    /// Of it, what is its own and not a page of a file, in KiB.
    pub own: u64,
    /// Processor time.
    pub cpu: Duration,
}

impl Process {
    fn of(pid: u32) -> Result<Self, Failed> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name in parentheses: the twelfth and thirteenth are ticks, of which Linux has a hundred a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Self {
            resident: kib("VmRSS:").ok_or("no VmRSS")?,
            own: kib("RssAnon:").ok_or("no RssAnon")?,
            cpu: Duration::from_millis(ticks * 10),
        })
    }
}
