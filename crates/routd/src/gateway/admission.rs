//! Whether a request may be sent, under whose key, and what is set aside for it: one transaction.

use super::{
    Call,
    budget::{self, Unpriced, Wish},
    key::Kind as KeyKind,
    meter::Tokens,
    price::Price,
    refusal::{Kind, Refusal},
};
use crate::{
    app::App,
    attempt::Attempt,
    fault::Fault,
    record::record,
    rights::Rights,
    store::{
        messages, tenant_secrets,
        turns::Turn,
        usage::{self, Ended, NewUsage},
    },
    tenant,
};
use db::{Database, Tx};
use kit::{Clock, Tasks};
use proto::routd::{Owner, TenantSecret};
use secrets::{Secret, seal::DataKey};
use std::sync::Arc;

/// A key that may be spent.
#[derive(Debug)]
pub(super) enum Key {
    /// The instance's, asked for when it is presented.
    Instance(KeyKind),
    /// A person's or the folder's.
    Tenant(TenantKey),
}

/// A person's or a folder's key, as it was at one moment.
#[derive(Debug)]
pub(super) struct TenantKey {
    pub(super) kind: KeyKind,
    pub(super) row: TenantSecret,
    pub(super) secret: Arc<Secret>,
}

/// A request that may be sent.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) key: Key,
    /// Its row, where it costs something.
    pub(super) open: Option<Open>,
    /// Whether the folder may have the vendor reach a network, so that the body is passed on as it came.
    pub(super) whole: bool,
}

/// Admits a request.
pub(super) async fn admit(
    app: &Arc<App>,
    attempt: &Attempt,
    call: &Call<'_>,
) -> Result<Admitted, Refusal> {
    let price = call.asked.as_ref().and_then(|asked| app.gateway.prices.of(&asked.model)).copied();
    let plan = Plan {
        kinds: KeyKind::of(call.request.vendor),
        instance: app.gateway.keys.first(call.request.vendor).map(|(kind, _)| kind),
        vendor: call.request.vendor.name(),
        spends: call.operation.spends(),
        model: call.asked.as_ref().map(|asked| asked.model.clone()).unwrap_or_default(),
        at_most: call.asked.as_ref().map(|asked| asked.at_most).unwrap_or_default(),
        guess: call.asked.as_ref().map(|asked| asked.guess).unwrap_or_default(),
        unpriced: app.settings.unpriced,
        beyond: call.asked.as_ref().and_then(|asked| asked.beyond.clone()),
        asks_more: call
            .asked
            .as_ref()
            .is_some_and(|asked| asked.beyond.is_some() || asked.trimmed.is_some()),
        price,
    };
    let (tell, told) = tokio::sync::oneshot::channel();
    let (held, attempt) = (app.clone(), attempt.clone());
    // By itself, because a client may go away while the row is written: then what comes of it is dropped, and its row
    // closed.
    app.context.tasks.spawn("model admission", async move {
        drop(tell.send(decide(&held, attempt, plan).await));
    });
    told.await.unwrap_or_else(|_| Err(Refusal::new(Kind::Over, "routd is stopping")))
}

async fn decide(app: &App, attempt: Attempt, plan: Plan) -> Result<Admitted, Refusal> {
    let (now, guess, price) = (app.now(), plan.guess, plan.price);
    let decided = app.keyring.write("model", move |tx, data_key| {
        let turn = attempt.current(tx)?;
        let whole = plan.asks_more && Rights::of(tx, &turn.folder)?.may_egress(&turn.folder);
        // As with secrets: whoever wrote alone is who it is for.
        let person = messages::writer_of_turn(tx, &turn.id)?.unwrap_or_default();
        if let Err(refusal) = plan.may(tx, &turn, &person, whole, now)? {
            return Ok(Err(refusal));
        }
        let Some((key, owner)) = plan.key(tx, data_key, &turn)? else {
            return Ok(Err(plan.no_key()));
        };
        if let Key::Tenant(TenantKey { row, .. }) = &key {
            tenant_secrets::used(tx, row.id.as_str(), now)?;
            let target = format!("{} {}", row.owner, row.name);
            let actor = format!("folder:{}", turn.folder);
            let detail = format!("{} in {}", plan.vendor, turn.id);
            record(tx, now, &actor, "tenant-secret.use", &target, &detail)?;
        }
        let row = match plan.spends {
            true => Some(plan.begin(tx, &turn, &person, &owner, now)?),
            false => None,
        };
        Ok(Ok((key, row, whole)))
    });
    let (key, row, whole) = decided.await??;
    let open = row.map(|row| Open {
        database: app.db.clone(),
        tasks: app.context.tasks.clone(),
        clock: app.context.clock.clone(),
        row: Some(row),
        guess,
        price,
    });
    Ok(Admitted { key, open, whole })
}

/// A person's or the folder's key, as it is now.
pub(super) async fn tenant_key(
    app: &Arc<App>,
    attempt: &Attempt,
    kinds: &'static [KeyKind],
) -> Result<Option<TenantKey>, Fault> {
    let attempt = attempt.clone();
    let found = app.keyring.read(move |conn, data_key| {
        let turn = attempt.current(conn)?;
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        tenant::first_of_turn(conn, data_key, &turn, &names)
    });
    Ok(found.await?.and_then(|found| of_kind(kinds, found)))
}

fn of_kind(kinds: &[KeyKind], (row, secret): (TenantSecret, Secret)) -> Option<TenantKey> {
    let kind = kinds.iter().copied().find(|kind| kind.name() == row.name)?;
    Some(TenantKey { kind, row, secret: Arc::new(secret) })
}

/// What a request would do.
struct Plan {
    kinds: &'static [KeyKind],
    /// Which key the instance has.
    instance: Option<KeyKind>,
    vendor: &'static str,
    spends: bool,
    model: String,
    /// What it may come to at most.
    at_most: Tokens,
    /// What it is guessed to read.
    guess: Tokens,
    unpriced: Unpriced,
    beyond: Option<String>,
    /// Whether anything of it depends on the right `egress`.
    asks_more: bool,
    price: Option<Price>,
}

impl Plan {
    /// What it may cost at most.
    fn cost(&self) -> Option<u64> {
        self.price.map(|price| price.at_most(&self.at_most))
    }

    /// Whether the folder may do it.
    fn may(
        &self,
        tx: &Tx<'_>,
        turn: &Turn,
        person: &str,
        whole: bool,
        now: proto::Timestamp,
    ) -> Result<Result<(), Refusal>, Fault> {
        if let Some(what) = self.beyond.as_ref().filter(|_| !whole) {
            let text = format!(
                "{what} needs the right `egress` on the folder {}, which it has not",
                turn.folder
            );
            return Ok(Err(Refusal::new(Kind::Forbidden, text)));
        }
        if self.spends {
            let wish = Wish {
                model: &self.model,
                tokens: self.at_most.all_input().saturating_add(self.at_most.output),
                micro_dollars: self.cost(),
                unpriced: self.unpriced,
            };
            if let Err(refusal) = budget::check_price(&wish) {
                return Ok(Err(refusal));
            }
            for standing in usage::caps_over(tx, &turn.folder, person, now)? {
                if let Err(refusal) = budget::check(&standing, &wish) {
                    return Ok(Err(refusal));
                }
            }
        }
        Ok(Ok(()))
    }

    /// The person's own key, else the folder's, else the instance's; and whose it is.
    fn key(
        &self,
        tx: &Tx<'_>,
        data_key: &DataKey,
        turn: &Turn,
    ) -> Result<Option<(Key, String)>, Fault> {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let found = tenant::first_of_turn(tx, data_key, turn, &names)?;
        if let Some(key) = found.and_then(|found| of_kind(self.kinds, found)) {
            let owner = key.row.owner.to_string();
            return Ok(Some((Key::Tenant(key), owner)));
        }
        Ok(self.instance.map(|kind| (Key::Instance(kind), "instance".to_owned())))
    }

    fn no_key(&self) -> Refusal {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let text = format!(
            "there is no key for {}: the operator sets {}",
            self.vendor,
            names.join(" or ")
        );
        Refusal::new(Kind::Key, text)
    }

    fn begin(
        &self,
        tx: &Tx<'_>,
        turn: &Turn,
        person: &str,
        owner: &str,
        now: proto::Timestamp,
    ) -> Result<i64, Fault> {
        let new = NewUsage {
            turn_id: &turn.id,
            attempt: turn.standing.attempt,
            folder: &turn.folder,
            person,
            vendor: self.vendor,
            model: &self.model,
            key_owner: owner,
            at_most: &self.at_most,
            micro_dollars: self.cost(),
        };
        Ok(usage::begin(tx, &new, now)?)
    }
}

/// A request's row while it is open. Dropped, it is closed with what is known by then.
pub(super) struct Open {
    database: Database,
    tasks: Tasks,
    clock: Clock,
    /// Taken when it is closed.
    row: Option<i64>,
    guess: Tokens,
    price: Option<Price>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({:?})", self.row)
    }
}

impl Open {
    /// What it is guessed to read, where the model does not come to say it.
    pub(super) const fn guess(&self) -> &Tokens {
        &self.guess
    }

    /// Nothing was used.
    pub(super) async fn failed(self) {
        self.close(Ended::Failed, Tokens::default()).await;
    }

    /// Writes what it came to.
    pub(super) async fn close(mut self, how: Ended, tokens: Tokens) {
        if let Some(write) = self.write(how, tokens) {
            write.await;
        }
    }

    /// The same, where nobody can wait for it.
    pub(super) fn close_soon(mut self, how: Ended, tokens: Tokens) {
        self.spawn(how, tokens);
    }

    fn spawn(&mut self, how: Ended, tokens: Tokens) {
        // Without a runtime the process is ending; the next start closes the row.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        if let Some(write) = self.write(how, tokens) {
            self.tasks.spawn("model usage", write);
        }
    }

    fn write(
        &mut self,
        how: Ended,
        tokens: Tokens,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let row = self.row.take()?;
        let cost = self.price.map(|price| price.of(&tokens));
        let (database, now) = (self.database.clone(), self.clock.now());
        Some(async move {
            let write = move |tx: &Tx<'_>| usage::end(tx, row, how, &tokens, cost, now);
            if let Err(error) = database.write("model.usage", write).await {
                // What was set aside stands, which is more and not less.
                tracing::error!(error = %kit::chain(&error), "what a model used could not be written");
            }
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Given up before an answer began: whether the model has read it is not known, so its input counts.
        self.spawn(Ended::Cut, self.guess);
    }
}

/// Whose key it is, for the log.
pub(super) fn name_of(key: &TenantKey) -> (&Owner, &str) {
    (&key.row.owner, &key.row.name)
}
