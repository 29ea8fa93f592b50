//! This process's own standard output and error, which are the run's log.
//!
//! A log that nobody reads blocks the one who writes it. So it is written by a thread of its own:
//! the deadline and SIGTERM go on working, and a thread that hangs does not keep a process alive.

use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Pieces that may wait to be written; a piece has at most a few KiB.
const WAITING: usize = 64;
/// How long the last pieces may take.
const LAST: Duration = Duration::from_secs(1);

/// A writer of one of the two streams.
#[derive(Debug)]
pub(crate) struct Output {
    pieces: mpsc::Sender<Vec<u8>>,
    done: oneshot::Receiver<()>,
}

impl Output {
    pub fn error() -> io::Result<Self> {
        Self::start(io::stderr())
    }

    pub fn standard() -> io::Result<Self> {
        Self::start(io::stdout())
    }

    fn start(mut stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (finished, done) = oneshot::channel();
        std::thread::Builder::new().name("output".into()).spawn(move || {
            while let Some(piece) = waiting.blocking_recv() {
                if stream.write_all(&piece).and_then(|()| stream.flush()).is_err() {
                    // Nobody will ever read it; what is sent from now on is refused.
                    return;
                }
            }
            // Nobody waits any more when this fails.
            finished.send(()).ok();
        })?;
        Ok(Self { pieces, done })
    }

    /// Writes a piece, waiting for the reader; false when there is no reader any more.
    pub async fn write(&self, piece: Vec<u8>) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits, for a moment, until everything is written.
    pub async fn close(self) {
        drop(self.pieces);
        if tokio::time::timeout(LAST, self.done).await.is_err() {
            tracing::debug!("the last of the output was not read in time");
        }
    }
}
