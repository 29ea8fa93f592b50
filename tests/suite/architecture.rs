//! Who may depend on whom. `docs/architecture.md` draws it; here it is enforced.

use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

const PLATFORM: &[&str] = &["auth", "kit", "proto", "secrets"];
const OWNER: &[&str] = &["auth", "db", "kit", "proto", "secrets"];
const ADAPTER: &[&str] = &["adapter", "kit", "proto", "secrets"];

/// Which of our crates each crate may use. A crate that is not listed fails the test.
const MAY_USE: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("secrets", &[]),
    ("db", &["proto"]),
    ("auth", &["proto"]),
    ("provider-*", &["secrets"]),
    // Servers that tests start.
    ("stores", &["secrets"]),
    ("cluster", &[]),
    // It measures one secret and its handle by themselves.
    ("load", &["secrets", "provider-file"]),
    ("kit", &["auth", "proto", "secrets"]),
    // Its database is a spool.
    ("adapter", OWNER),
    ("teled", ADAPTER),
    ("slakd", ADAPTER),
    ("authd", OWNER),
    ("routd", OWNER),
    ("runed", OWNER),
    ("onbod", OWNER),
    ("webd", PLATFORM),
    ("dashd", PLATFORM),
    // Its tests run a routd; it itself knows none.
    ("timed", PLATFORM),
    ("proxyd", PLATFORM),
    // Inside an agent's sandbox there is nothing of the suite but the wire.
    ("ant", &["proto"]),
    ("arizuko", &["*"]),
    ("suite", &["*"]),
];

/// Libraries that only the named crates may use directly, each with the reason.
const FENCED: &[(&str, &[&str], &str)] = &[
    (
        "rusqlite",
        &["db", "authd", "routd", "runed", "onbod"],
        "SQL is db's and each owner's store.rs",
    ),
    ("zeroize", &["secrets"], "wiping is what a `Secret` does"),
    ("zeroizing-alloc", &["arizuko"], "the program, and not a library, says how memory is freed"),
    ("secrecy", &["secrets"], "hiding is what a `Secret` does"),
    ("subtle", &["secrets"], "comparing in constant time is what a `Secret` does"),
    ("region", &["secrets"], "locking pages is what a `Secret` does"),
    ("notify", &["provider-file"], "watching files is the file provider's"),
    ("jsonwebtoken", &["auth"], "tokens are made and checked in one place"),
    ("landlock", &["runed"], "sandboxes are runed's"),
    ("seccompiler", &["runed"], "sandboxes are runed's"),
    ("croner", &["routd"], "schedules are routd's"),
    ("jiff", &["routd"], "time zones are those of schedules"),
    ("bollard", &["runed"], "container engines are runed's"),
    (
        "kube",
        &["runed", "provider-kubernetes"],
        "clusters are runed's, and an operator's Secret is its provider's",
    ),
    (
        "k8s-openapi",
        &["runed", "provider-kubernetes"],
        "clusters are runed's, and an operator's Secret is its provider's",
    ),
    ("clap", &["arizuko"], "the command line is arizuko's"),
    ("opentelemetry-proto", &["arizuko"], "daemons tell of spans, and the program knows to whom"),
    ("prost", &["arizuko"], "daemons tell of spans, and the program knows to whom"),
    (
        "axum",
        &[
            "kit", "authd", "routd", "runed", "timed", "onbod", "webd", "dashd", "proxyd",
            "adapter", "teled", "slakd",
        ],
        "HTTP is kit's and each daemon's http.rs",
    ),
    (
        "reqwest",
        &[
            "kit",
            "ant",
            "authd",
            "routd",
            "slakd",
            "teled",
            "provider-aws",
            "provider-gcp",
            "provider-vault",
        ],
        "calls between daemons go through kit's Peer; the others' are those that leave the suite",
    ),
    ("frankenstein", &["teled"], "Telegram is teled's"),
    ("pulldown-cmark", &["webd", "adapter"], "messages are read for pages, and for platforms"),
    ("vaultrs", &["provider-vault"], "a store's client is its provider's"),
    ("rustify", &["provider-vault"], "a store's client is its provider's"),
    ("aws-config", &["provider-aws"], "a store's client is its provider's"),
    ("aws-sdk-secretsmanager", &["provider-aws"], "a store's client is its provider's"),
    ("aws-sdk-sqs", &["provider-aws"], "a store's client is its provider's"),
    ("aws-sdk-sts", &["provider-aws"], "a store's client is its provider's"),
    ("google-cloud-auth", &["provider-gcp"], "a store's client is its provider's"),
    ("google-cloud-secretmanager-v1", &["provider-gcp"], "a store's client is its provider's"),
    ("tokio-tungstenite", &["slakd"], "WebSockets are those of Slack's Socket Mode"),
    ("rmcp", &["routd", "ant", "webd"], "tools are served by routd and webd, and called by ant"),
    ("governor", &["proxyd", "authd"], "rate limits are the edge's, and the signer's"),
];

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |p| name.starts_with(p))
}

fn may_use(name: &str) -> &'static [&'static str] {
    let row = MAY_USE.iter().find(|(pattern, _)| matches(pattern, name));
    let (_, allowed) =
        row.unwrap_or_else(|| panic!("add `{name}` to MAY_USE and to docs/architecture.md"));
    allowed
}

/// Each workspace crate and its normal dependencies.
fn graph() -> BTreeMap<String, Vec<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].is_null()).map(|d| text(&d["name"]));
            (text(&package["name"]), normal.collect())
        })
        .collect()
}

#[test]
fn crates_use_only_what_they_may() {
    let graph = graph();
    assert!(graph.len() >= 14, "the workspace is not read whole: {graph:?}");
    for (name, dependencies) in &graph {
        for dependency in dependencies.iter().filter(|d| graph.contains_key(*d)) {
            let allowed = may_use(name).iter().any(|pattern| matches(pattern, dependency));
            assert!(allowed, "`{name}` may not use `{dependency}`; see docs/architecture.md");
        }
    }
}

#[test]
fn fenced_libraries_stay_behind_their_fence() {
    for (name, dependencies) in graph() {
        for (library, allowed, why) in FENCED {
            let free = ["suite", "stores", "platforms", "cluster", "load"].contains(&name.as_str())
                || allowed.iter().any(|p| matches(p, &name));
            let uses = dependencies.iter().any(|d| d == library);
            assert!(free || !uses, "`{name}` may not use `{library}`: {why}");
        }
    }
}

#[test]
fn one_tls_stack_and_one_crypto_provider() {
    for banned in ["ring", "openssl", "openssl-sys", "native-tls"] {
        let out = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--workspace",
                "-e",
                "normal,build",
                "--offline",
                "--prefix",
                "none",
                "-i",
                banned,
            ])
            .output()
            .unwrap();
        let tree = String::from_utf8_lossy(&out.stdout);
        assert!(!tree.contains(banned), "`{banned}` is compiled into the suite:\n{tree}");
    }
}
