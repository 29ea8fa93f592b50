//! Capability links: a token opens one chat or one webhook, and is stored only as a keyed hash.

use super::groups::reach;
use crate::{
    app::App,
    fault::Fault,
    ids,
    record::record,
    signing::{self, SigningKey},
    store::{groups, links},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{Caller, Failure};
use proto::{
    Jid, JidError, Nothing,
    routd::{IssueLink, IssuedLink, Link, LinkKind, Links, ResolveLink, RevokeLink},
};
use rand::{TryRngCore, rngs::OsRng};
use std::sync::Arc;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Bytes of anything that could be a token.
const TOKEN_MAX: usize = 256;
/// The source of a webhook that names none.
const SOURCE: &str = "hook";

/// Makes a link.
pub(super) async fn issue(
    app: Arc<App>,
    caller: Caller,
    wanted: IssueLink,
) -> Result<IssuedLink, Failure> {
    let IssueLink { kind, folder, source, signature, signing_secret } = wanted;
    reach(&caller, &folder)?;
    let secret = match (kind, signature) {
        (LinkKind::Hook, Some(signature)) => Some(SigningKey::choose(signature, signing_secret)?),
        (_, None) if signing_secret.is_none() => None,
        _ => {
            let text = "only the deliveries of a hook link are signed, and `signing_secret` needs `signature`";
            return Err(Failure::bad_request(text));
        }
    };
    let shown = secret.as_ref().map(|secret| secret.text().to_owned());
    let id = ids::fresh("l");
    let chat_jid = match (kind, source) {
        // Each link has a chat of its own: who holds one does not read what others wrote.
        (LinkKind::Chat, None) => Jid::web(&folder, &id),
        (LinkKind::Chat, Some(_)) => {
            return Err(Failure::bad_request("a chat link has no `source`; a hook link has one"));
        }
        (LinkKind::Hook, source) => Jid::hook(&folder, source.as_deref().unwrap_or(SOURCE)),
    };
    let chat_jid = chat_jid.map_err(|error: JidError| Failure::bad_request(error.to_string()))?;
    let token = token()?;
    let (hash, now, actor) = (app.link_key.hash(&token), app.now(), caller.subject().to_string());
    let issued = app.keyring.write("link.issue", move |tx, key| {
        if !groups::in_service(tx, &folder)? {
            let text = format!("there is no folder {folder}; add it with `arizuko group add`");
            return Err(Fault::NotFound(text));
        }
        let link =
            Link { id: ids::opaque(&id)?, kind, folder, chat_jid, created_at: now, signature };
        links::add(tx, &link, &hash)?;
        if let Some(secret) = &secret {
            secret.keep(tx, key, &link.id)?;
        }
        let detail = format!("{} for {}", kind.name(), link.chat_jid);
        record(tx, now, &actor, "token.issue", link.id.as_str(), &detail)?;
        Ok(link)
    });
    let link = issued.await?;
    let path = match kind {
        LinkKind::Chat => format!("/chat/{token}/"),
        LinkKind::Hook => format!("/hook/{token}"),
    };
    Ok(IssuedLink { link, token, path, signing_secret: shown })
}

/// The links, without their tokens.
pub(super) async fn list(app: Arc<App>, caller: Caller, _: Nothing) -> Result<Links, Failure> {
    let mut links = app.db.read(links::list).await.map_err(Fault::from)?;
    links.retain(|link| caller.reaches(&link.folder));
    Ok(Links { links })
}

/// Ends a link, at once.
pub(super) async fn revoke(
    app: Arc<App>,
    caller: Caller,
    wanted: RevokeLink,
) -> Result<Nothing, Failure> {
    let (now, actor) = (app.now(), caller.subject().to_string());
    let revoked = app.db.try_write("link.revoke", move |tx| {
        let id = wanted.id.as_str();
        let Some(link) = links::get(tx, id)? else {
            return Err(Fault::NotFound(format!("there is no link {id}")));
        };
        if !caller.reaches(&link.folder) {
            return Err(Fault::NotFound(format!("there is no link {id}")));
        }
        if links::revoke(tx, id, now)? {
            signing::forget(tx, &link.id)?;
            record(tx, now, &actor, "token.revoke", id, link.chat_jid.as_str())?;
        }
        Ok(Nothing {})
    });
    Ok(revoked.await?)
}

/// What a token opens. Nothing is remembered between requests, so that a link that was revoked is shut.
pub(super) async fn resolve(app: Arc<App>, _: Caller, shown: ResolveLink) -> Result<Link, Failure> {
    let nothing = || Failure::not_found("this link opens nothing; ask for a new one");
    if shown.token.is_empty() || shown.token.len() > TOKEN_MAX {
        return Err(nothing());
    }
    let (hash, kind) = (app.link_key.hash(&shown.token), shown.kind);
    let found = app.db.read(move |conn| links::open(conn, &hash, kind)).await;
    found.map_err(Fault::from)?.ok_or_else(nothing)
}

fn token() -> Result<String, Failure> {
    let mut random = [0; TOKEN_BYTES];
    OsRng.try_fill_bytes(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}
