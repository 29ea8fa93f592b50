//! A wire between webd and routd that can be cut and mended, as when routd restarts.

use std::net::SocketAddr;
use tokio::{
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

    /// Carries again, under the same address.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carry(listener);
    }
}
