//! The harness that runs the Claude Code CLI, as a child of this process.
//!
//! The CLI is given no credential: its model is the gateway and its tools are the turn's, both on 127.0.0.1 in the
//! run's own network namespace, and its key is a word that is worth nothing. It speaks `stream-json` both ways, so that
//! messages which come while it works are put into its conversation; it says of each when it has heard it. It reads
//! its settings from nowhere: what it may do is on its command line.

mod events;
mod lines;

use crate::briefing::{self, SILENT};
use crate::budget::Budget;
use crate::child::{self, Group, work_end};
use crate::files::Inbox;
use crate::link::Link;
use crate::output::Output;
use crate::progress::Progress;
use crate::steering::Steering;
use crate::{Ending, Options};
use events::Seen;
use lines::Lines;
use proto::turn::{MCP, MODEL_ANTHROPIC, TurnInput};
use rustix::process::Signal;
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// What the CLI is called.
const PROGRAM: &str = "claude";
/// The CLI's own tools that it may use. It has a shell and files; what goes out goes through the turn's tools.
const OWN_TOOLS: &str = "Bash,Read,Edit,Write,Glob,Grep";
/// The CLI tries a refused key ten times, over minutes. The gateway has looked for a new key before it refuses one.
const REFUSALS: u64 = 3;
/// How long it may take to end once it has answered.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long its last words may take once it has ended.
const DRAIN: Duration = Duration::from_secs(1);
/// Bytes of what is told of its errors.
const LINE: usize = 300;

/// Where and for whom it runs.
pub(crate) struct Place<'a> {
    pub options: &'a Options,
    pub link: &'a Link,
    pub progress: &'a Progress,
    /// The socket's address on 127.0.0.1, where there is a bridge.
    pub url: Option<&'a str>,
}

/// Answers the turn, within the budget.
pub(crate) async fn run(place: &Place<'_>, input: &TurnInput, budget: Budget) -> Ending {
    let Some(url) = place.url else {
        return Ending::failed(
            "The harness `claude` needs a network namespace of its own, and this run has none.",
        );
    };
    let Some(program) = program(place.options) else {
        return Ending::failed(
            "The Claude Code CLI is not here. Set CLAUDE_CLI, or put `claude` into the agents' image.",
        );
    };
    let mut steering = Steering::begin(place.link, input, Inbox::of(&place.options.home, input));
    let mut session = input.session.as_deref();
    loop {
        let mut command = command(&program, place, url, input, session);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let prompt = match session {
            None => input.prompt_anew.as_deref().unwrap_or(&input.prompt),
            Some(_) => &input.prompt,
        };
        let end = match talk(command, (attempt(input), prompt), place, budget, &mut steering).await
        {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "not started");
                return Ending::failed(format!(
                    "The Claude Code CLI could not be started: {error}."
                ));
            }
        };
        // It went wrong before it said that there is a session: the old one is not there any more.
        if session.is_some() && end.session.is_none() && !end.timed_out {
            tracing::warn!(session, "the session cannot be resumed and begins anew");
            session = None;
            continue;
        }
        return judge(end).having_taken(steering.taken());
    }
}

/// A number that is the attempt's alone, as far as 60 bits tell.
fn attempt(input: &TurnInput) -> u64 {
    let mut hasher = DefaultHasher::new();
    (input.turn_id.as_str(), input.attempt).hash(&mut hasher);
    hasher.finish()
}

/// The CLI's file: the one that was named, else the first on the path.
fn program(options: &Options) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    match &options.claude {
        Some(named) => Some(named.clone()).filter(runs),
        None => std::env::split_paths(&options.path).map(|dir| dir.join(PROGRAM)).find(runs),
    }
}

fn command(
    program: &PathBuf,
    place: &Place<'_>,
    url: &str,
    input: &TurnInput,
    session: Option<&str>,
) -> Command {
    let Place { options, .. } = place;
    let mut command = Command::new(program);
    child::environment(&mut command, options, input);
    command
        .env("ANTHROPIC_BASE_URL", format!("{url}{MODEL_ANTHROPIC}"))
        // It wants one. The gateway takes it out and puts in the real one.
        .env("ANTHROPIC_API_KEY", "not-a-key")
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .env("DISABLE_TELEMETRY", "1")
        .env("DISABLE_ERROR_REPORTING", "1")
        // Otherwise the turn's tools are not offered before the model searches for them.
        .env("ENABLE_TOOL_SEARCH", "false")
        .env("MCP_TIMEOUT", "30000")
        .env("MCP_TOOL_TIMEOUT", "120000")
        .env("TERM", "dumb");
    let servers = json!({ "mcpServers": { "arizuko": { "type": "http", "url": format!("{url}{}", MCP.path) } } });
    command
        .args(["-p", "--input-format", "stream-json", "--output-format", "stream-json"])
        .args(["--verbose", "--replay-user-messages", "--setting-sources", ""])
        .args(["--strict-mcp-config", "--mcp-config", &servers.to_string()])
        .args(["--tools", OWN_TOOLS, "--allowedTools", &format!("{OWN_TOOLS},mcp__arizuko")])
        .args(["--model", &input.model])
        .args(["--append-system-prompt", &briefing::briefing(options, input.persona.as_deref())]);
    if let Some(session) = session {
        command.arg(format!("--resume={session}"));
    }
    if options.skills.is_dir() {
        command.arg("--add-dir").arg(&options.skills);
    }
    command.current_dir(&options.home).process_group(0).kill_on_drop(true);
    command
}

/// How the CLI ended, and what it said.
#[derive(Debug, Default)]
struct End {
    session: Option<String>,
    answers: Vec<String>,
    /// Its last answer was an error, or the model refused the key.
    failure: Option<String>,
    timed_out: bool,
    status: Option<ExitStatus>,
}

/// Starts it, speaks with it until it has answered everything that it was told, and ends it.
async fn talk(
    mut command: Command,
    (attempt, prompt): (u64, &str),
    place: &Place<'_>,
    budget: Budget,
    steering: &mut Steering,
) -> io::Result<End> {
    let log = Output::error()?;
    let mut child = command.spawn()?;
    let group = Group::of(&child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let (say, said) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    streams.spawn(write(stdin, said));
    streams.spawn(follow(stderr, log));
    let mut talk =
        Talk { say: Some(say), attempt, next: 1, unheard: Vec::new(), end: End::default() };
    talk.tell(prompt, 0);
    let mut lines = Lines::of(BufReader::with_capacity(64 * 1024, stdout));
    let limit = work_end(budget);
    if timeout_at(limit, talk.listen(&mut lines, place.progress, steering)).await.is_err() {
        talk.end.timed_out = true;
        group.signal(Signal::TERM);
    }
    // It ends when nothing more can come.
    talk.say = None;
    let goodbye = budget.work.min(Instant::now() + GOODBYE);
    match timeout_at(goodbye, child.wait()).await {
        Ok(status) => talk.end.status = Some(status?),
        Err(_) => tracing::warn!("the CLI did not end by itself and is killed"),
    }
    drop(group);
    // What it wrote on standard error is the operator's; a moment for the last of it.
    let drained = timeout(DRAIN, async { while streams.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!("the last of its errors was not read in time");
    }
    Ok(talk.end)
}

/// A conversation with the CLI.
struct Talk {
    say: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// A number that is this attempt's alone.
    attempt: u64,
    /// The next message's ordinal.
    next: u32,
    /// What it was told and has not heard yet: id, and up to which of the turn's new messages it goes.
    unheard: Vec<(String, i64)>,
    end: End,
}

impl Talk {
    fn tell(&mut self, text: &str, upto: i64) {
        let id = events::id(self.attempt, self.next);
        self.next += 1;
        if let Some(say) = &self.say
            && say.send(events::message(text, &id)).is_ok()
        {
            self.unheard.push((id, upto));
        }
    }

    /// Listens until it has answered everything, has failed, or is gone.
    async fn listen(
        &mut self,
        lines: &mut Lines<BufReader<ChildStdout>>,
        progress: &Progress,
        steering: &mut Steering,
    ) {
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                // One at a time: the next ones are asked for when these are heard.
                steered = steering.next() => {
                    self.tell(&steered.prompt, steered.upto);
                    continue;
                }
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "its output is lost");
                    return;
                }
            };
            if self.take(events::read(&line), progress, steering) {
                return;
            }
        }
    }

    /// Takes what it said. Whether that was all.
    fn take(&mut self, seen: Seen, progress: &Progress, steering: &Steering) -> bool {
        match seen {
            Seen::Session(session) => self.end.session = Some(session),
            Seen::Heard(id) => {
                self.unheard.retain(|(unheard, upto)| {
                    if *unheard == id && *upto > 0 {
                        steering.took(*upto);
                    }
                    *unheard != id
                });
            }
            Seen::Using(statuses) => statuses.iter().for_each(|status| progress.tell(status)),
            Seen::Retry { attempt, status: Some(401), .. } if attempt >= REFUSALS => {
                self.end.failure =
                    Some("the model refused the key; an operator has to look at it".into());
                return true;
            }
            Seen::Retry { seconds, status, .. } => {
                let what = match status {
                    Some(429) => "the model's provider limits the rate".to_owned(),
                    Some(status) => format!("the model answered {status}"),
                    None => "the model cannot be reached".to_owned(),
                };
                progress.tell(&format!("{what}; trying again in {seconds} s"));
            }
            Seen::Answer { text, is_error: true, status } => {
                self.end.failure = Some(failure(&text, status));
                return true;
            }
            Seen::Answer { text, .. } => {
                let text = text.trim();
                if !text.is_empty() && text != SILENT {
                    self.end.answers.push(text.to_owned());
                }
                self.end.failure = None;
                // What it was told and did not hear in time for this answer, it answers next.
                return self.unheard.is_empty();
            }
            Seen::Nothing => {}
        }
        false
    }
}

/// Why it has no answer, for the person.
fn failure(text: &str, status: Option<u16>) -> String {
    if status == Some(401) {
        return "the model refused the key; an operator has to look at it".into();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().take(LINE).collect::<String>() {
        line if line.is_empty() => "the Claude Code CLI gave up".into(),
        line => line,
    }
}

fn judge(end: End) -> Ending {
    let End { session, answers, failure, timed_out, status } = end;
    if timed_out {
        return Ending::failed("I ran out of time.");
    }
    if let Some(failure) = failure {
        return Ending::failed(failure);
    }
    let gone =
        |what: String| Ending::failed(format!("the Claude Code CLI {what} before it answered"));
    let heard = session.is_some();
    let ending = match (answers.is_empty(), status) {
        (false, _) => Ending::replied(answers.join("\n\n")),
        (true, Some(status)) if status.success() && heard => Ending::silent(),
        (true, Some(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => return gone(format!("ended with exit code {code}")),
            (None, signal) => return gone(format!("was ended by signal {}", signal.unwrap_or(0))),
        },
        (true, None) => return gone("was ended".into()),
    };
    match session {
        Some(session) => ending.with_session(session),
        None => ending,
    }
}

/// Writes what it is told, until nothing more can come.
async fn write(mut stdin: ChildStdin, mut said: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = said.recv().await {
        if let Err(error) = stdin.write_all(&line).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "it does not listen any more"
            );
            return;
        }
    }
}

/// Passes its standard error on to the run's log.
async fn follow(mut stderr: ChildStderr, log: Output) {
    let mut piece = vec![0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        // A log that cannot be written any more is no reason to stop it.
        log.write(piece.iter().copied().take(read).collect()).await;
    }
    log.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cli_that_is_not_there_or_no_program_is_not_found() {
        let place = tempfile::tempdir().unwrap();
        let mut options = Options::new("/t", "/h");
        options.path = place.path().into();
        assert_eq!(program(&options), None);
        let file = place.path().join(PROGRAM);
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(program(&options), None, "it cannot be run");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program(&options), Some(file));
        options.claude = Some(place.path().join("other"));
        assert_eq!(program(&options), None, "the one that was named, and no other");
    }

    #[test]
    fn an_end_is_told_by_what_it_was() {
        let of = |end: End| judge(end).text.unwrap_or_default();
        let exit = |code: i32| Some(ExitStatus::from_raw(code << 8));
        assert_eq!(of(End { timed_out: true, ..End::default() }), "I ran out of time.");
        assert!(of(End { status: exit(3), ..End::default() }).contains("exit code 3"));
        assert!(
            of(End { status: Some(ExitStatus::from_raw(9)), ..End::default() })
                .contains("signal 9")
        );
        assert!(failure("x", Some(401)).contains("refused the key"));
        let two = End { answers: vec!["a".into(), "b".into()], status: exit(0), ..End::default() };
        assert_eq!(of(two), "a\n\nb");
        let silent = judge(End { session: Some("s".into()), status: exit(0), ..End::default() });
        assert_eq!((silent.text, silent.session.as_deref()), (None, Some("s")));
    }
}
