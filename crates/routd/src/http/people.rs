//! What onbod asks for: letting a person in, and saying a line to somebody who has no folder yet.

use crate::{admit, app::App, fault::Fault, say};
use kit::{Caller, Failure};
use proto::routd::{AdmitPerson, AdmittedPerson, Notice, Noticed};
use std::sync::Arc;

/// Bytes of a line, and of the key that it is said under.
const NOTICE_MAX: usize = 4_096;
const KEY_MAX: usize = 256;

/// Lets a person in.
pub(super) async fn admit(
    app: Arc<App>,
    caller: Caller,
    wanted: AdmitPerson,
) -> Result<AdmittedPerson, Failure> {
    super::groups::reach(&caller, &wanted.folder)?;
    let (now, actor) = (app.now(), caller.subject().to_string());
    let admitted =
        app.db.try_write("person.admit", move |tx| admit::admit(tx, wanted, &actor, now));
    Ok(admitted.await?)
}

/// Says a line, once.
pub(super) async fn notice(
    app: Arc<App>,
    caller: Caller,
    key: Option<String>,
    wanted: Notice,
) -> Result<Noticed, Failure> {
    let fits = |text: &str| !text.trim().is_empty() && text.len() <= NOTICE_MAX;
    if !fits(&wanted.content) || !wanted.kept.as_deref().is_none_or(fits) {
        return Err(Failure::bad_request("`content` and `kept` have 1 to 4,096 bytes"));
    }
    let key = key.filter(|key| (1..=KEY_MAX).contains(&key.len()));
    let Some(key) = key else {
        return Err(Failure::bad_request("`Idempotency-Key` has 1 to 256 characters"));
    };
    let (now, wake, actor) = (app.now(), app.wake.clone(), caller.subject().to_string());
    let said = app.db.try_write("notice", move |tx| {
        say::notice(tx, &wake, &wanted, &format!("{actor} {key}"), now)
    });
    let (id, duplicate) = said.await?;
    Ok(Noticed {
        id: id.parse().map_err(|_| Fault::Defect(format!("`{id}` is no id")))?,
        duplicate,
    })
}
