//! All that is logged in a test's process, down to `trace`, by whatever library: a place where no secret may be.

use std::{
    io::{self, Write},
    sync::{Mutex, Once, OnceLock},
};

static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.get_or_init(Mutex::default).lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Installs the crypto provider, and listens from now on. Call it first; again does nothing.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that it is installed already.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        LOG.get_or_init(Mutex::default);
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .try_init()
            // An error means that the test itself listens already.
            .ok();
    });
}

/// None of `secrets` stands in what was logged so far, and `library` was heard.
pub fn assert_unsaid(library: &str, secrets: &[&str]) {
    let log = LOG.get().expect("nobody listens");
    let log = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    assert!(log.contains(library), "{library} was listened to");
    for said in secrets {
        assert!(said.len() > 8, "{said} would be found by chance");
        let line = log.lines().find(|line| line.contains(said));
        assert!(line.is_none(), "a secret is in the log: {line:?}");
    }
}
