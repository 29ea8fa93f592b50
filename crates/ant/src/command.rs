//! The harness that runs any program: the prompt on its standard input, its standard output the
//! reply. Standard error is the run's log; a line of it that begins with `status: ` is progress.
//!
//! The program leads a process group, and the group is killed when the harness ends, however it
//! ends. It is given a clean environment: `PATH HOME LANG`, and the five variables of [`run`].

use crate::budget::Budget;
use crate::child::{self, Group, work_end};
use crate::output::Output;
use crate::progress::Progress;
use crate::{Ending, Options};
use proto::turn::{MCP, TurnInput};
use rustix::process::Signal;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::{io, os::unix::process::ExitStatusExt, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::time::{timeout, timeout_at};

/// The most of the standard output that becomes the reply, in bytes.
const LONGEST_REPLY: usize = 256 * 1024;
/// The longest line of standard error that is looked at for a status.
const LONGEST_STATUS: usize = 2048;
/// How long the pipes may stay open once the program itself has ended.
const DRAIN: Duration = Duration::from_secs(1);
const STATUS: &str = "status: ";

/// Where a program runs.
pub(crate) struct Place<'a> {
    pub options: &'a Options,
    pub socket: &'a Path,
    /// Where there is a bridge: the socket's address on 127.0.0.1.
    pub url: Option<&'a str>,
}

/// Runs `input.command` to its end, or to the end of the budget. Its environment has
/// `ARIZUKO_TURN_ID`, `ARIZUKO_FOLDER`, `ARIZUKO_TOPIC`, `ARIZUKO_MCP_SOCKET` (the Unix socket; the
/// tools are at `/mcp` behind it) and, where there is a bridge, `ARIZUKO_MCP_URL`.
pub(crate) async fn run(
    place: &Place<'_>,
    input: &TurnInput,
    budget: Budget,
    progress: &Progress,
) -> Ending {
    let Some((program, arguments)) = input.command.split_first() else {
        return Ending::failed(
            "No command is set for the `command` harness; set the program that answers.",
        );
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&place.options.home);
    environment(&mut command, place, input);
    match serve(command, &input.prompt, budget, progress).await {
        Ok(end) => judge(shown(program), end),
        Err(error) => {
            tracing::error!(program, error = &error as &dyn std::error::Error, "not started");
            Ending::failed(format!(
                "The command `{}` could not be started: {error}.",
                shown(program)
            ))
        }
    }
}

/// How a program ended, and what it wrote.
struct End {
    /// None when its time was over.
    status: Option<ExitStatus>,
    reply: Captured,
}

/// The beginning of what a program wrote on its standard output.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    cut: bool,
}

fn environment(command: &mut Command, place: &Place<'_>, input: &TurnInput) {
    child::environment(command, place.options, input);
    command.env("ARIZUKO_MCP_SOCKET", place.socket);
    if let Some(url) = place.url {
        command.env("ARIZUKO_MCP_URL", format!("{url}{}", MCP.path));
    }
}

async fn serve(
    mut command: Command,
    prompt: &str,
    budget: Budget,
    progress: &Progress,
) -> io::Result<End> {
    let log = Output::error()?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group::of(&child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let mut reply = Captured::default();
    let status = {
        let mut streams = std::pin::pin!(async {
            tokio::join!(
                feed(stdin, prompt),
                capture(stdout, &mut reply),
                follow(stderr, &log, progress)
            )
        });
        let mut streams_open = true;
        let end = work_end(budget);
        let status = loop {
            tokio::select! {
                status = timeout_at(end, child.wait()) => break status.ok().transpose()?,
                _ = &mut streams, if streams_open => streams_open = false,
            }
        };
        if status.is_none() {
            // Its pipes are read while it may still say goodbye.
            group.signal(Signal::TERM);
            let goodbye = async { tokio::join!(child.wait(), drained(streams_open, streams)) };
            if timeout_at(budget.work, goodbye).await.is_err() {
                tracing::warn!("the program did not end on SIGTERM and is killed");
            }
        } else if timeout(DRAIN, drained(streams_open, streams)).await.is_err() {
            tracing::warn!("the program left something behind that holds its output; it is killed");
        }
        status
    };
    drop(group);
    log.close().await;
    Ok(End { status, reply })
}

async fn drained<T>(open: bool, streams: impl Future<Output = T>) {
    if open {
        streams.await;
    }
}

/// Writes the prompt. A program that does not read it to the end is within its rights.
async fn feed(mut stdin: ChildStdin, prompt: &str) {
    if let Err(error) = stdin.write_all(prompt.as_bytes()).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "the prompt was not read whole");
    }
}

/// Reads to the end, so that the program is never held up, and keeps the beginning.
async fn capture(mut stdout: impl AsyncRead + Unpin, reply: &mut Captured) {
    let mut piece = vec![0; 16 * 1024];
    // A pipe that cannot be read has ended, as far as the reply is concerned.
    while let Ok(read @ 1..) = stdout.read(&mut piece).await {
        let room = LONGEST_REPLY - reply.bytes.len();
        reply.cut |= read > room;
        reply.bytes.extend(piece.iter().take(read.min(room)));
    }
}

/// Passes standard error on to the log as it is, and tells the statuses in it.
async fn follow(mut stderr: ChildStderr, log: &Output, progress: &Progress) {
    let mut piece = vec![0; 4096];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let read: Vec<u8> = piece.iter().copied().take(read).collect();
        for byte in &read {
            match byte {
                b'\n' => tell(&std::mem::take(&mut line), progress),
                byte if line.len() < LONGEST_STATUS => line.push(*byte),
                _ => {}
            }
        }
        // A log that cannot be written any more is no reason to stop the program.
        log.write(read).await;
    }
    tell(&line, progress);
}

fn tell(line: &[u8], progress: &Progress) {
    if let Some(status) = String::from_utf8_lossy(line).strip_prefix(STATUS) {
        progress.tell(status);
    }
}

fn judge(program: &str, end: End) -> Ending {
    let Some(status) = end.status else {
        return Ending::failed(format!("The command `{program}` ran out of time and was ended."));
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => match text(end.reply) {
            reply if reply.is_empty() => Ending::silent(),
            reply => Ending::replied(reply),
        },
        (Some(code), _) => {
            Ending::failed(format!("The command `{program}` failed with exit code {code}."))
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Ending::failed(format!("The command `{program}` was ended by signal {signal}."))
        }
    }
}

/// What was written as a reply: text, trimmed, of at most so many bytes, and marked where it was
/// cut. What is not UTF-8 is replaced, which can make it longer.
fn text(captured: Captured) -> String {
    const MARK: &str = "\n[the rest was too long and is left out]";
    let text = String::from_utf8_lossy(&captured.bytes);
    let text = text.trim();
    if !captured.cut && text.len() <= LONGEST_REPLY {
        return text.to_owned();
    }
    let most = LONGEST_REPLY - MARK.len();
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    format!("{}{MARK}", text.get(..end.unwrap_or(0)).unwrap_or_default().trim_end())
}

/// A program's name, without its directory.
fn shown(program: &str) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(bytes: impl Into<Vec<u8>>, cut: bool) -> String {
        text(Captured { bytes: bytes.into(), cut })
    }

    #[test]
    fn a_reply_is_text_within_the_limit_whatever_was_written() {
        assert_eq!(captured(" hi \n", false), "hi");
        assert_eq!(captured(b"a\xffb", false), "a\u{fffd}b");
        let marked = captured("é".repeat(LONGEST_REPLY / 2), true);
        assert!(marked.len() <= LONGEST_REPLY && marked.ends_with("is left out]"));
        let grown = captured(vec![0xff; LONGEST_REPLY], false);
        assert!(grown.len() <= LONGEST_REPLY && grown.ends_with("is left out]"));
    }
}
