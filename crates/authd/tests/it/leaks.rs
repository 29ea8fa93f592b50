//! Nothing secret is in the database, the logs, or an answer that was not made to hand it out.

use crate::rig::{Authd, SECRETS_KEY, SERVICE_KEY, World, until};
use std::{
    io,
    sync::{Mutex, OnceLock, PoisonError},
};

/// What the whole test process has logged.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What every P-256 private key in PKCS#8 begins with: the identifiers of its algorithm and curve.
const PKCS8: &[u8] =
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

#[derive(Clone, Copy)]
struct Buffer;

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps everything that this process logs, down to the least.
pub fn capture_logs() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let logs = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
        logs.with_writer(|| Buffer).init();
    });
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// What authd answers to somebody who may see everything.
async fn answers(authd: &Authd, operator: &str, cookie: &str) -> Vec<u8> {
    let paths = [
        "/v1/audit?limit=500",
        "/v1/signing-keys",
        "/.well-known/jwks.json",
        "/v1/secrets",
        "/metrics",
        "/ready",
        "/openapi.json",
        "/auth/",
        "/auth/login/x",
    ];
    let mut answers = Vec::new();
    for path in paths {
        let request = authd.get(path).bearer_auth(operator);
        let request = request.header("cookie", format!("arizuko_session={cookie}"));
        answers.extend(request.send().await.unwrap().bytes().await.unwrap());
    }
    answers
}

#[tokio::test]
async fn what_is_secret_is_nowhere_that_it_need_not_be() {
    let world = World::new();
    let authd = world.start().await;
    let wrong = "planted-wrong-key-000000000000000000";
    assert_eq!(authd.status_of_token("webd", wrong).await, 401);
    let service = authd.token("proxyd", SERVICE_KEY).await;
    let operator = authd.operator().await;
    let link = authd.link().await;
    let code = link.path.rsplit('/').next().unwrap().to_owned();
    let unspent = authd.link().await.path.rsplit('/').next().unwrap().to_owned();
    let response = authd.post(&link.path).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!((code.len(), cookie.len()), (43, 43), "256 bits each");
    let rotate = authd.post("/v1/signing-keys/rotate").bearer_auth(&operator);
    assert_eq!(rotate.send().await.unwrap().status(), 200);

    let fingerprint_key = service.fingerprint_key.clone().unwrap();
    let raw_fingerprint_key: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&fingerprint_key[at..at + 2], 16).unwrap())
        .collect();
    let texts = [
        SECRETS_KEY,
        SERVICE_KEY,
        wrong,
        &service.token,
        &operator,
        &code,
        &unspent,
        &cookie,
        &fingerprint_key,
    ];
    let mut planted: Vec<&[u8]> = texts.map(str::as_bytes).to_vec();
    planted.extend([PKCS8, &raw_fingerprint_key]);

    let answers = answers(&authd, &operator, &cookie).await;
    // The files, while they are in use and after they were closed.
    let mut files = Vec::new();
    let read = |files: &mut Vec<u8>| {
        for entry in std::fs::read_dir(world.dir.path().join("store")).unwrap() {
            files.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
    };
    read(&mut files);
    authd.stop().await;
    read(&mut files);
    until("something was logged", || async {
        holds(&LOGGED.lock().unwrap_or_else(PoisonError::into_inner), b"signing key")
    })
    .await;
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (place, bytes) in [("an answer", &answers), ("the database", &files), ("the log", &logged)]
    {
        for needle in &planted {
            let shown = String::from_utf8_lossy(needle);
            assert!(!holds(bytes, needle), "{shown:?} is in {place}");
        }
    }
    assert!(holds(&files, b"token.operator"), "the search looks at what is there");
}
