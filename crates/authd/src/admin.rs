//! The admin socket: where the operator's command line proves itself by being there.
//!
//! The socket's file is for this user alone, and the kernel says who is at the other end. Both are
//! checked, so that neither a loosened directory nor a leaked descriptor lets anybody else in.

use crate::{
    app::App,
    http::{credential, failed},
    keyring::act,
    session::{Capability, LINK_MS},
    token::Grant,
};
use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use kit::{Api, Context, Failure, PeerCred};
use proto::authd::{self, LoginLink};
use std::sync::Arc;

/// The subject of whoever may use the socket.
const OPERATOR: &str = "operator:local";

/// What is served on the socket.
pub(crate) fn router(context: &Context, app: &Arc<App>) -> Router {
    let mut api = Api::on_socket(context);
    api.raw(authd::OPERATOR_TOKEN.route, post(operator_token).with_state(app.clone()));
    api.raw(authd::LOGIN_LINK.route, post(login_link).with_state(app.clone()));
    api.into_router().layer(middleware::from_fn_with_state(app.clone(), only_us))
}

/// Lets in whoever runs as this user, or as root.
async fn only_us(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<PeerCred>>().map(|ConnectInfo(peer)| *peer);
    let uid = peer.and_then(|peer| peer.uid);
    let ours = rustix::process::geteuid().as_raw();
    if uid.is_some_and(|uid| uid == ours || uid == 0) {
        return next.run(request).await;
    }
    let who = peer.map_or_else(|| "somebody the kernel does not name".to_owned(), described);
    let row = act(app.clock.now(), "anonymous", "socket.refuse", "run/admin.sock", &who);
    if let Err(error) = app.store.note(row).await {
        tracing::error!(%error, "a refusal on the admin socket could not be written down");
    }
    Failure::forbidden("this socket is for the user that runs authd, and for root").into_response()
}

async fn operator_token(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<PeerCred>,
) -> Result<Response, Failure> {
    // Written down before it is handed out: a token that nobody knows of must not be.
    let row = act(app.clock.now(), OPERATOR, "token.operator", OPERATOR, &described(peer));
    app.store.note(row).await.map_err(failed)?;
    Ok(credential(app.mint(&Grant::operator())?))
}

async fn login_link(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<PeerCred>,
) -> Result<Response, Failure> {
    let code = Capability::random();
    let now = app.clock.now();
    let expires_at = now.plus(LINK_MS);
    let row = act(now, OPERATOR, "link.make", OPERATOR, &described(peer));
    app.store.add_link(code.hash(), OPERATOR.into(), expires_at, row).await.map_err(failed)?;
    let link = LoginLink { path: format!("/auth/login/{}", code.expose()), expires_at };
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(link))
        .into_response())
}

fn described(peer: PeerCred) -> String {
    let number = |number: Option<String>| number.unwrap_or_else(|| "unknown".to_owned());
    let uid = number(peer.uid.map(|uid| uid.to_string()));
    let pid = number(peer.pid.map(|pid| pid.to_string()));
    format!("on the admin socket, user id {uid}, process {pid}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Method};
    use kit::testing::Rig;
    use tower::ServiceExt;

    /// The file's mode keeps others from connecting, so who they are can only be tried here.
    #[tokio::test]
    async fn whoever_is_neither_this_user_nor_root_is_refused_and_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let rig = Rig::new(proto::Daemon::Authd, directory.path())
            .secret("SECRETS_KEY", "secrets-key-0000000000000000000000000000")
            .secret("AUTHD_SERVICE_KEY", "service-key-000000000000");
        let (context, _) = rig.build().await;
        let app = crate::assemble(&context).await.unwrap();
        let ours = rustix::process::geteuid().as_raw();
        let other = ours + 4000;
        let status = async |uid: Option<u32>, known: bool| {
            let mut request = Request::builder().method(Method::POST).uri("/v1/operator-token");
            if known {
                request = request.extension(ConnectInfo(PeerCred { uid, pid: Some(7) }));
            }
            let request = request.body(Body::empty()).unwrap();
            router(&context, &app).oneshot(request).await.unwrap().status().as_u16()
        };
        assert_eq!(status(Some(other), true).await, 403);
        assert_eq!(status(None, true).await, 403, "the kernel did not say who");
        assert_eq!(status(None, false).await, 403, "not a socket of ours");
        assert_eq!(status(Some(ours), true).await, 200);
        assert_eq!(status(Some(0), true).await, 200);
        let rows = app.store.audit(None, Some(10)).await.unwrap().rows;
        let refused: Vec<_> = rows.iter().filter(|row| row.action == "socket.refuse").collect();
        assert_eq!(refused.len(), 3);
        assert!(refused.iter().any(|row| row.detail.contains(&format!("user id {other}"))));
        context.stop.cancel();
    }
}
