//! The certificate: read with its key as one bundle, checked before it is used, renewed under way.
//!
//! `PROXYD_TLS_CERT` and `PROXYD_TLS_KEY` hold PEM, or an absolute path to a PEM file. A handshake
//! asks for the pair that is current at that moment; a connection that is open keeps what it has.

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrets::{
    Bundle, Malformed, Name, Need, Role, Secret, Values, Watched,
    files::{self, FileError, FileId, Links},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

const CERT: Name = Name::literal("PROXYD_TLS_CERT");
const KEY: Name = Name::literal("PROXYD_TLS_KEY");

/// Largest PEM file: a chain with room to spare.
const FILE_MAX: usize = secrets::SECRET_BYTES_MAX;

/// The pair. Both or neither; it may appear later.
pub static TLS_PAIR: Bundle<Tls> = Bundle {
    needs: const {
        &[
            Need::optional(CERT, "the certificate chain that the edge shows; PEM, or a path to it")
                .alone(|cert| chain_of(&Part::new(cert.clone())?, now()).map(drop)),
            Need::optional(KEY, "the private key of that certificate; PEM, or a path to it")
                .alone(|key| key_of(&Part::new(key.clone())?).map(drop)),
        ]
    },
    role: Role::Uses,
    parse: Tls::parse,
};

/// What the bundle says: a pair that was checked, or that there is none.
pub struct Tls(Option<Pair>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Tls(a pair)" } else { "Tls(none)" })
    }
}

/// A pair, ready for a handshake, and where its parts come from.
struct Pair {
    checked: Checked,
    cert: Part,
    key: Part,
}

/// A pair that a handshake can use.
#[derive(Clone)]
struct Checked {
    pair: Arc<CertifiedKey>,
    /// When the certificate ends, in seconds since 1970.
    not_after: i64,
}

/// One part of the pair.
enum Part {
    Pem(Arc<Secret>),
    File(PathBuf),
}

impl Part {
    fn new(secret: Arc<Secret>) -> Result<Self, Malformed> {
        let text = secret.text()?;
        if text.starts_with('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        Ok(Self::Pem(secret))
    }

    /// Gives the PEM to `read`. What was read from a file is wiped afterwards.
    fn with_pem<R>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<R, Malformed>,
    ) -> Result<R, Malformed> {
        match self {
            Self::Pem(secret) => read(secret.expose()),
            Self::File(path) => {
                let open = files::open(rustix::fs::CWD, path, Links::Follow);
                let bytes = open.and_then(|file| file.bytes(FILE_MAX));
                read(&bytes.map_err(|error| unreadable(path, &error))?)
            }
        }
    }

    fn file_id(&self) -> Option<FileId> {
        let Self::File(path) = self else { return None };
        files::open(rustix::fs::CWD, path, Links::Follow).ok().map(|file| file.id())
    }

    const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

fn unreadable(path: &Path, error: &FileError) -> Malformed {
    let path = path.display();
    let reason = match error {
        FileError::Missing => format!("there is no file {path}"),
        FileError::Malformed(reason) => format!("{path}: {reason}"),
        FileError::Io(error) => format!("{path} cannot be read: {}", error.kind()),
    };
    Malformed(reason.into())
}

impl Tls {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let (cert, key) = match (values.share(&CERT), values.share(&KEY)) {
            (None, None) => return Ok(Self(None)),
            (Some(cert), Some(key)) => (Part::new(cert)?, Part::new(key)?),
            (Some(_), None) => {
                return Err(Malformed::because(
                    "PROXYD_TLS_KEY is not there, and a certificate is",
                ));
            }
            (None, Some(_)) => {
                return Err(Malformed::because("PROXYD_TLS_CERT is not there, and a key is"));
            }
        };
        let checked = check(&cert, &key, now())?;
        Ok(Self(Some(Pair { checked, cert, key })))
    }
}

/// A bundle's parser is given no clock, and dates are what it must check.
#[expect(clippy::disallowed_methods, reason = "a parser has no clock to be given")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Checks all that would fail in use: that both parse, belong together, and are within their dates.
fn check(cert: &Part, key: &Part, now: i64) -> Result<Checked, Malformed> {
    let (chain, not_after) = chain_of(cert, now)?;
    let pair = CertifiedKey::new(chain, key_of(key)?);
    match pair.keys_match() {
        Ok(()) => Ok(Checked { pair: Arc::new(pair), not_after }),
        Err(_) => Err(Malformed::because("the certificate and the private key do not match")),
    }
}

/// The chain, and when its first certificate ends.
fn chain_of(cert: &Part, now: i64) -> Result<(Vec<CertificateDer<'static>>, i64), Malformed> {
    let chain: Vec<_> = cert.with_pem(|pem| {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        chain.map_err(|_| Malformed::because("the certificate is not PEM"))
    })?;
    let leaf = chain.first().ok_or(Malformed::because("there is no certificate in the PEM"))?;
    let not_after = check_dates(leaf, now)?;
    Ok((chain, not_after))
}

/// The private key, as handshakes use it.
fn key_of(key: &Part) -> Result<Arc<dyn SigningKey>, Malformed> {
    key.with_pem(|pem| {
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| Malformed::because("there is no private key in the PEM"))?;
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|_| Malformed::because("the private key is of a kind that TLS does not use"))
    })
}

/// When the first certificate of a chain in PEM ends, in seconds since 1970; nothing where it is none. Whether it has
/// ended is not looked at.
pub fn certificate_ends(pem: &[u8]) -> Option<i64> {
    let leaf = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn check_dates(leaf: &CertificateDer<'_>, now: i64) -> Result<i64, Malformed> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|_| Malformed::because("the certificate is not X.509"))?;
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(Malformed(format!("the certificate begins on {}", validity.not_before).into()));
    }
    if now > validity.not_after.timestamp() {
        return Err(Malformed(format!("the certificate ended on {}", validity.not_after).into()));
    }
    Ok(validity.not_after.timestamp())
}

/// What a look at the pair's files came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to do.
    Same,
    /// Another pair is used from now on.
    Renewed,
    /// What is there cannot be used; the pair before it stays.
    Refused(Malformed),
}

/// The pair that is current, for each handshake anew.
pub struct Pairs {
    watched: Watched<Tls>,
    /// What the files hold now, where they have changed since generation `.0` was read.
    reread: ArcSwapOption<(u64, Checked)>,
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pairs({:?})", self.watched)
    }
}

impl Pairs {
    /// The pairs of a bundle.
    pub fn new(watched: Watched<Tls>) -> Self {
        Self { watched, reread: ArcSwapOption::empty() }
    }

    /// Whether there is a pair.
    pub fn exist(&self) -> bool {
        self.watched.current().0.is_some()
    }

    /// Waits until there is a pair.
    pub async fn appear(&self) {
        let mut watched = self.watched.clone();
        while watched.current().0.is_none() {
            watched.changed().await;
        }
    }

    /// When the current certificate ends, in seconds since 1970.
    pub fn not_after(&self) -> Option<i64> {
        self.current().map(|checked| checked.not_after)
    }

    fn current(&self) -> Option<Checked> {
        let (generation, tls) = self.watched.versioned();
        let pair = tls.0.as_ref()?;
        let reread = self.reread.load();
        let newer = reread.as_ref().filter(|reread| reread.0 == generation);
        Some(newer.map_or_else(|| pair.checked.clone(), |reread| reread.1.clone()))
    }

    /// What tells whether the pair's files have changed. `None` where it has no files.
    pub fn file_ids(&self) -> Option<[Option<FileId>; 2]> {
        let tls = self.watched.current();
        let pair = tls.0.as_ref()?;
        let in_files = pair.cert.is_file() || pair.key.is_file();
        in_files.then(|| [pair.cert.file_id(), pair.key.file_id()])
    }

    /// Reads the pair's files again.
    pub fn look_again(&self) -> Look {
        let (generation, tls) = self.watched.versioned();
        let Some(pair) = &tls.0 else { return Look::Same };
        match check(&pair.cert, &pair.key, now()) {
            Err(reason) => Look::Refused(reason),
            Ok(checked) => {
                let before = self.current().map(|checked| checked.pair.cert.clone());
                if before.as_ref() == Some(&checked.pair.cert) {
                    return Look::Same;
                }
                self.reread.store(Some(Arc::new((generation, checked))));
                Look::Renewed
            }
        }
    }

    /// The configuration of the TLS listener.
    ///
    /// # Errors
    /// The TLS library does not know its own versions, which is a defect.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Pairs {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|checked| checked.pair)
    }
}
