//! The turn's socket: fetch the input, report progress, post the result.

use crate::AntError;
use crate::retry::Pauses;
use proto::turn::{
    BRING_FILE, GET_FILE, GET_TURN, NO_FILE, NoFile, POST_EVENTS, POST_RESULT, POST_STEER, SOCKET,
    SteerAsk, Steered, TurnAccepted, TurnEvents, TurnInput, TurnResult, WANTED_FILES, Wanted,
    WantedAsk,
};
use proto::{Endpoint, Method, Nothing, Problem};
use serde::{Serialize, de::DeserializeOwned};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

/// The longest path of a Unix socket, in bytes.
const LONGEST_PATH: usize = 107;
/// The host name of requests. The socket decides where they go; servers check this one.
pub(crate) const ORIGIN: &str = "http://localhost";
/// The longest that one try of a call may take.
const ONE_CALL: Duration = Duration::from_secs(15);
/// The longest that bringing one file may take.
const ONE_FILE: Duration = Duration::from_secs(60);
/// Bytes of a file that are read at a time.
const PIECE: usize = 64 * 1024;
/// The longest that one report may take.
const ONE_REPORT: Duration = Duration::from_secs(5);

/// What went wrong with one try.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There was no whole answer: routd is not there, or went away.
    #[error("there was no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// There was an answer, and it was an error.
    #[error("it answered {status} {detail}")]
    Answered {
        /// The HTTP status.
        status: u16,
        /// What routd said of it.
        detail: String,
    },
    /// The answer is not what this version of the agent understands.
    #[error("its answer is not understood")]
    NotUnderstood(#[source] serde_json::Error),
}

/// What a try came to when it did not succeed.
enum Miss {
    /// The next try may succeed.
    Passing(Trouble),
    /// No other try will.
    Final(AntError),
}

/// What became of asking for a file.
pub(crate) enum Given {
    /// It comes.
    File(reqwest::Response),
    /// It cannot be had.
    Gone,
    /// It is larger than it may be.
    TooLarge,
    /// Not now.
    Away,
}

/// A client for one turn's socket.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Link {
    /// A client for the socket in `directory`. Nothing is connected yet.
    pub fn open(directory: &Path) -> Result<Self, AntError> {
        let socket = directory.join(SOCKET);
        if socket.as_os_str().as_bytes().len() > LONGEST_PATH {
            return Err(AntError::SocketPath(socket));
        }
        // Plain HTTP over the socket. The settings of TLS are made by hand, without roots, because
        // the client would otherwise look for a bundle of roots that a sandbox does not have.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AntError::Client(error.into()))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .unix_socket(socket.as_path())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| AntError::Client(error.into()))?;
        Ok(Self { http, socket })
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The client, for the tools.
    pub fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// The input of the turn, waiting up to `patience` for routd to be there.
    pub async fn input(&self, patience: Duration) -> Result<TurnInput, AntError> {
        let limit = Instant::now() + patience;
        self.insist("fetch the turn", GET_TURN, &Nothing {}, limit).await
    }

    /// Posts the result until it is accepted, or `limit`.
    pub async fn finish(
        &self,
        result: &TurnResult,
        limit: Instant,
    ) -> Result<TurnAccepted, AntError> {
        self.insist("post the result", POST_RESULT, result, limit).await
    }

    /// Posts progress, once: the only failure that is told is that the attempt was given up.
    pub async fn report(&self, events: &TurnEvents) -> Result<(), AntError> {
        match self.call("report progress", POST_EVENTS, events, ONE_REPORT).await {
            Err(Miss::Final(AntError::Superseded)) => Err(AntError::Superseded),
            Err(Miss::Passing(trouble)) => {
                tracing::debug!(error = &trouble as &dyn std::error::Error, "a report was lost");
                Ok(())
            }
            Err(Miss::Final(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a report was refused");
                Ok(())
            }
            Ok(Nothing {}) => Ok(()),
        }
    }

    /// Asks, once, for what was said since, and waits as long as `ask` says.
    pub async fn steer(&self, ask: &SteerAsk) -> Option<Steered> {
        let limit = ONE_CALL + Duration::from_secs(ask.wait_seconds.into());
        match self.call("ask for new messages", POST_STEER, ask, limit).await {
            Ok(steered) => Some(steered),
            Err(Miss::Passing(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no news");
                None
            }
            // The reports find out that the attempt was given up; this is not the place.
            Err(Miss::Final(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no news");
                None
            }
        }
    }

    /// Asks for a file that came with a message, once.
    pub async fn file(&self, id: &str) -> Given {
        let address = format!("{ORIGIN}{}", GET_FILE.path.replace("{id}", id));
        let answer = match timeout(ONE_CALL, self.http.get(address).send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no file");
                return Given::Away;
            }
            Err(_) => return Given::Away,
        };
        match answer.status().as_u16() {
            200 => Given::File(answer),
            413 => Given::TooLarge,
            408 | 425 | 429 | 500.. => Given::Away,
            _ => Given::Gone,
        }
    }

    /// Asks, once, which files are wanted, and waits as long as `ask` says. `None`: there was no answer.
    ///
    /// # Errors
    /// This routd wants none, or the attempt is over.
    pub async fn wanted(&self, ask: &WantedAsk) -> Result<Option<Wanted>, AntError> {
        let limit = ONE_CALL + Duration::from_secs(ask.wait_seconds.into());
        match self.call("ask for wanted files", WANTED_FILES, ask, limit).await {
            Ok(wanted) => Ok(Some(wanted)),
            Err(Miss::Passing(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no news of files");
                Ok(None)
            }
            Err(Miss::Final(error)) => Err(error),
        }
    }

    /// Brings a file, once: a tool that still wants it asks anew.
    pub async fn bring(&self, id: i64, file: std::fs::File, size: u64) {
        let address = format!("{ORIGIN}{}", BRING_FILE.path.replace("{id}", &id.to_string()));
        // What the file grows by meanwhile is left out, so that its length is as it was said.
        let file = tokio::fs::File::from_std(file).take(size);
        let pieces = futures::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).await?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then_some((piece, file)))
        });
        let call = self.http.put(address).header(reqwest::header::CONTENT_LENGTH, size);
        let sent = call.body(reqwest::Body::wrap_stream(pieces)).timeout(ONE_FILE).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => tracing::warn!(status = answer.status().as_u16(), "a file is not taken"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a file was not brought");
            }
        }
    }

    /// Says that a file cannot be brought, once.
    pub async fn no_file(&self, id: i64, reason: String) {
        let said = NoFile { id, reason };
        if let Err(miss) = self.call("refuse a file", NO_FILE, &said, ONE_REPORT).await {
            let error: &dyn std::error::Error = match &miss {
                Miss::Passing(error) => error,
                Miss::Final(error) => error,
            };
            tracing::warn!(error, "a refusal was lost");
        }
    }

    /// Calls until there is an answer, or `limit`; at least once.
    async fn insist<Req: Serialize, Res: DeserializeOwned>(
        &self,
        step: &'static str,
        endpoint: Endpoint<Req, Res>,
        request: &Req,
        limit: Instant,
    ) -> Result<Res, AntError> {
        let mut pauses = Pauses::until(limit);
        loop {
            let last = match self.call(step, endpoint, request, pauses.one_try(ONE_CALL)).await {
                Ok(answer) => return Ok(answer),
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Passing(trouble)) => trouble,
            };
            tracing::warn!(step, error = &last as &dyn std::error::Error, "trying again");
            if !pauses.pause().await {
                return Err(AntError::Unreachable { step, socket: self.socket.clone(), last });
            }
        }
    }

    async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        step: &'static str,
        endpoint: Endpoint<Req, Res>,
        request: &Req,
        timeout: Duration,
    ) -> Result<Res, Miss> {
        let passing = |error| Miss::Passing(Trouble::NoAnswer(error));
        let address = format!("{ORIGIN}{}", endpoint.route.path);
        let call = match endpoint.route.method {
            Method::Get => self.http.get(address),
            Method::Post => self.http.post(address).json(request),
            Method::Put => self.http.put(address).json(request),
            Method::Delete => self.http.delete(address),
        };
        let answer = call.timeout(timeout).send().await.map_err(passing)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(passing)?;
        match status.as_u16() {
            200..=299 => serde_json::from_slice(whole(&body)).map_err(|error| {
                let answer = Trouble::NotUnderstood(error);
                Miss::Final(AntError::Refused { step, answer })
            }),
            409 | 410 => Err(Miss::Final(AntError::Superseded)),
            status => {
                let answer = Trouble::Answered { status, detail: detail(&body) };
                Err(match status {
                    408 | 425 | 429 | 500.. => Miss::Passing(answer),
                    _ => Miss::Final(AntError::Refused { step, answer }),
                })
            }
        }
    }
}

/// The body, or an empty object where the answer has none (204).
fn whole(body: &[u8]) -> &[u8] {
    if body.is_empty() { b"{}" } else { body }
}

/// What a problem document says, or the beginning of whatever the answer is.
fn detail(body: &[u8]) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => format!("{}: {} {}", problem.code, problem.title, problem.detail),
        Err(_) => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}
