//! What the stories share: bundles, and a keeper over scripted sources.

use secrets::{
    Bundle, KeeperHandle, Malformed, Name, Need, Policy, Role, SecretSource, Secrets, Values,
    Watched,
    testing::{ScriptedSource, keep, policy},
};
use std::{sync::Arc, time::Duration};

pub const USER: Name = Name::literal("USER");
pub const PASSWORD: Name = Name::literal("PASSWORD");
pub const KEY: Name = Name::literal("KEY");
pub const EXTRA: Name = Name::literal("EXTRA");

/// Two names that belong together.
pub static PAIR: Bundle<String> = Bundle {
    needs: &[Need::required(USER, "who"), Need::required(PASSWORD, "the proof")],
    role: Role::Checks,
    parse: |values| {
        let (user, password) = (text(values, &USER)?, text(values, &PASSWORD)?);
        if password.starts_with("bad") {
            return Err(Malformed::because("the password is not of the right shape"));
        }
        Ok(format!("{user}:{password}"))
    },
};

/// One name.
pub static ONE: Bundle<String> = Bundle {
    needs: &[Need::required(KEY, "opens the door")],
    role: Role::Checks,
    parse: |values| {
        let key = text(values, &KEY)?;
        assert!(!key.starts_with("panic"), "a defect in a parser");
        if key.starts_with("bad") {
            return Err(Malformed::because("the key is not of the right shape"));
        }
        Ok(key)
    },
};

/// One name that is needed, and one that may be there.
pub static WITH_EXTRA: Bundle<String> = Bundle {
    needs: &[Need::required(KEY, "opens the door"), Need::optional(EXTRA, "opens the window")],
    role: Role::Checks,
    parse: |values| {
        let extra = values.get(&EXTRA).map_or(Ok("-"), |extra| extra.text())?;
        Ok(format!("{}/{extra}", text(values, &KEY)?))
    },
};

/// Names of which none is needed.
pub static ANY: Bundle<String> = Bundle {
    needs: &[Need::optional(KEY, "opens the door"), Need::optional(EXTRA, "opens the window")],
    role: Role::Presents,
    parse: |values| {
        let one = |name| values.get(name).map_or(Ok("-"), |secret| secret.text());
        Ok(format!("{}/{}", one(&KEY)?, one(&EXTRA)?))
    },
};

fn text(values: &Values<'_>, name: &Name) -> Result<String, Malformed> {
    Ok(values.require(name)?.text()?.to_owned())
}

/// A keeper over these sources, for one daemon.
pub fn keeping(chain: &[&ScriptedSource]) -> Secrets {
    handle(chain, policy()).for_daemon("routd")
}

pub fn handle(chain: &[&ScriptedSource], policy: Policy) -> KeeperHandle {
    let arc = |source: &&ScriptedSource| Arc::new((*source).clone()) as Arc<dyn SecretSource>;
    keep(chain.iter().map(arc).collect(), policy)
}

/// A source with a pair, kept, and the pair watched.
pub async fn with_pair() -> (ScriptedSource, Secrets, Watched<String>) {
    let source = ScriptedSource::default();
    source.set_silently([("USER", "ada"), ("PASSWORD", "pw-1")]);
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&PAIR).await.unwrap();
    (source, secrets, watched)
}

/// A source with a key, kept, and the key watched.
pub async fn with_key() -> (ScriptedSource, Secrets, Watched<String>) {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&ONE).await.unwrap();
    (source, secrets, watched)
}

pub fn accepted<T: AsRef<str> + Send + Sync + 'static>(watched: &Watched<T>) -> Vec<String> {
    watched.accepted().map(|value| (*value).as_ref().to_owned()).collect()
}

/// Waits for a generation, for at most two polls of the paused clock.
pub async fn reach<T: Send + Sync + 'static>(watched: &mut Watched<T>, generation: u64) {
    let limit = Duration::from_secs(70);
    let reached = tokio::time::timeout(limit, watched.reached(generation)).await;
    reached.unwrap_or_else(|_| panic!("generation {generation} is not reached: {watched:?}"));
}

/// Lets everything happen that would happen in this time of the paused clock.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
