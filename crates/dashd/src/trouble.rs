//! Why a page is not what was asked for.

use kit::{PeerError, chain};

/// What went wrong, by what is to be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// What was typed is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// An owner refused, or is away.
    #[error("a daemon did not do what it was asked")]
    Owner(#[from] PeerError),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
}

/// What a person is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl Trouble {
    /// What a person is told. An owner's own words are for callers, and a person is one.
    pub(crate) fn told(&self) -> Told {
        match self {
            Self::Invalid(text) => {
                Told { status: 400, title: "That is not understood", text: text.clone() }
            }
            Self::NotFound(text) => {
                Told { status: 404, title: "There is no such thing", text: text.clone() }
            }
            Self::Owner(error) => of_owner(error),
        }
    }

    /// In one line, for a part of a page.
    pub(crate) fn line(&self) -> String {
        self.told().text
    }
}

fn of_owner(error: &PeerError) -> Told {
    let Some(problem) = error.problem() else {
        tracing::warn!(error = %chain(error), "a page could not be made");
        let text = format!("{error}. Load the page again in a moment.");
        return Told { status: 503, title: "A daemon does not answer", text };
    };
    let (status, title) = match problem.status {
        400 | 413 | 422 => (400, "That is not understood"),
        403 => (403, "Not allowed"),
        404 | 410 => (404, "There is no such thing"),
        409 => (409, "Not possible just now"),
        401 | 429 | 503 => (503, "Not available just now"),
        _ => (502, "A daemon failed"),
    };
    let mut text = problem.detail.clone();
    if let Some(reference) = &problem.reference {
        text = format!("{text} (reference {reference})");
    }
    Told { status, title, text }
}
