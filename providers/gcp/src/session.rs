//! Calls with a token that is alive: getting one, replacing it, and what a refusal leads to.

use crate::{
    address::Address,
    answers::good_or_known,
    lease::replace_after,
    line::Line,
    login::login,
    transport::{Reply, Request},
    trouble::Trouble,
};
use secrets::Secret;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

/// A refused token is replaced at most this often: something else may be what is wrong.
const LOGIN_SPACING: Duration = Duration::from_secs(10);

/// Before a call is made once more, at most this long.
const PAUSE: Duration = Duration::from_millis(300);

/// The longest wait before another attempt at replacing a token that is still good.
const REPLACEMENT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A line, and the token that is shown on it.
pub(crate) struct Session {
    address: Arc<Address>,
    line: Line,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    held: Option<Token>,
    /// When a token was last asked for because one was refused.
    last_refusal: Option<Instant>,
}

struct Token {
    secret: Arc<Secret>,
    ends: Instant,
    due: Instant,
}

impl Session {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        let line = Line::new(address.clone(), address.calls_per_hour);
        Self { address, line, tokens: Mutex::default() }
    }

    /// Makes a call with a token that is alive. What is wrong with the server is told apart; a
    /// refusal is an answer.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Trouble> {
        self.call_on(&self.line, request).await
    }

    /// As [`Session::call`], and once more where the failure may be a passing one. For reads.
    pub(crate) async fn read<T>(
        &self,
        request: &Request,
        parse: impl Fn(Reply) -> Result<T, Trouble> + Send + Sync,
    ) -> Result<T, Trouble> {
        match self.call(request).await.and_then(&parse) {
            Err(trouble) if trouble.is_passing() => {
                sleep(PAUSE.mul_f64(rand::random_range(0.3..1.0))).await;
                self.call(request).await.and_then(&parse)
            }
            first => first,
        }
    }

    /// As [`Session::call`], on a line with a budget of its own.
    pub(crate) async fn call_on(&self, line: &Line, request: &Request) -> Result<Reply, Trouble> {
        let token = self.token().await?;
        let reply = line.send(request, Some(&token)).await?;
        if reply.status != 401 {
            return good_or_known(reply);
        }
        // It may have been revoked, or its end come sooner than was said.
        match self.another(&token).await? {
            Some(token) => good_or_known(line.send(request, Some(&token)).await?),
            None => good_or_known(reply),
        }
    }

    /// A token that is alive; one login for all who ask.
    async fn token(&self) -> Result<Arc<Secret>, Trouble> {
        let mut tokens = self.tokens.lock().await;
        let now = Instant::now();
        let Some(held) = &mut tokens.held else { return self.login(&mut tokens).await };
        if now < held.due {
            return Ok(held.secret.clone());
        }
        let (secret, left) = (held.secret.clone(), held.ends.saturating_duration_since(now));
        // Whatever comes of the attempt, also where it is given up, the next is not at once.
        held.due = now + (left / 4).min(REPLACEMENT_PAUSE_MAX);
        match self.login(&mut tokens).await {
            // It is good for a while yet.
            Err(_) if !left.is_zero() => Ok(secret),
            outcome => outcome,
        }
    }

    /// Another token than `refused`; `None` where that was tried a moment ago.
    async fn another(&self, refused: &Arc<Secret>) -> Result<Option<Arc<Secret>>, Trouble> {
        let mut tokens = self.tokens.lock().await;
        match &tokens.held {
            Some(held) if !Arc::ptr_eq(&held.secret, refused) => {
                return Ok(Some(held.secret.clone()));
            }
            _ if tokens.last_refusal.is_some_and(|at| at.elapsed() < LOGIN_SPACING) => {
                return Ok(None);
            }
            _ => {}
        }
        tokens.held = None;
        tokens.last_refusal = Some(Instant::now());
        self.login(&mut tokens).await.map(Some)
    }

    async fn login(&self, tokens: &mut MutexGuard<'_, Tokens>) -> Result<Arc<Secret>, Trouble> {
        let (secret, life) = login(&self.address, &self.line).await?;
        let (secret, now) = (Arc::new(secret), Instant::now());
        let due = now + replace_after(life, rand::random_range(0.0..1.0));
        tokens.held = Some(Token { secret: secret.clone(), ends: now + life, due });
        Ok(secret)
    }
}
