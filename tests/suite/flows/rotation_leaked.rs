//! What leaked is refused from the first request after the command on, and opens nothing.

use crate::harness::{LIMIT, Suite, Temper, Traffic, View};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

const DAEMONS: [&str; 5] = ["authd", "routd", "runed", "webd", "proxyd"];

/// Why `daemon` does not start over a copy of `store` with this `SECRETS_KEY`, which it must not.
fn refusal_over(daemon: &'static str, store: &Path, key: &str) -> String {
    let mut suite = Suite::made();
    copy(store, &suite.data().join("store"));
    suite.edit_dotenv(&[("SECRETS_KEY", key)]);
    suite.spawn(daemon);
    assert_eq!(suite.process(daemon).ended(), Some(78), "{daemon} opened what it must not");
    let log = suite.process(daemon).log_text();
    assert!(!log.contains(key), "the log shows the key");
    log.lines().last().unwrap_or_default().to_owned()
}

/// The databases, as a thief or a backup would have them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let is_database = name.to_string_lossy().contains(".db");
        if entry.file_type().unwrap().is_file() && is_database {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Somebody who is logged in at the edge, and writes in a chat.
struct Writer {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    cookie: String,
    chat: String,
    store: PathBuf,
}

impl Writer {
    fn logged_in(suite: &Suite) -> Self {
        kit::testing::install_crypto();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The edge ends connections that are idle, and nobody listens for that between two requests here.
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).pool_max_idle_per_host(0);
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let link = suite.json(&["login"])["url"].as_str().unwrap().to_owned();
        let (_, code) = link.split_once("/auth/login/").unwrap();
        let form = http.post(format!("{}/auth/login/{code}", suite.edge()));
        let answer = runtime.block_on(async { form.send().await }).unwrap();
        assert_eq!(answer.status(), 303, "the link logs nobody in");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
        let chat = format!("{}{}", suite.edge(), link["path"].as_str().unwrap());
        let chat = chat.trim_end_matches('/').to_owned();
        Self { http, runtime, cookie, chat, store: suite.data().join("store/routd.db") }
    }

    /// Writes, and finds out under which name.
    fn name_of(&self, text: &str) -> String {
        let post = self.http.post(&self.chat).header("cookie", &self.cookie);
        let post = post.json(&serde_json::json!({ "content": text }));
        assert_eq!(self.runtime.block_on(async { post.send().await }).unwrap().status(), 202);
        let flags = db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = db::rusqlite::Connection::open_with_flags(&self.store, flags).unwrap();
        let sender = "SELECT sender FROM messages WHERE content = ?1 AND sender LIKE 'web:%'";
        db.query_row(sender, [text], |row| row.get(0)).unwrap()
    }
}

#[test]
fn the_first_request_after_the_command_is_refused_and_no_copy_opens() {
    let mut suite = Suite::made();
    suite.start_apart();
    let store = suite.data().join("store");
    // Copied while nothing writes, so that each copy is whole.
    for daemon in ["authd", "routd"] {
        assert_eq!(suite.process(daemon).stop(), Some(0));
    }
    let before = suite.scratch("before");
    copy(&store, &before);
    for daemon in ["authd", "routd"] {
        suite.restart(daemon);
    }
    let key_before = suite.dotenv("SECRETS_KEY");
    let service_key = suite.dotenv("AUTHD_SERVICE_KEY");
    let view = View::new(&suite, &service_key);
    let traffic = Traffic::start(&suite, Temper::Strict);
    let seen = |token: &str| DAEMONS.map(|daemon| view.shown_token(daemon, token));
    let writer = Writer::logged_in(&suite);
    let operator = "web:operator/local";
    assert_eq!(writer.name_of("before it leaked"), operator);

    // An earlier rotation is still in its overlap: what leaked may be the value before, too.
    let oldest = suite.dotenv("CHANNEL_SECRET");
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    let old = suite.dotenv("CHANNEL_SECRET");
    assert_ne!(view.shown_channel_secret(&oldest), 401, "the overlap does not hold");
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET", "--leaked"]);
    assert_eq!([&old, &oldest].map(|old| view.shown_channel_secret(old)), [401; 2]);
    assert_ne!(view.shown_channel_secret(&suite.dotenv("CHANNEL_SECRET")), 401);

    // Tokens of every daemon, from before, each known to whoever has looked at it.
    let tokens: Vec<String> =
        DAEMONS.iter().map(|daemon| view.token_of(daemon, &service_key).unwrap()).collect();
    let token = view.token_of("dashd", &service_key).unwrap();
    assert_eq!(seen(&token), [200; 5]);
    suite.ok(&["secrets", "rotate", "AUTHD_SERVICE_KEY", "--leaked"]);
    // The edge proves itself with a token that the new key made: no daemon behind it takes it for
    // a stranger, who could say that anybody is logged in.
    assert_eq!(writer.name_of("after the key leaked"), operator);
    assert_eq!(seen(&token), [401; 5], "a token that the old key made is believed");
    for daemon in DAEMONS {
        assert_eq!(view.token_of(daemon, &service_key), Err(401), "the old key proves {daemon}");
    }
    for token in &tokens {
        assert_eq!(seen(token), [401; 5], "a daemon's token that the old key made is believed");
    }
    let token = view.token_of("dashd", &suite.dotenv("AUTHD_SERVICE_KEY")).unwrap();
    assert_eq!(seen(&token), [200; 5], "the new key makes tokens");

    suite.ok(&["secrets", "rotate", "SECRETS_KEY", "--leaked"]);
    assert_eq!(writer.name_of("after what sealed the keys leaked"), operator);
    assert_eq!(seen(&token), [401; 5], "a token that was signed before is believed");
    suite.ok(&["secrets", "forget", "AUTHD_SERVICE_KEY"]);
    assert_eq!(writer.name_of("after it was forgotten"), operator);
    traffic.more(4);
    traffic.end();
    for daemon in ["authd", "routd"] {
        assert_eq!(suite.process(daemon).stop(), Some(0));
    }
    let key_after = suite.dotenv("SECRETS_KEY");
    let pairs = [(&before, &key_after), (&store, &key_before)];
    thread::scope(|scope| {
        for (daemon, (store, key)) in
            ["authd", "routd"].into_iter().flat_map(|daemon| pairs.map(|pair| (daemon, pair)))
        {
            scope.spawn(move || {
                let line = refusal_over(daemon, store, key);
                assert!(line.contains("no SECRETS_KEY at hand opens"), "{daemon}: {line}");
                assert!(line.contains(&format!("{daemon}.db")), "{line}");
            });
        }
    });
    let dotenv = fs::read_to_string(suite.data().join(".env")).unwrap();
    assert!(!dotenv.contains("_PREVIOUS") && !dotenv.contains(&key_before), "an old value stayed");
    for daemon in ["authd", "routd"] {
        suite.restart(daemon);
    }
    Traffic::start(&suite, Temper::Strict).end();
}
