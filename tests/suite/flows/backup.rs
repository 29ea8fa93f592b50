//! A backup is made while people write, and comes back elsewhere: what was acknowledged is there, and nothing of what
//! went on afterwards can be mistaken for it.

mod platform;
mod refused;

use crate::harness::{LIMIT, Suite, Temper, Traffic, eventually};
use db::rusqlite;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Messages that are acknowledged before the backup.
const BEFORE: usize = 40;

/// An instance elsewhere, with the secrets of `first` and nothing else.
fn elsewhere(first: &Suite) -> Suite {
    let second = Suite::new();
    fs::create_dir(second.data()).unwrap();
    let dotenv = fs::read_to_string(first.data().join(".env")).unwrap();
    write_secrets(&second, &dotenv);
    second
}

fn write_secrets(suite: &Suite, text: &str) {
    let path = suite.data().join(".env");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in a directory.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect()
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Somebody who posts to a webhook all the time, and remembers what was taken.
struct Poster {
    taken: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Poster {
    fn start(hook: String) -> Self {
        let (taken, ended) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (into, until) = (taken.clone(), ended.clone());
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !until.load(Ordering::SeqCst) {
                count += 1;
                let id = post(&hook, &format!("note {count}"));
                into.lock().unwrap().push(id);
            }
        });
        Self { taken, ended, thread: Some(thread) }
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    fn until(&self, count: usize) {
        eventually("messages are taken", || (self.taken().len() >= count).then_some(()));
    }

    fn end(mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs one request to its end.
fn request(make: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> (u16, Value) {
    kit::testing::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let answer = make(&http).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    })
}

/// The id under which a message was taken.
fn post(hook: &str, text: &str) -> String {
    let (status, answer) = request(|http| http.post(hook).body(text.to_owned()));
    assert_eq!(status, 202, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// What became of a message, once that is settled; `None` where nobody knows it.
fn outcome(hook: &str, id: &str) -> Option<String> {
    eventually("a message has its end", || {
        let (status, answer) = request(|http| http.get(format!("{hook}/{id}?wait=25")));
        match (status, answer["state"].as_str()) {
            (404, _) => Some(None),
            (200, Some("queued" | "running")) => None,
            (200, Some(state)) => Some(Some(state.to_owned())),
            _ => panic!("{status}: {answer}"),
        }
    })
}

/// The directory of a folder's agent below `homes/`.
fn home_of(suite: &Suite, folder: &str) -> String {
    let path = suite.data().join("store/routd.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let routd = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    let home = "SELECT home FROM groups WHERE folder = ?1";
    routd.query_row(home, [folder], |row| row.get(0)).unwrap()
}

/// A webhook's path, which is the same wherever the instance is.
fn hook(suite: &Suite, folder: &str) -> String {
    let link = suite.json(&["token", "issue", "--kind", "hook", "--folder", folder]);
    link["path"].as_str().unwrap().trim_end_matches('/').to_owned()
}

fn kids(suite: &Suite) -> BTreeSet<String> {
    let keys = suite.json(&["keys", "list"]).to_string();
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let all = keys["keys"].as_array().or(keys.as_array()).unwrap().clone();
    all.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_acknowledged_before_a_backup_under_load_has_its_end_elsewhere() {
    let mut first = Suite::up();
    first.ok(&["group", "add", "notes"]);
    let path = hook(&first, "notes");
    let home = first.data().join("homes").join(home_of(&first, "notes"));
    let traffic = Traffic::start(&first, Temper::Strict);
    let poster = Poster::start(format!("{}{path}", first.edge()));
    poster.until(BEFORE);
    eventually("the folder has its home", || home.is_dir().then_some(()));
    // A home as agents leave it: with permissions, a link that leads out, and something that is none of a backup's.
    let private = home.join("private.sh");
    fs::write(&private, "echo hello\n").unwrap();
    fs::set_permissions(&private, PermissionsExt::from_mode(0o750)).unwrap();
    symlink("/etc/passwd", home.join("out")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.join("socket")).unwrap();

    let acknowledged = poster.taken();
    let dest = first.scratch("backup");
    let made = first.json(&["backup", text(&dest)]);
    assert_eq!(
        made["databases"],
        json!(["authd.db", "routd.db", "runed.db", "onbod.db", "teled.db", "slakd.db"])
    );
    assert!(made["notes"].to_string().contains("socket"), "{made}");
    // Life goes on, and the backup is not disturbed by it.
    let count = poster.taken().len();
    poster.until(count + 10);
    poster.end();
    traffic.end();
    let newest = first.json(&["ask", "one more"]);
    let newest = first.json(&["trace", newest["id"].as_str().unwrap()]);
    let keys = kids(&first);
    let value = first.dotenv("SECRETS_KEY");
    for file in files(&dest) {
        let bytes = fs::read(&file).unwrap();
        assert!(
            !bytes.windows(value.len()).any(|part| part == value.as_bytes()),
            "{}",
            file.display()
        );
    }

    let mut second = elsewhere(&first);
    first.kill("up");
    second.ok(&["restore", "--check", text(&dest)]);
    assert_eq!(names(&second.data()), BTreeSet::from([".env".to_owned()]), "a look writes nothing");
    let restored = second.json(&["restore", text(&dest)]);
    assert_eq!(restored["id"], made["id"]);
    assert_eq!(made["secrets_keys"], json!([restored["secrets_key"]]));
    second.start_up();
    let there = format!("{}{path}", second.edge());
    for id in &acknowledged {
        let end = outcome(&there, id);
        assert!(matches!(end.as_deref(), Some("answered" | "interrupted")), "{id}: {end:?}");
    }
    let home = second.data().join("homes").join(home_of(&second, "notes"));
    let mode = fs::metadata(home.join("private.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    assert_eq!(fs::read_link(home.join("out")).unwrap(), Path::new("/etc/passwd"));
    assert!(!home.join("socket").exists());

    // A new life: other keys, numbers above all that the first one gave, and logs that go on whole.
    assert!(keys.is_disjoint(&kids(&second)), "a key of the first life signs again");
    let asked = second.json(&["ask", "are you there?"]);
    let trace = second.json(&["trace", asked["id"].as_str().unwrap()]);
    assert!(trace["seq"].as_i64().unwrap() > newest["seq"].as_i64().unwrap(), "{trace} {newest}");
    for log in second.json(&["audit", "--verify"]).as_array().unwrap() {
        assert_eq!(log["broken"], Value::Null, "{log}");
    }
    let audit = second.json(&["audit", "--limit", "500"]);
    let begun = audit.as_array().unwrap().iter().filter(|row| row["action"] == "instance.restore");
    let begun: BTreeSet<&str> = begun.map(|row| row["daemon"].as_str().unwrap()).collect();
    assert_eq!(begun, BTreeSet::from(["authd", "onbod", "routd", "runed"]));
    // Once: a start is not a new life.
    let before = kids(&second);
    assert_eq!(second.process("up").stop(), Some(0));
    second.start_up();
    assert_eq!(kids(&second), before);
}

#[test]
fn a_turn_that_was_in_progress_is_not_done_twice() {
    let mut first = Suite::up();
    let path = hook(&first, "main");
    let at = format!("{}{path}", first.edge());
    let running = post(&at, "wait 8");
    eventually("its agent runs", || {
        let trace = first.json(&["trace", &running]);
        trace["steps"].to_string().contains("agent.began").then_some(())
    });
    let waiting = post(&at, "after that");
    let dest = first.scratch("backup");
    first.ok(&["backup", text(&dest)]);
    let mut second = elsewhere(&first);
    first.kill("up");
    second.ok(&["restore", text(&dest)]);
    second.start_up();
    let there = format!("{}{path}", second.edge());
    assert_eq!(outcome(&there, &running).as_deref(), Some("interrupted"));
    assert_eq!(outcome(&there, &waiting).as_deref(), Some("answered"));
    let trace = second.json(&["trace", &running]).to_string();
    assert_eq!(
        trace.matches("agent.began").count(),
        1,
        "no agent was started for it again: {trace}"
    );
}

#[test]
fn an_instance_that_does_not_run_is_backed_up_with_its_secrets_where_that_is_asked_for() {
    let mut first = Suite::up();
    let asked = first.json(&["ask", "remember"]);
    assert_eq!(first.process("up").stop(), Some(0));
    let (plain, whole) = (first.scratch("plain"), first.scratch("whole"));
    fs::create_dir(&plain).unwrap();
    first.ok(&["backup", text(&plain)]);
    first.ok(&["backup", "--with-secrets", text(&whole)]);
    assert!(!plain.join(".env").exists());
    for file in files(&whole).iter().chain(&files(&plain)) {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is for its owner alone", file.display());
    }
    // Nothing was prepared: the directory is not there, and the key comes with the backup.
    let mut second = Suite::new();
    second.ok(&["restore", text(&whole)]);
    second.start_up();
    let trace = second.json(&["trace", asked["id"].as_str().unwrap()]);
    assert!(trace["steps"].to_string().contains("answered"), "{trace}");
    second.ok(&["ask", "go on"]);
    assert_eq!(second.dotenv("SECRETS_KEY"), first.dotenv("SECRETS_KEY"));
}

#[test]
fn what_an_operator_prepared_is_left_as_it_is() {
    let first = Suite::up();
    first.ok(&["ask", "remember"]);
    let dest = first.scratch("backup");
    first.ok(&["backup", "--with-secrets", text(&dest)]);
    assert!(dest.join("settings.env").exists(), "the backup has settings of its own");

    let mut second = elsewhere(&first);
    let dotenv = fs::read_to_string(second.data().join(".env")).unwrap();
    write_secrets(&second, &format!("# Made for the new place.\n{dotenv}"));
    let settings = second.data().join("settings.env");
    fs::write(&settings, "# Made for the new place.\nASSISTANT_NAME=Elsewhere\n").unwrap();
    let prepared =
        [".env", "settings.env"].map(|name| (name, fs::read(second.data().join(name)).unwrap()));
    second.ok(&["restore", text(&dest)]);
    for (name, before) in prepared {
        assert!(fs::read(second.data().join(name)).unwrap() == before, "{name} was changed");
    }
    second.start_up();
    second.ok(&["ask", "go on"]);
}
