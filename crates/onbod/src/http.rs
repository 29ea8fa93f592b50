//! What onbod serves over HTTP. Translation only: what is decided is decided elsewhere.

mod desk;
mod invites;
mod pages;

use crate::app::App;
use axum::{Router, routing};
use kit::Api;
use proto::onbod as api;
use std::sync::Arc;

/// The endpoints of `proto::onbod`.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut all = Api::new(&app.context);
    all.mount(api::KNOCK, app.clone(), desk::knock)
        .mount(api::LIST_ADMISSIONS, app.clone(), desk::list)
        .mount(api::GET_ADMISSION, app.clone(), desk::get)
        .mount(api::APPROVE, app.clone(), desk::approve)
        .mount(api::REFUSE, app.clone(), desk::refuse)
        .mount(api::LIST_PEOPLE, app.clone(), desk::people)
        .mount(api::CREATE_INVITE, app.clone(), invites::create)
        .mount(api::LIST_INVITES, app.clone(), invites::list)
        .mount(api::REVOKE_INVITE, app.clone(), invites::revoke)
        .mount(api::SET_GATE, app.clone(), invites::set_gate)
        .mount(api::LIST_GATES, app.clone(), invites::gates)
        .mount(api::REMOVE_GATE, app.clone(), invites::remove_gate)
        .mount(api::AUDIT, app.clone(), desk::audit);
    all.raw(api::PAIR_PAGE, routing::get(pages::pair).with_state(app.clone()))
        .raw(api::PAIR_SPEND, routing::post(pages::spend_pair).with_state(app.clone()))
        .raw(api::STANDING_PAGE, routing::get(pages::standing).with_state(app.clone()))
        .raw(api::INVITE_PAGE, routing::get(pages::invite).with_state(app.clone()))
        .raw(api::INVITE_SPEND, routing::post(pages::spend_invite).with_state(app.clone()))
        .raw(api::OPEN_CHAT, routing::post(pages::open_chat).with_state(app.clone()));
    all.into_router()
}
