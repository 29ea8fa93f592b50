//! What every file must look like. Each check names the file and what to do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines that a source file may have, its inline tests aside.
const LINES_MAX: usize = 600;

/// Decisions: no clock, no socket, no file, nothing asynchronous.
const PURE: &[&str] = &[
    "crates/adapter/src/holds.rs",
    "crates/adapter/src/rich.rs",
    "crates/adapter/src/rich/build.rs",
    "crates/adapter/src/split.rs",
    "crates/adapter/src/trouble.rs",
    "crates/adapter/src/verdict.rs",
    "crates/arizuko/src/whereabouts.rs",
    "crates/auth/src/id_token.rs",
    "crates/authd/src/act.rs",
    "crates/authd/src/flow.rs",
    "crates/authd/src/session.rs",
    "crates/authd/src/vouched.rs",
    "crates/routd/src/adapters.rs",
    "crates/routd/src/approval.rs",
    "crates/routd/src/attachment.rs",
    "crates/routd/src/gateway/budget.rs",
    "crates/routd/src/gateway/headers.rs",
    "crates/routd/src/gateway/inspect.rs",
    "crates/routd/src/gateway/inspect/anthropic.rs",
    "crates/routd/src/gateway/inspect/openai.rs",
    "crates/routd/src/gateway/meter.rs",
    "crates/routd/src/gateway/price.rs",
    "crates/routd/src/gateway/refusal.rs",
    "crates/routd/src/gateway/strict.rs",
    "crates/routd/src/gateway/vendor.rs",
    "crates/routd/src/binding.rs",
    "crates/routd/src/delegation.rs",
    "crates/routd/src/origin.rs",
    "crates/routd/src/prompt.rs",
    "crates/routd/src/route.rs",
    "crates/routd/src/route/glob.rs",
    "crates/routd/src/route/pattern.rs",
    "crates/routd/src/route/target.rs",
    "crates/routd/src/schedule.rs",
    "crates/routd/src/scrub.rs",
    "crates/routd/src/search.rs",
    "crates/routd/src/steer.rs",
    "crates/routd/src/turn.rs",
    "crates/teled/src/address.rs",
    "crates/teled/src/answer.rs",
    "crates/teled/src/entities.rs",
    "crates/teled/src/html.rs",
    "crates/teled/src/piece.rs",
    "crates/teled/src/translate.rs",
    "crates/teled/src/translate/content.rs",
    "crates/runed/src/breaker.rs",
    "crates/runed/src/queue.rs",
    "crates/runed/src/docker/facts.rs",
    "crates/runed/src/docker/paths.rs",
    "crates/runed/src/docker/recipe.rs",
    "crates/runed/src/docker/state.rs",
    "crates/runed/src/docker/trouble.rs",
    "crates/runed/src/kubernetes/job.rs",
    "crates/runed/src/kubernetes/pod.rs",
    "crates/runed/src/kubernetes/trouble.rs",
    "crates/runed/src/users.rs",
    "crates/authd/src/signing_key.rs",
    "crates/onbod/src/admission.rs",
    "crates/onbod/src/folder.rs",
    "crates/onbod/src/form.rs",
    "crates/onbod/src/token.rs",
    "crates/onbod/src/words.rs",
    "crates/proxyd/src/client_address.rs",
    "crates/slakd/src/chat.rs",
    "crates/slakd/src/emoji.rs",
    "crates/slakd/src/event.rs",
    "crates/slakd/src/mrkdwn.rs",
    "crates/slakd/src/refusal.rs",
    "crates/slakd/src/signature.rs",
    "crates/slakd/src/text.rs",
    "crates/dashd/src/advice.rs",
    "crates/dashd/src/chart.rs",
    "crates/dashd/src/figures.rs",
    "crates/dashd/src/look.rs",
    "crates/dashd/src/parts.rs",
    "crates/dashd/src/shown.rs",
    "crates/dashd/src/pages/audit.rs",
    "crates/dashd/src/pages/overview.rs",
    "crates/dashd/src/pages/secrets.rs",
    "crates/webd/src/hook_signature.rs",
    "crates/proxyd/src/path.rs",
    "crates/auth/src/acl.rs",
    "crates/kit/src/ledger.rs",
    "providers/aws/src/address.rs",
    "providers/aws/src/answers.rs",
    "providers/aws/src/entry.rs",
    "providers/aws/src/lease.rs",
    "providers/gcp/src/address.rs",
    "providers/gcp/src/answers.rs",
    "providers/gcp/src/entry.rs",
    "providers/gcp/src/external.rs",
    "providers/gcp/src/lease.rs",
    "providers/gcp/src/version.rs",
    "providers/kubernetes/src/mounts.rs",
    "providers/vault/src/address.rs",
    "providers/vault/src/answers.rs",
    "crates/secrets/src/remote/address.rs",
    "crates/secrets/src/remote/budget.rs",
    "crates/secrets/src/remote/entry.rs",
    "crates/secrets/src/remote/silence.rs",
    "providers/vault/src/entry.rs",
    "providers/vault/src/lease.rs",
    "crates/auth/src/glob.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files that git tracks or would add, so that a build's output does not count.
fn files(ending: &str) -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let names = String::from_utf8(out.stdout).unwrap();
    let found: Vec<PathBuf> = names
        .lines()
        .filter(|n| n.ends_with(ending))
        .map(|n| root().join(n))
        .filter(|p| p.exists())
        .collect();
    assert!(!found.is_empty(), "no `{ending}` files: is this a checkout?");
    found
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/tests/") || text.ends_with("/tests.rs") || text.ends_with("/testing.rs")
}

/// The file without its inline tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].to_owned()
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for path in files(".rs").iter().filter(|p| !is_test(p)) {
        let lines = code(path).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines; split it by noun", path.display());
    }
}

#[test]
fn every_module_says_what_it_is() {
    for path in files(".rs").iter().filter(|p| !p.ends_with("tests.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
        let says = first.is_some_and(|line| line.starts_with("//!"));
        assert!(says, "{} does not begin with a `//!` line", path.display());
    }
}

#[test]
fn decisions_touch_nothing() {
    for name in PURE {
        let text = code(&root().join(name));
        for banned in
            ["async ", ".await", "tokio::", "std::fs", "std::net", "Clock", "Instant::now"]
        {
            assert!(!text.contains(banned), "{name} is a decision and may not use `{banned}`");
        }
    }
}

#[test]
fn an_error_does_not_repeat_its_cause() {
    for path in files(".rs").iter().filter(|p| !is_test(p)) {
        for (index, line) in code(path).lines().enumerate() {
            let repeats = line.contains("#[error(")
                && (line.contains("{source}") || line.contains("{source:"));
            let place = format!("{}:{}", path.display(), index + 1);
            assert!(!repeats, "{place}: the cause is `source()`; the log prints the chain");
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for path in files("Cargo.toml").iter().filter(|p| **p != root().join("Cargo.toml")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} sets its own lints",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for path in files(".rs") {
        for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // Written in halves, so that this line does not find itself.
            for mark in
                [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME")]
            {
                assert!(!line.contains(mark), "{}:{}: `{mark}`", path.display(), index + 1);
            }
        }
    }
}

#[test]
fn documents_name_only_files_that_exist() {
    for path in files(".md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = path.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}, which is not there", path.display());
        }
    }
}
