//! The backend that runs nothing: messages are stored and observed, and no agent answers them.

use super::{Backend, BackendError, Description, Found, Log, NotStarted, Refusal, Sweep};
use crate::run::{Ended, How, RunId, RunSpec};
use async_trait::async_trait;

/// Refuses every run.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBackend;

fn refusal() -> Refusal {
    Refusal(
        "CONTAINER_BACKEND is `none`: messages are stored and no agent runs; set it to `process`, `docker` or `kubernetes` to run agents"
            .into(),
    )
}

#[async_trait]
impl Backend for NoBackend {
    fn name(&self) -> &'static str {
        "none"
    }

    fn describe(&self) -> Description {
        Description { missing: vec![refusal().0], ..Description::default() }
    }

    fn validate(&self, _: &RunSpec) -> Result<(), Refusal> {
        Err(refusal())
    }

    async fn start(&self, _: &RunSpec) -> Result<(), NotStarted> {
        Err(refusal().into())
    }

    async fn find(&self, _: &RunId) -> Result<Found, BackendError> {
        Ok(Found::Nothing)
    }

    async fn watch(&self, _: &RunId) -> Result<Ended, BackendError> {
        Ok(Ended::now_unknown(How::Lost))
    }

    async fn cancel(&self, _: &RunId) -> Result<(), BackendError> {
        Ok(())
    }

    async fn log(&self, _: &RunId) -> Result<Log, BackendError> {
        Ok(Log::default())
    }

    async fn sweep(&self, _: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        Ok(Vec::new())
    }
}
