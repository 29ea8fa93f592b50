//! Every daemon does what its own `/openapi.json` says, tried with good credentials by a program that others wrote
//! (schemathesis), which makes requests of every shape that the document allows, and of some that it does not.

use crate::{access::mint::Mint, harness::Suite};
use proto::Daemon;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// Seconds that one daemon is tried for.
const SECONDS: &str = "8";
/// Daemons that are tried at the same time.
const AT_ONCE: usize = 3;

/// What is looked at in each answer: that nothing failed inside, and that it is of a declared status, kind and shape.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// The same without the first, for a daemon that waits for a platform's token: 503 is what is true of it.
fn checks(daemon: Daemon) -> String {
    let waits = matches!(daemon, Daemon::Teled | Daemon::Slakd);
    let all = CHECKS.split(',').filter(|check| !waits || *check != "not_a_server_error");
    all.collect::<Vec<_>>().join(",")
}

/// What is not tried: what waits for something to happen for half a minute, and what takes the instance from under the
/// others.
const NOT_TRIED: &[&str] = &["/v1/feed", "/v1/secrets/rekey", "/v1/messages/{id}/outcome"];

/// One daemon that is being tried.
struct Trial {
    daemon: Daemon,
    child: Child,
    log: PathBuf,
}

impl Trial {
    fn of(suite: &Suite, mint: &Mint, tool: &Path, daemon: Daemon, address: &str) -> Self {
        let token = mint.operator(daemon, |_, _| {});
        let log = suite.scratch(&format!("openapi-{daemon}.log"));
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new(tool);
        // It may leave something behind.
        let place = suite.scratch("openapi");
        fs::create_dir_all(&place).unwrap();
        command.current_dir(place);
        command.arg("run").arg(format!("{address}/openapi.json"));
        command.args([
            "--checks",
            &checks(daemon),
            "--max-time",
            SECONDS,
            "--request-timeout",
            "40",
        ]);
        command.args(["--phases", "examples,coverage,fuzzing", "--workers", "1"]);
        command.args([
            "--generation-database",
            "none",
            "--warnings",
            "off",
            "--continue-on-failure",
        ]);
        command.args(["--no-shrink", "--header", &format!("Authorization: Bearer {token}")]);
        for path in NOT_TRIED {
            command.args(["--exclude-path", path]);
        }
        command.env("NO_PROXY", "*").env("NO_COLOR", "1");
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { daemon, child, log }
    }

    /// What it found, once it has ended; nothing where all is well.
    fn ends(mut self) -> Option<String> {
        // Each request has a limit of its own, and all of them together have one: it ends.
        let status = self.child.wait().unwrap();
        let said = fs::read_to_string(&self.log).unwrap();
        assert!(said.contains("Operations"), "{}: nothing was tried: {said}", self.daemon);
        (!status.success()).then(|| format!("{}: {said}", self.daemon))
    }
}

#[test]
fn each_daemon_does_what_its_document_says() {
    let Some(tool) = stores::tools::program("SCHEMATHESIS", "schemathesis", "") else { return };
    let suite = Suite::up();
    let mint = Mint::of(&suite);
    let status = suite.json(&["status"]);
    let daemons = status["daemons"].as_array().unwrap();
    let all: Vec<(Daemon, String)> = daemons
        .iter()
        .map(|of| {
            let text = |name: &str| of[name].as_str().unwrap().to_owned();
            (text("daemon").parse().unwrap(), text("address"))
        })
        .collect();
    assert_eq!(all.len(), Daemon::ALL.len(), "every daemon runs: {status}");
    let mut found = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let trials: Vec<Trial> =
            some.iter().map(|(daemon, at)| Trial::of(&suite, &mint, &tool, *daemon, at)).collect();
        found.extend(trials.into_iter().filter_map(Trial::ends));
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    // Whatever was asked of it, the instance works. What was there may be out of service: that may be asked, too.
    suite.ok(&["group", "add", "afterwards"]);
    suite.ok(&["ask", "--folder", "afterwards", "hello"]);
    suite.ok(&["audit", "--verify"]);
}
