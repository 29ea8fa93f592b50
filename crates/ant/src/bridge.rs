//! The turn's socket on 127.0.0.1, for clients that speak TCP only.
//!
//! There is no credential on that port, so it exists only in a network namespace that this run has
//! for itself; the one who made the namespace says so with `--bridge`.

use crate::retry::Pauses;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections at a time; more wait to be taken.
const CONNECTIONS: usize = 64;
/// How long a new connection waits for routd, which may be restarting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener on 127.0.0.1 whose connections go to the socket.
#[derive(Debug)]
pub(crate) struct Bridge {
    listener: TcpListener,
    port: u16,
    socket: PathBuf,
}

impl Bridge {
    pub async fn open(socket: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, socket: socket.to_owned() })
    }

    /// Where a client finds what the socket serves: the tools below it, and the model.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Carries connections until it is dropped, with all of them; returns only what broke it.
    pub async fn serve(self) -> io::Error {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS => match accepted {
                    Ok((client, _)) => {
                        open.spawn(carry(client, self.socket.clone()));
                    }
                    // That client went away before it was taken; the others are fine.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return error,
                },
                Some(_) = open.join_next() => {}
            }
        }
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf) {
    let mut pauses = Pauses::until(Instant::now() + PATIENCE);
    let mut server = loop {
        match UnixStream::connect(&socket).await {
            Ok(server) => break server,
            Err(error) if !pauses.pause().await => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no way to routd");
                return;
            }
            Err(_) => {}
        }
    };
    // Either side may close as it likes; the client sees it as a closed connection.
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
    }
}
