//! Calls within what may be done: a budget for the hour, and what the server says about waiting.

use crate::{
    address::Address,
    answers,
    transport::{Reply, Request, Transport},
    trouble::Trouble,
};
use secrets::{
    Secret,
    remote::{Budget, Silence},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A way to the servers of one source. It is shared by all who call them.
pub(crate) struct Line {
    address: Arc<Address>,
    began: Instant,
    state: Mutex<State>,
}

struct State {
    budget: Budget,
    transport: Option<Transport>,
    /// Until when the server asked to be left alone.
    not_before: Option<Instant>,
}

impl Line {
    /// A line of at most `calls_per_hour`. Nothing is opened before the first call.
    pub(crate) fn new(address: Arc<Address>, calls_per_hour: u32) -> Self {
        let budget = Budget::new(calls_per_hour);
        let state = State { budget, transport: None, not_before: None };
        Self { address, began: Instant::now(), state: Mutex::new(state) }
    }

    /// Makes one call, if one may be made now. Any status is an answer.
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&Secret>,
    ) -> Result<Reply, Trouble> {
        let transport = self.begin()?;
        let transport = match transport {
            Some(transport) => transport,
            None => self.open().await?,
        };
        let reply = transport.send(request, token).await;
        if matches!(reply, Err(Trouble::Silent(Silence::Tls))) {
            // The file with the authorities may have changed: it is read again.
            self.state().transport = None;
        }
        let reply = reply?;
        if matches!(reply.status, 429 | 503) {
            let wait = reply.retry_after.or_else(|| answers::retry_delay(&reply.body));
            self.state().not_before = wait.map(|wait| Instant::now() + wait);
        }
        Ok(reply)
    }

    fn begin(&self) -> Result<Option<Transport>, Trouble> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(until) = state.not_before.filter(|until| *until > now) {
            return Err(Trouble::Waiting(until - now));
        }
        let passed: Duration = now - self.began;
        state.budget.take(passed).map_err(Trouble::Spent)?;
        Ok(state.transport.clone())
    }

    /// Reading the file with the authorities may block.
    async fn open(&self) -> Result<Transport, Trouble> {
        let address = self.address.clone();
        let open = tokio::task::spawn_blocking(move || Transport::new(&address));
        let transport = open.await.unwrap_or(Err(Trouble::Defect))?;
        self.state().transport = Some(transport.clone());
        Ok(transport)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
