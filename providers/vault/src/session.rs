//! Calls with a token that is alive: logging in, renewing, and what a refusal leads to.

use crate::{
    address::{Address, Auth},
    answers::{self, Phrase},
    lease::{Lease, Step},
    transport::{Headers, Reply, Transport},
    trouble::Trouble,
};
use rustify::endpoint::Endpoint;
use rustix::fs::CWD;
use secrets::{
    Secret,
    files::{self, FileError, FileId, Links},
    remote::{Budget, Silence},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use vaultrs::api::{
    auth::{
        approle::requests::LoginWithApproleRequest,
        kubernetes::requests::LoginWithKubernetesRequest, oidc::requests::JWTLoginRequest,
    },
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
};

/// A refused token is replaced at most this often: the policy may be what is wrong.
const LOGIN_SPACING: Duration = Duration::from_secs(10);

/// Before a call is made once more, at most this long.
const PAUSE: Duration = Duration::from_millis(300);

/// The longest wait before another attempt at renewing.
const RENEWAL_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A client, the token that it has, and what it may still do.
pub(crate) struct Session {
    address: Address,
    transport: Option<Transport>,
    token: Option<Token>,
    budget: Budget,
    began: Instant,
    /// Until when the server asked to be left alone.
    not_before: Option<Instant>,
    last_login: Option<Instant>,
}

struct Token {
    secret: Secret,
    lease: Lease,
    /// When it ends; `None` where it does not.
    ends: Option<Instant>,
    due: Option<(Instant, Step)>,
    /// The file that it was in.
    file: Option<FileId>,
}

impl Session {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            budget: Budget::new(address.calls_per_hour),
            address,
            transport: None,
            token: None,
            began: Instant::now(),
            not_before: None,
            last_login: None,
        }
    }

    /// Makes a call with a token that is alive. A refusal is an answer here, but not before a
    /// fresh token was refused as well.
    pub(crate) async fn call<E: Endpoint>(
        &mut self,
        endpoint: impl Fn() -> E + Send + Sync,
    ) -> Result<Reply, Trouble> {
        self.keep_alive().await?;
        let reply = self.send_with_token(&endpoint).await?;
        if reply.status != 403 || self.last_login.is_some_and(|at| at.elapsed() < LOGIN_SPACING) {
            return Ok(reply);
        }
        // The token may have been revoked, or its end come sooner than was said.
        self.token = None;
        self.keep_alive().await?;
        self.send_with_token(&endpoint).await
    }

    /// As [`Session::call`], and once more where the failure may be a passing one. For reads.
    pub(crate) async fn read<E: Endpoint>(
        &mut self,
        endpoint: impl Fn() -> E + Send + Sync,
    ) -> Result<Reply, Trouble> {
        let first = self.call(&endpoint).await.and_then(good_or_known);
        match first {
            Err(trouble) if trouble.is_passing() => {
                sleep(PAUSE.mul_f64(rand::random_range(0.3..1.0))).await;
                self.call(&endpoint).await.and_then(good_or_known)
            }
            first => first,
        }
    }

    /// As [`Session::call`], with what is wrong with the server told apart. For writes, which are not
    /// made twice.
    pub(crate) async fn call_once<E: Endpoint>(
        &mut self,
        endpoint: impl Fn() -> E + Send + Sync,
    ) -> Result<Reply, Trouble> {
        self.call(endpoint).await.and_then(good_or_known)
    }

    /// When something is to be done about the token.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.token.as_ref().and_then(|token| token.due).map(|(at, _)| at)
    }

    /// The file of the token, where that is how the login is made, as it was when it was read.
    pub(crate) fn token_file(&self) -> Option<(PathBuf, Option<FileId>)> {
        match &self.address.auth {
            Auth::Token { token_file } => {
                let known = self.token.as_ref().and_then(|token| token.file);
                Some((token_file.clone(), known))
            }
            _ => None,
        }
    }

    /// Renews the token or gets another one, if it is time for that or there is none.
    pub(crate) async fn keep_alive(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if let Some((path, known)) = self.token_file()
            && known.is_some()
            && identity(path).await != known
        {
            self.token = None;
        }
        let Some(token) = &self.token else { return self.login().await };
        let has_ended = token.ends.is_some_and(|ends| ends <= now);
        let step = match token.due {
            Some((at, step)) if at <= now => step,
            _ if has_ended => Step::Login,
            _ => return Ok(()),
        };
        let (ends, done) = match step {
            Step::Renew if !has_ended => (token.ends, self.renew().await),
            Step::Renew | Step::Login => (token.ends, self.login().await),
        };
        let Err(trouble) = done else { return Ok(()) };
        let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        match (left, &mut self.token) {
            // It is good for a while yet. Where renewing is refused, a login may not be.
            (Some(left), Some(token)) if !left.is_zero() => {
                let pause = (left / 4).min(RENEWAL_PAUSE_MAX);
                token.due = Some((Instant::now() + pause, Step::Login));
                Ok(())
            }
            _ => Err(trouble),
        }
    }

    async fn renew(&mut self) -> Result<(), Trouble> {
        let reply = self.send_with_token(&|| RenewTokenSelfRequest { increment: None }).await?;
        if !reply.status.is_success() {
            return Err(Trouble::Status(reply.status.as_u16()));
        }
        let can_login = self.can_login();
        if let Some(token) = &mut self.token {
            token.lease = answers::renewed(&reply.body, token.lease.first)?;
            token.plan(can_login);
        }
        Ok(())
    }

    const fn can_login(&self) -> bool {
        !matches!(self.address.auth, Auth::Token { .. })
    }

    async fn login(&mut self) -> Result<(), Trouble> {
        let address = self.address.clone();
        let mount = address.auth_mount.clone();
        let reply = match &address.auth {
            Auth::Kubernetes { role, jwt_file } => {
                let (jwt, _) = text(jwt_file).await?;
                let role = role.clone();
                self.send(&|| LoginWithKubernetesRequest {
                    mount: mount.clone(),
                    role: role.clone(),
                    jwt: jwt.clone(),
                })
                .await
            }
            Auth::Jwt { role, jwt_file } => {
                let (jwt, _) = text(jwt_file).await?;
                let role = Some(role.clone());
                self.send(&|| JWTLoginRequest {
                    mount: mount.clone(),
                    role: role.clone(),
                    jwt: jwt.clone(),
                })
                .await
            }
            Auth::Approle { role_id, secret_id_file } => {
                let (secret_id, _) = text(secret_id_file).await?;
                self.send(&|| LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: role_id.clone(),
                    secret_id: secret_id.clone(),
                })
                .await
            }
            Auth::Token { token_file } => return self.take_token(token_file).await,
        };
        // Also where it failed: what is refused after that is refused for another reason.
        self.last_login = Some(Instant::now());
        let reply = reply?;
        let file = match address.auth {
            Auth::Kubernetes { jwt_file, .. } | Auth::Jwt { jwt_file, .. } => jwt_file,
            Auth::Approle { secret_id_file, .. } => secret_id_file,
            Auth::Token { token_file } => token_file,
        };
        let at = format!("auth/{mount}");
        match reply.status.as_u16() {
            200 => {
                let granted = answers::granted(&reply.body)?;
                self.token = Some(Token::new(granted.token, granted.lease, true, None));
                Ok(())
            }
            404 => Err(Trouble::NoMount(at)),
            status @ (400 | 401 | 403) => Err(Trouble::LoginRefused { at, status, file }),
            _ => good_or_known(reply).and_then(|reply| Err(Trouble::Status(reply.status.as_u16()))),
        }
    }

    /// Takes the token that somebody wrote, and asks how long it lives.
    async fn take_token(&mut self, file: &Path) -> Result<(), Trouble> {
        let (secret, id) = text_secret(file).await?;
        let endless = Lease { ttl: Duration::ZERO, first: Duration::ZERO, is_renewable: false };
        self.token = Some(Token::new(secret, endless, false, Some(id)));
        self.last_login = Some(Instant::now());
        let reply = self.send_with_token(&|| LookupTokenSelfRequest {}).await;
        let lease = match reply.and_then(good_or_known) {
            Ok(reply) if reply.status.is_success() => answers::looked_up(&reply.body),
            // It may be good for its one purpose and no other.
            Ok(reply) if reply.status == 403 => return Ok(()),
            Ok(reply) if reply.status == 404 => Err(Trouble::NoMount("auth/token".into())),
            Ok(reply) => Err(Trouble::Status(reply.status.as_u16())),
            Err(trouble) => Err(trouble),
        };
        match (lease, &mut self.token) {
            (Ok(lease), Some(token)) => {
                token.lease = lease;
                token.plan(false);
                Ok(())
            }
            (Err(trouble), _) => {
                self.token = None;
                Err(trouble)
            }
            (Ok(_), None) => Err(Trouble::Defect),
        }
    }

    async fn send_with_token<E: Endpoint>(
        &mut self,
        endpoint: &(impl Fn() -> E + Sync),
    ) -> Result<Reply, Trouble> {
        let headers = Headers::new(self.address.namespace.as_deref())?;
        let headers = match &self.token {
            Some(token) => headers.with_token(&token.secret),
            None => Some(headers),
        };
        let Some(headers) = headers else {
            let file = self.token_file().map(|(file, _)| file).unwrap_or_default();
            self.token = None;
            let reason = "it holds what cannot stand in a header".into();
            return Err(Trouble::Credential { file, reason });
        };
        self.send_under(endpoint, &headers).await
    }

    async fn send<E: Endpoint>(
        &mut self,
        endpoint: &(impl Fn() -> E + Sync),
    ) -> Result<Reply, Trouble> {
        let headers = Headers::new(self.address.namespace.as_deref())?;
        self.send_under(endpoint, &headers).await
    }

    /// One call, within what may be done.
    async fn send_under<E: Endpoint>(
        &mut self,
        endpoint: &(impl Fn() -> E + Sync),
        headers: &Headers,
    ) -> Result<Reply, Trouble> {
        let now = Instant::now();
        if let Some(until) = self.not_before.filter(|until| *until > now) {
            return Err(Trouble::Waiting(until - now));
        }
        self.budget.take(now - self.began).map_err(Trouble::Spent)?;
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None => make_transport(self.address.clone()).await?,
        };
        let reply = transport.call(endpoint(), headers).await;
        // Where TLS fails, the file with the authorities may have changed: it is read again.
        if !matches!(reply, Err(Trouble::Silent(Silence::Tls))) {
            self.transport = Some(transport);
        }
        let reply = reply?;
        if matches!(reply.status.as_u16(), 429 | 503) {
            self.not_before = reply.retry_after.map(|wait| Instant::now() + wait);
        }
        Ok(reply)
    }
}

impl Token {
    fn new(secret: Secret, lease: Lease, can_login: bool, file: Option<FileId>) -> Self {
        let mut token = Self { secret, lease, ends: None, due: None, file };
        token.plan(can_login);
        token
    }

    /// Counts its life from now.
    fn plan(&mut self, can_login: bool) {
        let now = Instant::now();
        let is_endless = self.lease.ttl.is_zero();
        self.ends = (!is_endless).then(|| now + self.lease.ttl);
        let next = self.lease.next(can_login, rand::random_range(0.0..1.0));
        self.due = next.map(|(after, step)| (now + after, step));
    }
}

/// The answer, where its status means something to whoever asked (good, bad request, forbidden,
/// not there), and otherwise what is wrong with the server.
fn good_or_known(reply: Reply) -> Result<Reply, Trouble> {
    let phrase = answers::phrase(&reply.body);
    Err(match reply.status.as_u16() {
        200..=299 | 400 | 403 | 404 => return Ok(reply),
        status @ 300..=399 => Trouble::Elsewhere(status),
        429 => Trouble::TooMany,
        _ if phrase == Phrase::Sealed => Trouble::Sealed,
        _ if phrase == Phrase::NotActive => Trouble::Standby,
        503 => Trouble::NotInService,
        472 | 473 => Trouble::Standby,
        status => Trouble::Status(status),
    })
}

/// Reading the file with the authorities may block.
async fn make_transport(address: Address) -> Result<Transport, Trouble> {
    tokio::task::spawn_blocking(move || Transport::new(&address))
        .await
        .unwrap_or(Err(Trouble::Defect))
}

/// What a file is now, if it is there.
pub(crate) async fn identity(path: PathBuf) -> Option<FileId> {
    let look = move || rustix::fs::stat(&path).ok().map(|stat| FileId::of(&stat));
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// What a login is made with, from its file, and which file that was.
async fn text_secret(path: &Path) -> Result<(Secret, FileId), Trouble> {
    let file = path.to_owned();
    let read = move || {
        let opened = files::open(CWD, &file, Links::Follow)?;
        let id = opened.id();
        Ok((opened.versions()?.current, id))
    };
    let failed = |reason: String| Trouble::Credential { file: path.to_owned(), reason };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(FileError::Missing)) => Err(failed("it is not there".into())),
        Ok(Err(FileError::Malformed(reason))) => Err(failed(reason.to_string())),
        Ok(Err(FileError::Io(_))) => Err(failed("it cannot be read".into())),
        Err(_) => Err(Trouble::Defect),
    }
}

async fn text(path: &Path) -> Result<(String, FileId), Trouble> {
    let (secret, id) = text_secret(path).await?;
    let text = secret.text().map_err(|reason| Trouble::Credential {
        file: path.to_owned(),
        reason: reason.to_string(),
    })?;
    Ok((text.trim_end().to_owned(), id))
}
