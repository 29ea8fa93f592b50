//! A wire between webd and routd that can be cut and mended, as when routd restarts.

use std::net::SocketAddr;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub struct Wire {
    pub address: SocketAddr,
    target: SocketAddr,
    cut: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl Wire {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut wire = Self { address: listener.local_addr().unwrap(), target, cut: None };
        wire.carry(listener);
        wire
    }

    fn carry(&mut self, listener: TcpListener) {
        let (stop, target) = (CancellationToken::new(), self.target);
        let until = stop.clone();
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    () = until.cancelled() => break,
                    Ok((mut near, _)) = listener.accept() => {
                        open.spawn(async move {
                            let Ok(mut far) = TcpStream::connect(target).await else { return };
                            // Either end may vanish; that is what this is for.
                            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                        });
                    }
                }
            }
            open.shutdown().await;
        });
        self.cut = Some((stop, task));
    }

    /// Breaks every connection, and refuses new ones.
    pub async fn cut(&mut self) {
        if let Some((stop, task)) = self.cut.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// Breaks every connection, and takes new ones only to break them at once: whoever calls then
    /// does not know what became of the call. Tells when one has been broken so.
    pub async fn swallow(&mut self) -> CancellationToken {
        self.cut().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (stop, swallowed) = (CancellationToken::new(), CancellationToken::new());
        let (until, first) = (stop.clone(), swallowed.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = until.cancelled() => return,
                    Ok((mut near, _)) = listener.accept() => {
                        near.read_u8().await.ok();
                        drop(near);
                        first.cancel();
                    }
                }
            }
        });
        self.cut = Some((stop, task));
        swallowed
    }

    /// Carries again, under the same address.
    pub async fn mend(&mut self) {
        self.cut().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carry(listener);
    }
}
