//! What every provider does, and what is told of versions.

use crate::source::{assert_unsaid, at, key, source};
use secrets::{Answer, SecretSource, testing::conforms};
use serde_json::json;
use std::process::Command;
use stores::{
    moto::Moto,
    reading::{CANARY, name, value},
};

#[tokio::test]
async fn a_json_secret_is_a_source_like_any_other() {
    let Some(moto) = Moto::start() else { return };
    let text =
        json!({"FIRST": CANARY, "SECOND": "canary-line-one\nline two ü", "lower": "no name"});
    moto.put_secret_value("team/az", &text.to_string());
    let source = source(&moto, "team/az");
    let second = "canary-line-one\nline two ü".as_bytes();
    let (one, two, absent) = (name("FIRST"), name("SECOND"), name("ABSENT"));
    conforms(&source, (&one, CANARY.as_bytes()), (&two, second), &absent).await;
    assert!(source.is_remote() && !source.is_static());
    assert_eq!(source.place(), "aws-sm://eu-west-1/team/az");
    assert_unsaid(&["canary-line-one"]);
}
