//! The pages, of what the owners said. Pure.

pub(crate) mod access;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod conversations;
pub(crate) mod folders;
pub(crate) mod invites;
pub(crate) mod links;
pub(crate) mod newcomers;
pub(crate) mod overview;
pub(crate) mod routes;
pub(crate) mod runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod usage;
