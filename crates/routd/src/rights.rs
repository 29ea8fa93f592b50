//! The one place that decides what an agent's tool may touch.
//!
//! Every tool asks here, on every call, in the transaction of what it does; listing the tools asks the same question
//! about the folder itself. The whole ACL is read each time: a right that was taken away is gone with the next call,
//! and a row that cannot be read is an error and never a permission.

use crate::{fault::Fault, store::acl};
use auth::{Acl, Principal};
use proto::Folder;
use rusqlite::Connection;

/// The ACL, as seen by the agent of one folder.
#[derive(Debug)]
pub(crate) struct Rights {
    acl: Acl,
    principal: Principal,
}

impl Rights {
    /// Reads the rights of a folder's agent, as of this transaction.
    pub(crate) fn of(conn: &Connection, folder: &Folder) -> Result<Self, Fault> {
        Ok(Self { acl: acl::load(conn)?, principal: Principal::folder(folder) })
    }

    /// Whether the tool may be used on a folder.
    pub(crate) fn may_use(&self, tool: &str, target: &Folder) -> bool {
        self.acl.decide(&self.principal, &format!("mcp:{tool}"), target).allowed
    }

    /// Refuses a use that is not allowed, and says why.
    pub(crate) fn require(&self, tool: &str, target: &Folder) -> Result<(), Fault> {
        self.require_action(&format!("mcp:{tool}"), target)
    }

    /// Whether the folder's runs may reach a network.
    pub(crate) fn may_egress(&self, folder: &Folder) -> bool {
        self.acl.decide(&self.principal, "egress", folder).allowed
    }

    fn require_action(&self, action: &str, target: &Folder) -> Result<(), Fault> {
        let decision = self.acl.decide(&self.principal, action, target);
        if decision.allowed {
            return Ok(());
        }
        Err(Fault::Forbidden(format!("{action} on the folder {target} is {decision}")))
    }
}
