//! `ant` as a process: signals, exit codes, and the run's log. The test program starts itself
//! again, with one test that is the agent.

use crate::routd::{LIMIT, Routd, bounded, input};
use ant::Options;
use proto::turn::Harness;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Output, Stdio};
use tokio::process::{Child, Command};

const SOCKETS: &str = "ANT_TEST_SOCKETS";
const HOME: &str = "ANT_TEST_HOME";

/// The agent. It is no test by itself: it runs only when another test starts it.
#[test]
#[ignore = "started by the other tests of this module"]
#[expect(clippy::disallowed_methods, reason = "this is a process's main")]
fn as_the_agent() {
    let (Some(sockets), Some(home)) = (std::env::var_os(SOCKETS), std::env::var_os(HOME)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(ant::run(Options::new(sockets, home)));
    let code = ended.err().map_or(0, |error| error.exit_code());
    std::process::exit(code.into());
}

fn agent(routd: &Routd) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "process::as_the_agent"])
        .env(SOCKETS, routd.sockets.path())
        .env(HOME, routd.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn ended(agent: Child) -> Output {
    bounded(agent.wait_with_output()).await.unwrap()
}

#[tokio::test]
async fn an_accepted_result_exits_with_0_and_a_crash_with_70() {
    let routd = Routd::start();
    routd.ask(&["hello"]);
    assert_eq!(ended(agent(&routd)).await.status.code(), Some(0));
    assert_eq!(routd.book().results.len(), 1);
    routd.ask(&["crash"]);
    assert_eq!(ended(agent(&routd)).await.status.code(), Some(70));
    assert_eq!(routd.book().results.len(), 1, "a crash leaves no result");
}

#[tokio::test]
async fn sigterm_ends_it_with_143_without_a_result() {
    let routd = Routd::start();
    routd.ask(&["wait 3600"]);
    let agent = agent(&routd);
    routd.until("it works", |book| !book.events.is_empty()).await;
    let pid = Pid::from_raw(agent.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(ended(agent).await.status.code(), Some(143));
    assert!(!routd.book().requests.contains(&"/turn/result"));
}

#[tokio::test]
async fn what_a_program_says_on_standard_error_is_in_the_log_and_its_reply_is_not() {
    let routd = Routd::start();
    let mut input = input(Harness::Command, &[]);
    let script = "echo 'status: one' >&2; echo to the log >&2; echo the reply";
    input.command = ["sh", "-c", script].map(String::from).into();
    routd.book().next(input);
    let output = ended(agent(&routd)).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "status: one\nto the log\n");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("the reply"));
}

#[tokio::test]
async fn loud_output_is_written_whole_and_does_not_hang_where_nobody_reads() {
    let routd = Routd::start();
    routd.ask(&["loud 100000"]);
    let output = ended(agent(&routd)).await;
    let bytes = output.stdout.len();
    assert!((100_000..101_000).contains(&bytes), "with the test program's own lines: {bytes}");
    assert_eq!(
        routd.book().results[0].text.as_deref(),
        Some("I wrote 100000 bytes on standard output.")
    );
    // Nobody reads: it fails at its deadline instead of hanging for ever.
    routd.ask(&["loud 10000000"]);
    routd.book().input.as_mut().unwrap().deadline = crate::routd::from_now(LIMIT / 10);
    let mut agent = agent(&routd);
    let status = bounded(agent.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(routd.book().results[1].text.as_deref(), Some("I ran out of time."));
}
