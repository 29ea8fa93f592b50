//! The harness that runs a program.

use crate::routd::{LIMIT, Routd, bounded, from_now, input};
use ant::{AntError, Options};
use proto::turn::{Harness, Outcome, TurnResult};
use std::path::Path;
use std::time::Duration;

/// The next turn runs this script.
fn script(routd: &Routd, script: &str) {
    let mut input = input(Harness::Command, &["hello"]);
    input.command = ["/bin/sh", "-c", script].map(String::from).into();
    routd.book().next(input);
}

async fn run(routd: &Routd, text: &str) -> TurnResult {
    script(routd, text);
    routd.serve().await
}

#[tokio::test]
async fn a_program_gets_the_prompt_and_a_clean_environment_and_its_output_is_the_reply() {
    let routd = Routd::start();
    let result = run(&routd, "echo; cat; echo; pwd; env | grep -v ^PWD= | sort; echo").await;
    let (home, socket) = (routd.home.path().display(), routd.socket());
    let expected = format!(
        "the prompt\n{home}\nARIZUKO_FOLDER=corp/eng\nARIZUKO_MCP_SOCKET={}\n\
         ARIZUKO_TOPIC=a topic\nARIZUKO_TURN_ID=turn-1\nHOME={home}\nLANG=C.UTF-8\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        socket.display()
    );
    let text = result.text.unwrap();
    let lines: Vec<&str> =
        text.lines().filter(|l| !l.starts_with("SHLVL=") && !l.starts_with("_=")).collect();
    assert_eq!(lines.join("\n"), expected);
    assert_eq!(result.outcome, Outcome::Replied);
}

#[tokio::test]
async fn lines_that_begin_with_status_are_progress_and_the_others_are_not() {
    let routd = Routd::start();
    let lines =
        "echo 'status: reading' >&2; echo secret >&2; printf 'status: thinking' >&2; echo ok";
    assert_eq!(run(&routd, lines).await.text.as_deref(), Some("ok"));
    assert_eq!(routd.book().events, ["reading", "thinking"]);
}

#[tokio::test]
async fn a_program_without_output_is_silent_and_one_that_fails_is_named_with_its_code() {
    let routd = Routd::start();
    let silent = run(&routd, "cat >/dev/null; echo '  '").await;
    assert_eq!((silent.outcome, silent.text), (Outcome::Silent, None));
    let failed = run(&routd, "echo half an answer; exit 3").await;
    assert_eq!(failed.outcome, Outcome::Failed);
    assert_eq!(failed.text.as_deref(), Some("The command `sh` failed with exit code 3."));
    let ended = run(&routd, "kill -9 $$").await;
    assert_eq!(ended.text.as_deref(), Some("The command `sh` was ended by signal 9."));
    script(&routd, "");
    routd.book().input.as_mut().unwrap().command = vec!["/no/such/program".into()];
    let missing = routd.serve().await;
    assert_eq!(missing.outcome, Outcome::Failed);
    assert!(missing.text.unwrap().starts_with("The command `program` could not be started"));
    script(&routd, "");
    routd.book().input.as_mut().unwrap().command.clear();
    assert!(routd.serve().await.text.unwrap().contains("No command is set"));
}

#[tokio::test]
async fn a_program_that_ignores_a_large_prompt_is_not_held_up() {
    let routd = Routd::start();
    script(&routd, "echo done");
    routd.book().input.as_mut().unwrap().prompt = "x".repeat(4 << 20);
    assert_eq!(routd.serve().await.text.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_huge_output_is_read_to_its_end_and_cut() {
    let routd = Routd::start();
    let huge = "head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2";
    let text = run(&routd, huge).await.text.unwrap();
    assert!(text.len() <= 256 * 1024 && text.len() > 255 * 1024, "{}", text.len());
    assert!(text.starts_with("xxx") && text.ends_with("left out]"));
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_it_started_before_the_deadline() {
    let routd = Routd::start();
    let stubborn = "trap '' TERM; (trap '' TERM; echo $$ > pid; exec sleep 600) & \
                    trap 'echo late > goodbye' TERM; while :; do sleep 1; done";
    script(&routd, stubborn);
    let deadline = from_now(Duration::from_secs(5));
    routd.book().input.as_mut().unwrap().deadline = deadline;
    let result = routd.serve().await;
    assert!(from_now(Duration::ZERO) < deadline, "the result came before the deadline");
    assert_eq!(result.outcome, Outcome::Failed);
    assert_eq!(result.text.as_deref(), Some("The command `sh` ran out of time and was ended."));
    gone(routd.home.path()).await;
}

#[tokio::test]
async fn a_program_that_ends_politely_on_sigterm_still_ran_out_of_time() {
    let routd = Routd::start();
    script(&routd, "trap 'echo late > goodbye; exit 0' TERM; while :; do sleep 0.1; done");
    routd.book().input.as_mut().unwrap().deadline = from_now(Duration::from_secs(3));
    assert_eq!(routd.serve().await.outcome, Outcome::Failed);
    assert!(routd.home.path().join("goodbye").exists(), "it was asked before it was killed");
}

#[tokio::test]
async fn what_a_program_leaves_behind_neither_holds_up_the_turn_nor_lives_on() {
    let routd = Routd::start();
    let began = tokio::time::Instant::now();
    let result =
        run(&routd, "(sh -c 'echo $$ > pid; exec sleep 600') & sleep 0.2; echo done").await;
    assert_eq!(result.text.as_deref(), Some("done"));
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
    gone(routd.home.path()).await;
}

#[tokio::test]
async fn a_stop_ends_the_program_and_posts_nothing() {
    let routd = Routd::start();
    script(
        &routd,
        "(sh -c 'echo $$ > pid; exec sleep 600') & while [ ! -e pid ]; do sleep 0.05; done; echo 'status: begun' >&2; wait",
    );
    let begun = routd.until("the program runs", |book| {
        book.events == ["begun"] && routd.home.path().join("pid").exists()
    });
    let error = bounded(ant::run_until(routd.options(), begun)).await.unwrap_err();
    assert!(matches!(error, AntError::Stopped), "{error:?}");
    assert_eq!(error.exit_code(), 143);
    gone(routd.home.path()).await;
    assert!(!routd.book().requests.contains(&"/turn/result"));
}

#[tokio::test]
async fn a_bridge_offers_the_tools_over_tcp_only_when_it_is_asked_for() {
    let routd = Routd::start();
    let call = "echo ${ARIZUKO_MCP_URL:-none}";
    assert_eq!(run(&routd, call).await.text.as_deref(), Some("none"));
    script(
        &routd,
        "echo status: $ARIZUKO_MCP_URL >&2; while [ ! -e go ]; do sleep 0.05; done; echo ok",
    );
    let options = Options { bridge: true, ..routd.options() };
    let client = async {
        routd.until("the address is known", |book| !book.events.is_empty()).await;
        let url = routd.book().events[0].clone();
        let turn = url.strip_suffix("/mcp").unwrap().to_owned() + "/turn";
        let answer = get_over_tcp(&turn).await;
        std::fs::write(routd.home.path().join("go"), "").unwrap();
        (url, answer)
    };
    let (ended, (url, answer)) = bounded(async { tokio::join!(ant::run(options), client) }).await;
    ended.unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert!(answer.contains("200 OK") && answer.contains("\"turn_id\":\"turn-2\""), "{answer}");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap();
    let late = tokio::net::TcpStream::connect(address).await;
    assert!(late.is_err(), "the port is closed when the run is over");
}

/// A request by hand, over TCP.
async fn get_over_tcp(url: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until the process whose id the script wrote to `pid` has ended.
async fn gone(home: &Path) {
    let pid = std::fs::read_to_string(home.join("pid")).unwrap();
    let status = format!("/proc/{}/stat", pid.trim());
    let dead = || match std::fs::read_to_string(&status) {
        // A zombie has ended; who reaps it is another matter.
        Ok(stat) => stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'),
        Err(_) => true,
    };
    bounded(async {
        while !dead() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
