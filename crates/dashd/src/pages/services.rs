//! The daemons, and how each is.

use crate::{
    figures::Figure,
    parts::{Mark, address, code, mark, table},
    shown::{span, time},
};
use maud::{Markup, html};
use proto::{
    Daemon, Timestamp,
    kit::{Health, Ready},
};

/// What is known of one daemon.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) daemon: Daemon,
    /// Where its own endpoints are.
    pub(crate) url: String,
    /// What it said, or why it did not.
    pub(crate) said: Result<(Health, Ready), String>,
    /// Whether nobody is there, and the instance can do without it.
    pub(crate) is_off: bool,
}

impl Service {
    /// How it stands, in a word.
    pub(crate) fn state(&self) -> (Mark, &'static str) {
        match &self.said {
            Err(_) if self.is_off => (Mark::Quiet, "not running"),
            Err(_) => (Mark::Bad, "away"),
            Ok((_, ready)) if !ready.ready => (Mark::Bad, "not ready"),
            Ok((_, ready)) if !ready.degraded.is_empty() => (Mark::Bad, "degraded"),
            Ok((_, ready)) if !ready.waiting_for.is_empty() => (Mark::Doubtful, "idle"),
            Ok(_) => (Mark::Good, "ready"),
        }
    }

    /// What is wrong with it, in sentences.
    pub(crate) fn troubles(&self) -> Vec<String> {
        match &self.said {
            Err(_) if self.is_off => Vec::new(),
            Err(why) => vec![why.clone()],
            Ok((_, ready)) if !ready.ready => {
                ready.waiting_for.iter().map(|what| format!("it waits for {what}")).collect()
            }
            Ok((_, ready)) => ready.degraded.clone(),
        }
    }
}

/// All of them.
pub(crate) fn list(services: &[Service], now: Timestamp) -> Markup {
    let row = |service: &Service| {
        let (how, word) = service.state();
        let health = service.said.as_ref().ok().map(|(health, _)| health);
        let waits = service.said.as_ref().ok().map(|(_, ready)| ready.waiting_for.clone());
        vec![
            html! { strong { (service.daemon) } },
            html! {
                (mark(how, word))
                @for trouble in service.troubles() { small { (trouble) } }
                @for what in waits.unwrap_or_default() { small { "waits for " (what) } }
            },
            html! { @if let Some(health) = health { (health.version) } },
            html! {
                @if let Some(health) = health {
                    (span(now.seconds_since(health.started_at))) small { "since " (time(health.started_at)) }
                }
            },
            html! { @if let Some(health) = health { (health.pid) } },
            code(&service.url),
            html! {
                a href=(address("/dash/services/figures", &[("daemon", service.daemon.name())])) {
                    "Figures" span.unseen { " of " (service.daemon) }
                }
            },
        ]
    };
    let heads = ["Daemon", "State", "Version", "Up", "Process", "Address", ""];
    table("The daemons", &heads, services.iter().map(row).collect(), "No daemon is known.")
}

/// What one daemon counts.
pub(crate) fn figures(daemon: Daemon, figures: &[Figure]) -> Markup {
    let row = |figure: &Figure| {
        vec![
            code(&figure.name),
            html! { @for (name, value) in &figure.labels { span.label { (name) " " strong { (value) } } " " } },
            html! { span.number { (figure.value) } },
        ]
    };
    let rows = figures.iter().map(row).collect();
    table(
        &format!("What {daemon} counts"),
        &["Figure", "Of", "Value"],
        rows,
        "It counts nothing like that.",
    )
}
