//! `arizuko secrets rotate`, `forget` and `rekey`.

use super::parse;
use crate::{
    failure::Failure,
    instance::{Environment, Instance},
    issued,
    output::{Output, table},
    rotation::{Forgotten, Rotated, Rotation},
    session::Session,
};
use proto::{
    Daemon,
    authd::{self, Rekey},
    kit::DatabaseKey,
    routd,
};
use secrets::seal::SECRETS_KEY;
use serde::Serialize;

pub(super) async fn rotate(
    instance: &Instance,
    environment: &Environment,
    name: &str,
    leaked: bool,
    output: Output,
) -> Result<(), Failure> {
    let name = &issued::parse(name)?;
    let rotated = Rotation { instance, environment, name, output }.rotate(leaked).await?;
    output.print(&rotated, rotated_text)
}

fn rotated_text(of: &Rotated) -> String {
    let (name, place) = (&of.secret, &of.place);
    let previous = name.previous();
    if of.daemons.is_empty() {
        let old = match of.leaked {
            true => format!("{previous} is not kept"),
            false => format!("the old value stands beside it as {previous}, for one overlap"),
        };
        return format!("{name} is new in {place}, and in use by nothing that runs; {old}");
    }
    let first = format!("{name} is new in {place}, and in use by {}", listed(&of.daemons));
    let second = match (of.leaked, of.previous_accepted_until) {
        (true, _) if *name == SECRETS_KEY => {
            "the old value opens no database; everything is sealed anew, and every token ended"
                .into()
        }
        (true, _) => "the old value is refused everywhere, and what was made with it".into(),
        (false, Some(until)) => format!(
            "the old value is accepted until {until}, also after a restart; {previous} is removed then"
        ),
        (false, None) => format!("the old value is accepted no more; {previous} is removed soon"),
    };
    format!("{first}\n{second}")
}

fn listed(daemons: &[Daemon]) -> String {
    daemons.iter().map(|daemon| daemon.name()).collect::<Vec<_>>().join(", ")
}

pub(super) async fn forget(
    instance: &Instance,
    environment: &Environment,
    name: &str,
    output: Output,
) -> Result<(), Failure> {
    let name = &parse(name)?;
    let forgotten = Rotation { instance, environment, name, output }.forget().await?;
    output.print(&forgotten, forgotten_text)
}

fn forgotten_text(of: &Forgotten) -> String {
    let name = &of.secret;
    let previous = name.previous();
    let first = match of.daemons.as_slice() {
        [] => format!("nothing runs, so there was nobody to forget earlier values of {name}"),
        daemons => {
            format!("earlier values of {name} are accepted no more by {}", listed(daemons))
        }
    };
    match (&of.previous_stays, of.removed_previous) {
        (Some(why), _) => format!(
            "{first}\n{previous} still stands, and counts again after a restart; remove it: {why}"
        ),
        (None, true) => format!("{first}\n{previous} is removed"),
        (None, false) => first,
    }
}

/// The answer of `rekey`.
#[derive(Serialize)]
struct Rekeyed {
    databases: Vec<DatabaseKey>,
}

pub(super) async fn rekey(instance: &Instance, output: Output) -> Result<(), Failure> {
    let session = Session::begin(instance).await?;
    let (authd, routd) = (session.peer(Daemon::Authd), session.peer(Daemon::Routd));
    let how = Rekey { leaked: false };
    authd.call(&authd::REKEY, &how).await?;
    let kept = authd.call(&authd::DATABASE_KEY, &proto::Nothing {}).await?;
    let done = format!("{} has a new key; asking routd", kept.database);
    output.note(&done);
    let rekeyed = Rekeyed { databases: vec![kept, routd.call(&routd::REKEY, &how).await?] };
    output.print(&rekeyed, |rekeyed| {
        let row = |of: &DatabaseKey| {
            let done = "sealed anew under a new key; tokens and links stay good".to_owned();
            vec![of.database.clone(), done, of.opened_by.join(", ")]
        };
        let rows: Vec<_> = rekeyed.databases.iter().map(row).collect();
        table(&["DATABASE", "DONE", "OPENED BY SECRETS_KEY"], &rows)
    })
}
