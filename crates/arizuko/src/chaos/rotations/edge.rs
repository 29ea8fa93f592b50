//! The edge's certificate: made, and seen by handshakes.

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use secrets::Secret;
use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// How long a handshake and one answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A certificate, the key to it, and how a client sees it.
pub struct Pair {
    /// The certificate, in PEM.
    pub cert: Secret,
    /// Its key, in PEM.
    pub key: Secret,
    /// The certificate as it is shown.
    pub der: Vec<u8>,
}

/// A new pair.
///
/// # Errors
/// In words.
pub fn make() -> Result<Pair, String> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.map_err(|error| error.to_string())?;
    let secret = |pem: String| Secret::new(pem.into_bytes()).map_err(|error| error.to_string());
    Ok(Pair {
        cert: secret(made.cert.pem())?,
        key: secret(made.signing_key.serialize_pem())?,
        der: made.cert.der().to_vec(),
    })
}

/// Makes one connection and one request; the certificate that was shown, with a signature made by its own key.
///
/// # Errors
/// The handshake failed, or the edge did not answer 200.
pub fn handshake(address: SocketAddr) -> io::Result<Vec<u8>> {
    let broken = |what: &str| io::Error::other(what.to_owned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyName(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut tls = Stream::new(&mut client, &mut stream);
    tls.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // The answer ends with the connection, cleanly or not.
    let _cut = tls.read_to_end(&mut answer).is_err();
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(broken(&format!("no 200: {}", String::from_utf8_lossy(&answer))));
    }
    let shown = client.peer_certificates().and_then(|chain| chain.first());
    shown.map(|shown| shown.to_vec()).ok_or_else(|| broken("no certificate was shown"))
}

/// Any certificate will do, if the handshake is signed with its key: two halves of different pairs are found.
struct AnyName(WebPkiSupportedAlgorithms);

impl fmt::Debug for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyName")
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
