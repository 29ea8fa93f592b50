//! What the parts of runed share.

use crate::backend::Backend;
use crate::figures::Figures;
use crate::run::RunId;
use crate::settings::Values;
use crate::store::{Row, State, Store};
use kit::{Clock, Context, Fact, Health, Span, Tasks, Traces};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The daemon's parts.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) values: Values,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) health: Health,
    pub(crate) stop: CancellationToken,
    pub(crate) figures: Figures,
    /// The wish that a run ends, for each run that is in hand.
    wishes: Mutex<HashMap<RunId, CancellationToken>>,
    traces: Traces,
    /// What is told of each run, from when it is asked for until it has ended. Empty where nobody is told.
    spans: Mutex<HashMap<RunId, Span>>,
}

impl App {
    pub(crate) fn new(
        context: &Context,
        values: Values,
        store: Store,
        backend: Arc<dyn Backend>,
    ) -> Self {
        Self {
            store,
            backend,
            values,
            clock: context.clock.clone(),
            tasks: context.tasks.clone(),
            health: context.health.clone(),
            stop: context.stop.clone(),
            figures: Figures::register(&context.metrics),
            wishes: Mutex::default(),
            traces: context.traces.clone(),
            spans: Mutex::default(),
        }
    }

    /// Takes a run in hand. Cancelled when somebody wishes for its end.
    pub(crate) fn take_in_hand(&self, id: &RunId) -> CancellationToken {
        self.wishes().entry(id.clone()).or_default().clone()
    }

    /// The run has ended.
    pub(crate) fn let_go(&self, id: &RunId) {
        self.wishes().remove(id);
    }

    /// Tells whoever has the run in hand that it is to end. One that nobody has in hand needs no telling: its state
    /// says so to the one who will.
    pub(crate) fn wish_end(&self, id: &RunId) {
        if let Some(wish) = self.wishes().get(id) {
            wish.cancel();
        }
    }

    /// A run is asked for. A repeat changes nothing.
    pub(crate) fn begin_telling(&self, row: &Row) {
        if !self.traces.are_told() || row.state == State::Ended {
            return;
        }
        self.spans().entry(row.id.clone()).or_insert_with(|| {
            let span = self.traces.part("run");
            span.say(Fact::Run(row.id.to_string()));
            span.say(Fact::Turn(row.turn_id.to_string()));
            span.say(Fact::Attempt(row.attempt));
            span
        });
    }

    /// A run has ended, in this way.
    pub(crate) fn end_telling(&self, id: &RunId, how: &'static str) {
        if let Some(span) = self.spans().remove(id) {
            span.say(Fact::Outcome(how));
            span.end();
        }
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<RunId, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wishes(&self) -> MutexGuard<'_, HashMap<RunId, CancellationToken>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
