//! `arizuko keys`: the keys that sign tokens.

use crate::{
    cli::Keys,
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use proto::{
    Daemon, Nothing,
    authd::{ROTATE_KEYS, SIGNING_KEYS, SigningKeys},
};

pub(super) async fn run(instance: &Instance, what: Keys, output: Output) -> Result<(), Failure> {
    let authd = Session::begin(instance).await?.peer(Daemon::Authd);
    match what {
        Keys::List => {
            let keys = authd.call(&SIGNING_KEYS, &Nothing {}).await?;
            output.print(&keys, rows)
        }
        Keys::Rotate => {
            let keys = authd.call(&ROTATE_KEYS, &Nothing {}).await?;
            output.print(&keys, |keys| {
                let next = keys.keys.iter().any(|key| key.state == "pending");
                let said = match next {
                    true => {
                        "the pending key signs five minutes after it was published; tokens go on"
                    }
                    false => "no key is waiting: a rotation has just ended",
                };
                format!("{}\n{said}", rows(keys))
            })
        }
    }
}

fn rows(keys: &SigningKeys) -> String {
    let row = |key: &proto::authd::SigningKey| {
        vec![key.kid.clone(), key.state.clone(), key.since.to_string()]
    };
    table(&["KEY", "STATE", "SINCE"], &keys.keys.iter().map(row).collect::<Vec<_>>())
}
