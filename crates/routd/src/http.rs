//! What routd serves over HTTP. Translation only: what is decided is decided elsewhere.

mod acl;
mod approvals;
mod audit;
mod channels;
mod conversations;
mod feed;
mod files;
pub(crate) mod groups;
mod links;
mod messages;
mod model;
mod people;
mod routes;
mod schedules;
mod signatures;
mod steering;
mod tenant_secrets;
pub(crate) mod turn;
mod turn_files;
mod usage;

use crate::app::App;
use axum::{Router, routing};
use kit::Api;
use proto::routd as api;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The longest that a reader may wait for news.
const WAIT_MAX: u32 = 30;
/// Rows of a page: when nothing is said, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 500;

/// The endpoints of `proto::routd`.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut all = Api::new(&app.context);
    all.mount(api::POST_MESSAGE, app.clone(), messages::post)
        .mount(api::OUTCOME, app.clone(), messages::outcome)
        .mount(api::TRACE, app.clone(), messages::trace)
        .mount(api::FEED, app.clone(), feed::get)
        .mount(api::LIST_CHATS, app.clone(), conversations::chats)
        .mount(api::LIST_MESSAGES, app.clone(), conversations::messages)
        .mount(api::LIST_OUTBOX, app.clone(), conversations::outbox)
        .mount(api::LIST_TURNS, app.clone(), conversations::turns)
        .mount(api::MEMORY, app.clone(), conversations::memory)
        .mount(api::PERSONA, app.clone(), groups::persona)
        .mount(api::SET_PERSONA, app.clone(), groups::set_persona)
        .mount(api::REGISTER_CHANNEL, app.clone(), channels::register)
        .mount(api::LIST_CHANNELS, app.clone(), channels::list)
        .mount(api::ADD_GROUP, app.clone(), groups::add)
        .mount(api::LIST_GROUPS, app.clone(), groups::list)
        .mount(api::REMOVE_GROUP, app.clone(), groups::remove)
        .mount(api::ADD_ROUTE, app.clone(), routes::add)
        .mount(api::LIST_ROUTES, app.clone(), routes::list)
        .mount(api::REMOVE_ROUTE, app.clone(), routes::remove)
        .mount(api::EXPLAIN_ROUTE, app.clone(), routes::explain)
        .mount(api::ISSUE_LINK, app.clone(), links::issue)
        .mount(api::LIST_LINKS, app.clone(), links::list)
        .mount(api::REVOKE_LINK, app.clone(), links::revoke)
        .mount(api::RESOLVE_LINK, app.clone(), links::resolve)
        .mount(api::ROTATE_LINK, app.clone(), signatures::rotate)
        .mount(api::VERIFY_DELIVERY, app.clone(), signatures::verify)
        .mount(api::SET_TENANT_SECRET, app.clone(), tenant_secrets::set)
        .mount(api::LIST_TENANT_SECRETS, app.clone(), tenant_secrets::list)
        .mount(api::REMOVE_TENANT_SECRET, app.clone(), tenant_secrets::remove)
        .mount(api::ADD_SCHEDULE, app.clone(), schedules::add)
        .mount(api::LIST_SCHEDULES, app.clone(), schedules::list)
        .mount(api::PAUSE_SCHEDULE, app.clone(), schedules::pause)
        .mount(api::RESUME_SCHEDULE, app.clone(), schedules::resume)
        .mount(api::RUN_SCHEDULE, app.clone(), schedules::run)
        .mount(api::REMOVE_SCHEDULE, app.clone(), schedules::remove)
        .mount(api::SCHEDULE_RUNS, app.clone(), schedules::runs)
        .mount(api::FIRE_SCHEDULES, app.clone(), schedules::fire)
        .mount(api::AUDIT, app.clone(), audit::list)
        .mount(api::STATUS, app.clone(), audit::status)
        .mount(api::ADD_RULE, app.clone(), acl::add)
        .mount(api::REMOVE_RULE, app.clone(), acl::remove)
        .mount(api::LIST_ACL, app.clone(), acl::list)
        .mount(api::CHECK_ACL, app.clone(), acl::check)
        .mount(api::ADD_MEMBER, app.clone(), acl::join)
        .mount(api::REMOVE_MEMBER, app.clone(), acl::leave)
        .mount(api::LIST_APPROVALS, app.clone(), approvals::list)
        .mount(api::GET_APPROVAL, app.clone(), approvals::get)
        .mount(api::APPROVE, app.clone(), approvals::approve)
        .mount(api::DENY, app.clone(), approvals::deny)
        .mount(api::USAGE, app.clone(), usage::get)
        .mount(api::SET_CAP, app.clone(), usage::set_cap)
        .mount(api::LIST_CAPS, app.clone(), usage::caps)
        .mount(api::ADMIT_PERSON, app.clone(), people::admit)
        .mount_keyed(api::NOTICE, app.clone(), people::notice)
        .mount(api::DATABASE_KEY, app.clone(), audit::database_key)
        .mount(api::REKEY, app.clone(), audit::rekey);
    all.raw(api::FILE, routing::get(files::get).with_state(app.clone()));
    all.into_router()
}

/// When a reader who would wait this long is to be answered in any case.
fn until(wait_seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(wait_seconds.min(WAIT_MAX).into())
}

/// How many rows a page has.
fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}
