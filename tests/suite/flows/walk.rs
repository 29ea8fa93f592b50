//! `docs/kubernetes.md`, command by command: kubectl and the program, against a cluster of this machine that is empty at
//! first. What the page says that they print is what they print.

use crate::harness::{Town, kubectl, program};
use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

/// A command of the page, and what is to come of it.
#[derive(Debug)]
struct Step {
    command: String,
    prints: Vec<String>,
}

/// The commands of the page's blocks in which `$` stands before them.
fn steps() -> Vec<Step> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes.md");
    let page = fs::read_to_string(page).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line, inside) {
            ("```console", false) => inside = true,
            ("```", true) => inside = false,
            (line, true) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.into(), prints: Vec::new() }),
                None => steps.last_mut().unwrap().prints.push(line.into()),
            },
            _ => {}
        }
    }
    steps
}

/// Whether a line is what the page has, where `…` stands for anything.
fn fits(line: &str, page: &str) -> bool {
    let mut parts = page.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// Whether the lines are what the page has, where a line `…` stands for any lines.
fn all_fit(lines: &[&str], page: &[&str]) -> bool {
    match (lines, page) {
        ([], []) => true,
        (_, ["…", later @ ..]) => {
            (0..=lines.len()).any(|skipped| all_fit(&lines[skipped..], later))
        }
        ([line, lines @ ..], [one, later @ ..]) => fits(line, one) && all_fit(lines, later),
        _ => false,
    }
}

#[test]
fn what_the_page_says_of_a_cluster_is_what_happens() {
    let Some(kubectl) = kubectl() else {
        eprintln!("docs/kubernetes.md: not verified (no kubectl)");
        return;
    };
    let town = Town::empty();
    let names = town.cluster.place().join("bin");
    fs::create_dir(&names).unwrap();
    symlink(kubectl, names.join("kubectl")).unwrap();
    symlink(program(), names.join("arizuko")).unwrap();
    let steps = steps();
    assert!(steps.len() > 20, "the page has no commands: {steps:?}");
    // One shell for all, as at a terminal.
    let mut script = String::new();
    for (number, step) in steps.iter().enumerate() {
        script.push_str(&format!("{}\necho \"--- {number} $?\"\n", step.command));
    }
    let mut command = Command::new("bash");
    command
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", names.display()))
        .env("HOME", town.cluster.place())
        .env("KUBECONFIG", town.cluster.kubeconfig())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["-c", "exec 2>&1; source /dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines = text.lines();
    for (number, step) in steps.iter().enumerate() {
        let end = format!("--- {number} ");
        let mut printed = Vec::new();
        let code = loop {
            let line =
                lines.next().unwrap_or_else(|| panic!("no end of `{}`:\n{text}", step.command));
            match line.strip_prefix(&end) {
                Some(code) => break code,
                None => printed.push(line),
            }
        };
        assert_eq!(code, "0", "`{}` failed: {printed:#?}", step.command);
        let page: Vec<&str> = step.prints.iter().map(String::as_str).collect();
        assert!(
            all_fit(&printed, &page),
            "`{}` prints\n{printed:#?}\nand the page has\n{page:#?}",
            step.command
        );
    }
    assert_eq!(town.cluster.calls().into_iter().filter(|call| call.denied).count(), 0);
    let denied = town.cluster.list("jobs");
    assert!(denied.iter().all(|job| job["metadata"]["namespace"] == "arizuko"), "{denied:?}");
}

#[test]
fn a_page_is_told_from_what_is_printed() {
    for (line, page, expected) in [
        ("a b c", "a b c", true),
        ("a b c", "a … c", true),
        ("a b c", "a …", true),
        ("a b c", "…b…", true),
        ("a b c", "a b", false),
        ("a b c", "b …", false),
        ("a b c", "a … d", false),
        ("ac", "a…b…c", false),
    ] {
        assert_eq!(fits(line, page), expected, "{line} and {page}");
    }
    assert!(all_fit(&["a", "b", "c"], &["…", "c"]));
    assert!(all_fit(&[], &["…"]));
    assert!(!all_fit(&["a", "b"], &["a"]), "what is printed and not on the page");
    assert!(!all_fit(&["a"], &["a", "b"]), "what is on the page and not printed");
}
