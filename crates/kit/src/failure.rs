//! What a caller is told when a request fails: `application/problem+json` (RFC 9457).

use crate::refusals::Why;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::{Code, Problem};
use rand::Rng;
use std::{error::Error, time::Duration};

/// A refusal or a failure. Only text that was written for the caller is in it; what went wrong
/// inside is logged once, under a reference that the caller gets.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    problem: Box<Problem>,
    retry_after: Option<Duration>,
    /// More about a refusal, for the audit log. Never told to the caller.
    why: Option<Box<Why>>,
}

impl Failure {
    /// A failure of this kind; `detail` says what happened and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let problem = Box::new(Problem {
            status: code.status(),
            code: code.as_str().into(),
            title: code.title().into(),
            detail: detail.into(),
            reference: None,
        });
        let status = StatusCode::from_u16(code.status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            problem,
            retry_after: None,
            why: None,
        }
    }

    /// The request is not what it must be.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// No credential, or not a good one.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthorized, detail)
    }

    /// The credential does not allow it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// Not in this state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Code::Conflict, detail)
    }

    /// Not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// This daemon failed. The chain of `error` goes to the log, a reference to the caller.
    pub fn internal(error: &dyn Error) -> Self {
        let reference = format!("{:08x}", rand::rng().random::<u32>());
        tracing::error!(reference, error = %chain(error), "a request failed");
        let mut failure =
            Self::new(Code::Internal, "the daemon's log has the cause under the reference");
        failure.problem.reference = Some(reference);
        failure
    }

    /// A more exact status than the kind's own.
    #[must_use]
    pub fn answered_with(mut self, status: StatusCode) -> Self {
        self.status = status;
        self.problem.status = status.as_u16();
        self
    }

    /// A more exact stable code than the kind's own.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        self.problem.code = code.into();
        self
    }

    /// For whom or what this was asked, for the audit log alone. Never a credential.
    #[must_use]
    pub fn about(mut self, what: impl Into<String>) -> Self {
        self.why.get_or_insert_default().about = Some(what.into());
        self
    }

    /// Why this is refused, and who is where that is proved, for the audit log alone. Never a credential.
    #[must_use]
    pub fn because(mut self, reason: &'static str, subject: Option<String>) -> Self {
        let why = self.why.get_or_insert_default();
        (why.reason, why.subject) = (Some(reason.into()), subject);
        self
    }

    /// What the audit log is told of it.
    pub(crate) fn why(&self) -> Why {
        let mut why = self.why.as_deref().cloned().unwrap_or_default();
        why.reason.get_or_insert_with(|| self.problem.code.clone().into());
        why
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the caller is told.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let why = self.why();
        let mut response = (self.status, Json(*self.problem)).into_response();
        // For whoever served the request by hand and has to know why it was refused.
        response.extensions_mut().insert(why);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1: a 401 says what would do.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: coming back early would be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An error and everything that caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
