//! The turn behind routd's listener, as a socket of this run alone.
//!
//! In a cluster the turn is at a TLS listener, whose certificate is known by its hash, and this pod says who it is with
//! the token that the kubelet gave it. Everything else of `ant` finds its turn at a Unix socket: so there is one, in a
//! private directory, and each connection to it is carried to the listener. The token is read anew for each, and never
//! leaves this module.

use crate::AntError;
use crate::options::Listener;
use crate::retry::Pauses;
use proto::turn::{ATTACH, SOCKET, TURN_PROTOCOL};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the socket's directory is made: an agent's root cannot be written, its temporary directory can.
const PLACE: &str = "/tmp";
/// Connections at a time; more wait to be taken.
const CONNECTIONS: usize = 64;
/// How long a new connection waits for routd, which may be restarting.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one try may take until the listener says yes or no.
const ATTACH_TIME: Duration = Duration::from_secs(20);
/// Bytes of the listener's answer at most, and of what the client says before it.
const HEAD_MAX: usize = 16 * 1024;

/// A Unix socket whose connections go to the listener. Its directory is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    directory: PathBuf,
    listener: UnixListener,
    way: Arc<Way>,
}

/// How to get to the listener.
struct Way {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    token_file: PathBuf,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Way({}:{})", self.host, self.port)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The pod's temporary directory goes with the pod in any case.
        let _left = std::fs::remove_dir_all(&self.directory).is_err();
    }
}

impl Door {
    /// Makes the socket. Nothing is connected yet.
    pub fn open(to: &Listener) -> Result<Self, AntError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let way = Arc::new(Way::to(to)?);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = Path::new(PLACE).join(format!("ant-{}-{next}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(AntError::Door)?;
        let listener = UnixListener::bind(directory.join(SOCKET)).map_err(AntError::Door)?;
        Ok(Self { directory, listener, way })
    }

    /// The directory with the socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Carries connections until it is dropped, with all of them; returns only what broke it.
    pub async fn serve(&self) -> io::Error {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS => match accepted {
                    Ok((client, _)) => {
                        let way = self.way.clone();
                        open.spawn(async move { way.carry(client).await });
                    }
                    Err(error) => return error,
                },
                Some(_) = open.join_next() => {}
            }
        }
    }
}

/// What the listener said to a connection.
enum Said {
    /// Go on.
    Yes(Box<TlsStream<TcpStream>>),
    /// An answer for the client, as it is.
    No(Vec<u8>),
}

impl Way {
    fn to(to: &Listener) -> Result<Self, AntError> {
        let unusable = || AntError::TurnUrl(to.url.clone());
        let url = reqwest::Url::parse(&to.url).map_err(|_| unusable())?;
        let host = url.host_str().filter(|_| url.scheme() == "https").ok_or_else(unusable)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| unusable())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = Pinned { certificate: to.certificate, provider: provider.clone() };
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AntError::Client(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        let (port, token_file) =
            (url.port_or_known_default().unwrap_or(443), to.token_file.clone());
        Ok(Self { host, port, name, tls: TlsConnector::from(Arc::new(tls)), token_file })
    }

    async fn carry(&self, mut client: UnixStream) {
        // What is asked comes first: a client does not expect an answer before it has asked.
        let mut asked = vec![0; HEAD_MAX];
        let Ok(length @ 1..) = client.read(&mut asked).await else { return };
        asked.truncate(length);
        let mut pauses = Pauses::until(Instant::now() + PATIENCE);
        let said = loop {
            match timeout(ATTACH_TIME, self.attach()).await {
                Ok(Ok(said)) => break said,
                Ok(Err(error)) if !pauses.pause().await => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no way to routd");
                    return;
                }
                Err(_) => return,
                Ok(Err(_)) => {}
            }
        };
        let carried = match said {
            Said::Yes(mut server) => {
                async {
                    server.write_all(&asked).await?;
                    server.flush().await?;
                    copy_bidirectional(&mut client, &mut server).await.map(drop)
                }
                .await
            }
            Said::No(answer) => client.write_all(&answer).await,
        };
        // Either side may close as it likes; the client sees it as a closed connection.
        if let Err(error) = carried {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
        }
    }

    /// Connects, and says who this is.
    async fn attach(&self) -> io::Result<Said> {
        let token = tokio::fs::read_to_string(&self.token_file).await?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let mut stream = self.tls.connect(self.name.clone(), stream).await?;
        let (host, token) = (&self.host, token.trim());
        let head = format!(
            "POST {ATTACH} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             connection: upgrade\r\nupgrade: {TURN_PROTOCOL}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if answer.len() > HEAD_MAX || stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
        let status = text.split(' ').nth(1).unwrap_or_default();
        if status == "101" {
            return Ok(Said::Yes(Box::new(stream)));
        }
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let length = length.unwrap_or(0_usize).min(HEAD_MAX);
        while answer.len() < end + length {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        let body = answer.get(end..).unwrap_or_default();
        let mut no = format!(
            "HTTP/1.1 {status} Refused\r\ncontent-type: application/problem+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        no.extend_from_slice(body);
        Ok(Said::No(no))
    }
}

/// Takes the one certificate that has this hash, whoever signed it and whatever name it has.
#[derive(Debug)]
struct Pinned {
    certificate: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match <[u8; 32]>::from(Sha256::digest(end_entity)) == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
