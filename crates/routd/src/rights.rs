//! The one place that decides what an agent's tool may touch.
//!
//! Every tool asks here, on every call, in the transaction of what it does; listing the tools asks the same question
//! about the folder itself. The whole ACL is read each time: a right that was taken away is gone with the next call,
//! and a row that cannot be read is an error and never a permission. A question that meets a hold is answered with no,
//! and remembered: the call waits for a person then, whatever it made of the answer.

use crate::{fault::Fault, store::acl};
use async_trait::async_trait;
use auth::{Acl, Decision, Principal};
use db::Database;
use kit::{Failure, RightsSource};
use proto::Folder;
use rusqlite::Connection;
use std::{cell::RefCell, sync::Arc};

/// The ACL, as seen by the agent of one folder.
#[derive(Debug)]
pub(crate) struct Rights {
    acl: Acl,
    principal: Principal,
    /// Whether a person has approved what is done.
    is_approved: bool,
    /// The first hold that was met.
    held: RefCell<Option<String>>,
}

impl Rights {
    /// Reads the rights of a folder's agent, as of this transaction.
    pub(crate) fn of(conn: &Connection, folder: &Folder) -> Result<Self, Fault> {
        Ok(Self {
            acl: acl::load(conn)?,
            principal: Principal::folder(folder),
            is_approved: false,
            held: RefCell::default(),
        })
    }

    /// The same for a call that a person has approved: holds hold it no more, and denials do.
    pub(crate) fn approved(self) -> Self {
        Self { is_approved: true, ..self }
    }

    fn decide(&self, action: &str, target: &Folder) -> Decision {
        if self.is_approved {
            return self.acl.decide_approved(&self.principal, action, target);
        }
        let decision = self.acl.decide(&self.principal, action, target);
        if decision.is_held() {
            let text = format!("{action} on the folder {target} is {decision}");
            self.held.borrow_mut().get_or_insert(text);
        }
        decision
    }

    /// Refuses what met a hold, however it went on.
    pub(crate) fn free<T>(&self, done: Result<T, Fault>) -> Result<T, Fault> {
        match (self.held.take(), done) {
            // What failed by itself needs no person's word.
            (_, Err(fault)) if !fault.is_for_the_caller() => Err(fault),
            (Some(held), _) => Err(Fault::Held(held)),
            (None, done) => done,
        }
    }

    /// Whether the action may be done to a folder.
    pub(crate) fn may(&self, action: &str, target: &Folder) -> bool {
        self.decide(action, target).allowed
    }

    /// Whether there may be a folder to which the action may be done: for listing, and never for a decision.
    pub(crate) fn may_somewhere(&self, action: &str) -> bool {
        self.acl.may_somewhere(&self.principal, action)
    }

    /// Refuses what may be done to no folder.
    pub(crate) fn require_somewhere(&self, action: &str) -> Result<(), Fault> {
        if self.may_somewhere(action) {
            // What is asked here and finds nothing asks no further.
            if let Ok(own) = self.principal.id().parse() {
                self.decide(action, &own);
            }
            return Ok(());
        }
        Err(Fault::Forbidden(format!("{action} is allowed on no folder")))
    }

    /// Refuses what is not allowed, and says why.
    pub(crate) fn require(&self, action: &str, target: &Folder) -> Result<(), Fault> {
        let decision = self.decide(action, target);
        if decision.allowed {
            return Ok(());
        }
        let text = format!("{action} on the folder {target} is {decision}");
        Err(if decision.is_held() { Fault::Held(text) } else { Fault::Forbidden(text) })
    }

    /// Whether the folder's runs may reach a network.
    pub(crate) fn may_egress(&self, folder: &Folder) -> bool {
        self.may("egress", folder)
    }
}

/// The rights of people who call: read for each call, as an agent's are for each tool.
#[derive(Debug)]
pub(crate) struct OfPeople(Database);

impl OfPeople {
    /// As this database has them.
    pub(crate) fn of(db: &Database) -> Self {
        Self(db.clone())
    }
}

#[async_trait]
impl RightsSource for OfPeople {
    async fn rights(&self) -> Result<Arc<Acl>, Failure> {
        Ok(Arc::new(self.0.try_read(acl::load).await?))
    }
}
