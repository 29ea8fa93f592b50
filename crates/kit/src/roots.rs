//! Which certificates a client believes: those of the system, read when a connection first needs them.
//!
//! Between daemons it is plain HTTP mostly, and a system has some hundred and fifty roots, each a file: reading them at
//! every start costs more than all the rest of making a client, and would keep a daemon from starting where there are
//! none.

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;
use std::sync::{Arc, Mutex, PoisonError};

/// TLS as clients speak it: HTTP/1.1, and only to whom the system's roots vouch for.
///
/// # Errors
/// The TLS library could not be set up.
pub(crate) fn client_tls() -> Result<ClientConfig, Error> {
    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let roots = SystemRoots::new(provider.clone());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The platform's verifier, made at the first handshake. Where there are no roots then, that handshake fails, and the
/// next looks again.
#[derive(Debug)]
struct SystemRoots {
    provider: Arc<CryptoProvider>,
    verifier: Mutex<Option<Arc<Verifier>>>,
}

impl SystemRoots {
    fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, verifier: Mutex::default() }
    }

    /// Blocks for some milliseconds the first time: as long as reading the files takes.
    fn verifier(&self) -> Result<Arc<Verifier>, Error> {
        let mut made = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verifier) = made.as_ref() {
            return Ok(verifier.clone());
        }
        let verifier = Arc::new(Verifier::new(self.provider.clone())?);
        *made = Some(verifier.clone());
        Ok(verifier)
    }
}

impl ServerCertVerifier for SystemRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    /// Asked before there is a certificate to verify, and answered as the platform's verifier does.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn roots_are_read_by_the_first_handshake_and_a_stranger_is_refused() {
        let roots = SystemRoots::new(Arc::new(aws_lc_rs::default_provider()));
        assert!(!roots.supported_verify_schemes().is_empty());
        assert!(roots.verifier.lock().unwrap().is_none(), "nothing needed them yet");
        let stranger = CertificateDer::from(b"no certificate at all".to_vec());
        let name = ServerName::try_from("example.org").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let verified = roots.verify_server_cert(&stranger, &[], &name, &[], now);
        // Also where this machine has no roots.
        assert!(verified.is_err(), "{verified:?}");
    }
}
