//! Reading a source as a test does.

use secrets::{Answer, Bundle, Name, Need, Role, SecretSource, SourceError};
use std::time::Duration;

/// The overlap that tests give a source.
pub const OVERLAP: Duration = Duration::from_secs(300);

/// A value that may stand nowhere but in its place.
pub const CANARY: &str = "canary-7f3a91c2-value";

/// What a daemon of these tests needs.
pub static A: Bundle<String> = Bundle {
    needs: &[Need::required(Name::literal("A"), "this test")],
    role: Role::Presents,
    parse: |values| Ok(values.require(&Name::literal("A"))?.text()?.to_owned()),
};

/// The name of a secret.
#[must_use]
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The value of one name, or what was said instead.
///
/// # Errors
/// What was said.
pub async fn value(source: &dyn SecretSource, of: &str) -> Result<String, String> {
    match source.read(&[name(of)]).await {
        Ok(answers) => match answers.into_iter().next().unwrap() {
            Answer::Found(found) => Ok(found.current.text().unwrap().to_owned()),
            Answer::Missing => Err("missing".into()),
            Answer::Rejected(reason) => Err(reason.to_string()),
        },
        Err(error) => Err(said(&error)),
    }
}

/// The kind of an error, and all that it says.
#[must_use]
pub fn said(error: &SourceError) -> String {
    let kind = match error {
        SourceError::Denied { .. } => "denied",
        SourceError::Unreachable { .. } => "unreachable",
        SourceError::Refused { .. } => "refused",
    };
    let all = format!("{error:?} {}", error.chain());
    assert!(!all.contains(CANARY), "a value is in an error: {all}");
    format!("{kind}: {}", error.chain())
}
