//! Files that came with the messages of a turn, put into the home before the harness hears of them.
//!
//! The prompt names the path of each. One that cannot be had is said in the prompt, and the turn goes on. What came
//! with earlier turns stays, the oldest making room for the newest.

use crate::beneath::Beneath;
use crate::link::{Given, Link};
use crate::progress::Progress;
use crate::retry::Pauses;
use proto::turn::{Steered, TurnFile, TurnInput};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

/// How long all files of a turn may take, so that the turn has time left.
const ALL: Duration = Duration::from_secs(120);
/// How long an adapter that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may come in the middle of a file.
const PIECE: Duration = Duration::from_secs(30);

/// Where files go, and how many bytes they may have.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    home: PathBuf,
    each: u64,
    all: u64,
}

impl Inbox {
    /// As the turn says.
    pub fn of(home: &Path, input: &TurnInput) -> Self {
        Self { home: home.to_owned(), each: input.file_max_bytes, all: input.files_max_bytes }
    }

    /// Fetches the files of a turn's input, and says in its prompts which cannot be had.
    pub async fn fill(
        &self,
        link: &Link,
        mut input: TurnInput,
        work: Instant,
        progress: &Progress,
    ) -> TurnInput {
        let missing = self.fetch(link, &input.files, work, Some(progress)).await;
        input.prompt.push_str(&missing);
        if let Some(anew) = &mut input.prompt_anew {
            anew.push_str(&missing);
        }
        input
    }

    /// The same for messages that came later.
    pub async fn fill_later(&self, link: &Link, steered: &mut Steered) {
        let missing = self.fetch(link, &steered.files, Instant::now() + ALL, None).await;
        steered.prompt.push_str(&missing);
    }

    async fn fetch(
        &self,
        link: &Link,
        files: &[TurnFile],
        work: Instant,
        progress: Option<&Progress>,
    ) -> String {
        let limit = work.min(Instant::now() + ALL);
        let mut missing = String::new();
        for file in files {
            if let Some(progress) = progress {
                progress.tell("fetching a file");
            }
            let fetched = match timeout_at(limit, self.one(link, file)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(Missing::Late),
            };
            if let Err(why) = fetched {
                tracing::warn!(path = file.path, %why, "a file cannot be had");
                missing.push_str(&format!("{}: {why}\n", file.path));
            }
        }
        match missing.is_empty() {
            true => missing,
            false => format!("<missing-files>\n{missing}</missing-files>\n"),
        }
    }

    async fn one(&self, link: &Link, file: &TurnFile) -> Result<(), Missing> {
        if file.size.is_some_and(|size| size > self.each) {
            return Err(Missing::TooLarge(self.each));
        }
        let mut pauses = Pauses::until(Instant::now() + PATIENCE);
        loop {
            match self.attempt(link, file).await {
                Err(Missing::Away) if pauses.pause().await => {}
                done => return done,
            }
        }
    }

    async fn attempt(&self, link: &Link, file: &TurnFile) -> Result<(), Missing> {
        let mut answer = match link.file(file.id.as_str()).await {
            Given::File(answer) => answer,
            Given::Gone => return Err(Missing::Gone),
            Given::TooLarge => return Err(Missing::TooLarge(self.each)),
            Given::Away => return Err(Missing::Away),
        };
        let (way, name) = file.path.rsplit_once('/').unwrap_or((".", &file.path));
        let place = Beneath::open(&self.home)?.make(way)?;
        let size = answer.content_length().or(file.size).unwrap_or(self.each).min(self.each);
        place.make_room(self.all.saturating_sub(size))?;
        let mut new = tokio::fs::File::from_std(place.begin(name)?);
        let mut left = self.each;
        loop {
            let piece = match tokio::time::timeout(PIECE, answer.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(_)) | Err(_) => {
                    place.give_up(name)?;
                    return Err(Missing::Away);
                }
            };
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                place.give_up(name)?;
                return Err(Missing::TooLarge(self.each));
            };
            left = rest;
            new.write_all(&piece).await?;
        }
        new.flush().await?;
        Ok(place.finish(name)?)
    }
}

/// Why a file is not in the home.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("it is there no more")]
    Gone,
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("it could not be fetched")]
    Away,
    #[error("it could not be fetched in time")]
    Late,
    #[error("it could not be written into the home")]
    Home(#[from] io::Error),
}
