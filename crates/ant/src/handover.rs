//! Files of the home that a tool is to send, brought to routd beside the harness.
//!
//! Whatever the harness, its tools are routd's; a file is opened here, with the agent's own rights, beneath the home
//! and along no link. So routd follows no path that an agent laid out, and a run in a container or on another machine
//! is served alike.

use crate::beneath::Beneath;
use crate::link::Link;
use proto::turn::{WantedAsk, WantedFile};
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long one call waits for a file to be wanted.
const WAIT_SECONDS: u32 = 25;
/// How long to wait where a call was not answered.
const PAUSE: Duration = Duration::from_secs(1);
/// Files that are brought at a time.
const BESIDE: usize = 4;

/// Brings what is wanted, until this is dropped. A routd that wants no files is left alone.
pub(crate) async fn serve(link: &Link, home: &Path, attempt: u32) -> Infallible {
    let mut after = 0;
    let mut bringing = JoinSet::new();
    loop {
        let ask = WantedAsk { attempt, after, wait_seconds: WAIT_SECONDS };
        match link.wanted(&ask).await {
            Ok(Some(wanted)) => {
                for file in wanted.files {
                    after = after.max(file.id);
                    while bringing.len() >= BESIDE {
                        bringing.join_next().await;
                    }
                    let (link, home) = (link.clone(), home.to_owned());
                    bringing.spawn(async move { bring(&link, &home, file).await });
                }
            }
            Ok(None) => tokio::time::sleep(PAUSE).await,
            Err(_) => return std::future::pending().await,
        }
        while bringing.try_join_next().is_some() {}
    }
}

async fn bring(link: &Link, home: &Path, wanted: WantedFile) {
    let WantedFile { id, path, max_bytes } = wanted;
    match open(home, &path, max_bytes) {
        Ok((file, size)) => link.bring(id, file, size).await,
        Err(reason) => link.no_file(id, reason).await,
    }
}

/// Opens a file of the home. A whole path is understood where it leads into the home.
fn open(home: &Path, path: &str, max_bytes: u64) -> Result<(std::fs::File, u64), String> {
    let below = match Path::new(path).strip_prefix(home) {
        Ok(below) => below.to_str().unwrap_or_default(),
        Err(_) => path,
    };
    let opened =
        Beneath::open(home).and_then(|home| home.file(below)).map_err(|error| told(&error))?;
    let (file, size) = opened.ok_or("there is no such file in the home")?;
    match size > max_bytes {
        true => Err(format!("it has {size} bytes, and {max_bytes} are the most that may be sent")),
        false => Ok((file, size)),
    }
}

/// Why it cannot be opened, for the agent.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "it may not be read".into(),
        io::ErrorKind::InvalidInput => error.to_string(),
        _ => "it is no ordinary file of the home, or a link is on the way to it".into(),
    }
}
