//! What leaked is refused from the first request after the command on, and opens nothing.

use crate::harness::{Suite, Temper, Traffic, View};
use std::{fs, path::Path, thread};

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
    assert_eq!(seen(&token), [401; 5], "a token that was signed before is believed");
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
