//! Authlib against this server: what it takes for GitHub's, is GitHub's.

use super::{CLIENT, GitHub};
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::process::Command;

/// How long the client may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has Authlib log somebody in at a server of its own. Whether it was there to do it.
///
/// # Panics
/// Something was not as it expects it of GitHub.
pub async fn proven() -> bool {
    let Some(python) = crate::tools::python(&["authlib", "requests"]) else {
        return false;
    };
    let github = GitHub::start("proof-secret").await;
    github.account(583_231, "octocat", &[(9919, "github")]);
    github.log_in("octocat");
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/github/proof.py");
    let child = Command::new(python)
        .arg(script)
        .args([github.base(), &github.api(), CLIENT, "proof-secret"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, child).await.expect("the client ends");
    let output = output.expect("the client runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "Authlib does not take it for GitHub:\n{said}");
    true
}
