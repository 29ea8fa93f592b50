//! The signing secrets of webhooks: replaced, and checked for webd.

use crate::{
    app::App,
    fault::Fault,
    record::record,
    signing::{self, SigningKey},
    store::links,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use kit::{Caller, Failure};
use proto::routd::{RotateLink, SigningSecret, Verified, VerifyDelivery};
use std::sync::Arc;

/// Signatures of one delivery that are looked at.
const SIGNATURES_MAX: usize = 16;

/// Replaces the signing secret of a link.
pub(super) async fn rotate(
    app: Arc<App>,
    caller: Caller,
    wanted: RotateLink,
) -> Result<SigningSecret, Failure> {
    let overlap = overlap_ms(&app)?;
    let (now, actor) = (app.now(), caller.subject().to_string());
    let previous_until = now.plus(overlap);
    let rotated = app.keyring.write("link.rotate", move |tx, key| {
        let unknown = || Fault::NotFound(format!("there is no link {} that is signed", wanted.id));
        let link = links::get(tx, wanted.id.as_str())?.ok_or_else(unknown)?;
        let signed = links::signed(tx, link.id.as_str())?.filter(|_| caller.reaches(&link.folder));
        let signature = signed.ok_or_else(unknown)?.signature;
        let secret = SigningKey::choose(signature, wanted.signing_secret)?;
        signing::supersede(tx, key, &link.id)?;
        secret.keep(tx, key, &link.id)?;
        links::secret_changed(tx, link.id.as_str(), now)?;
        record(tx, now, &actor, "token.rotate", link.id.as_str(), link.chat_jid.as_str())?;
        Ok(secret.text().to_owned())
    });
    Ok(SigningSecret { signing_secret: rotated.await?, previous_until })
}

/// Whether a delivery was signed with the current secret of its link, or in time with the one before.
pub(super) async fn verify(
    app: Arc<App>,
    _: Caller,
    shown: VerifyDelivery,
) -> Result<Verified, Failure> {
    let overlap = overlap_ms(&app)?;
    let bad = |_| Failure::bad_request("`payload` and `signatures` are base64");
    let payload = STANDARD.decode(&shown.payload).map_err(bad)?;
    let signatures = shown.signatures.iter().take(SIGNATURES_MAX);
    let signatures: Vec<Vec<u8>> =
        signatures.map(|one| STANDARD.decode(one)).collect::<Result<_, _>>().map_err(bad)?;
    let (now, id) = (app.now(), shown.id);
    let found = app.keyring.read(move |conn, key| {
        let Some(signed) = links::signed(conn, id.as_str())? else {
            return Err(Fault::NotFound(format!("there is no link {id} that is signed")));
        };
        let in_time = signed.changed_at.is_some_and(|at| now < at.plus(overlap));
        let fits = |secret: Option<SigningKey>| {
            secret.is_some_and(|one| one.fits(signed.signature, &payload, &signatures))
        };
        let verified = fits(signing::current(conn, key, &id)?);
        let by_previous = !verified && in_time && fits(signing::previous(conn, key, &id)?);
        Ok(Verified { verified: verified || by_previous, by_previous })
    });
    Ok(found.await?)
}

/// How long a secret that was replaced is still good, in milliseconds.
fn overlap_ms(app: &App) -> Result<i64, Failure> {
    let overlap = app.context.settings.get(&kit::SECRETS_OVERLAP);
    let overlap = overlap.map_err(|error| Failure::internal(&error))?;
    Ok(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX))
}
