//! An adapter while it runs.

use crate::{
    Files, Platform, Routd, Spool,
    deliver_loop::{Busy, Delivery},
    figures::Figures,
    http::{self, Served},
    outbound::Outbound,
    register_loop,
};
use kit::{Api, Context};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What every adapter does, started. Clones share it.
#[derive(Clone, Debug)]
pub struct Adapter {
    online: watch::Sender<bool>,
}

impl Adapter {
    /// Brings the events of `spool` to routd, and mounts what routd asks of `platform`. It registers once
    /// [`Adapter::online`] was called.
    pub fn start<P: Platform>(
        context: &Context,
        api: &mut Api,
        spool: Spool,
        routd: Routd,
        platform: Arc<P>,
    ) -> Self {
        let (online, is_online) = watch::channel(false);
        let (figures, busy) = (Figures::register(&context.metrics), Busy::default());
        let profile = platform.profile();
        let delivery = Arc::new(Delivery {
            context: context.clone(),
            spool: spool.clone(),
            routd: routd.clone(),
            figures: figures.clone(),
            busy: busy.clone(),
        });
        context.tasks.supervise("adapter.deliver", move || delivery.clone().run());
        let (registering, to) = (context.clone(), routd.clone());
        context.tasks.supervise("adapter.register", move || {
            let (context, routd, busy) = (registering.clone(), to.clone(), busy.clone());
            register_loop::run(context, routd, profile, busy, is_online.clone())
        });
        let outbound = Arc::new(Outbound {
            platform,
            spool,
            files: Files::new(routd),
            clock: context.clock.clone(),
            figures,
            lanes: crate::lanes::Lanes::default(),
            holds: Mutex::default(),
        });
        http::mount(api, Arc::new(Served { outbound, tasks: context.tasks.clone() }));
        Self { online }
    }

    /// The platform can be used: routd is told where this adapter is, from now on.
    pub fn online(&self) {
        self.online.send_replace(true);
    }
}
