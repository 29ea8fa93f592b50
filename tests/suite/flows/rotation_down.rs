//! Rotations that meet daemons which are killed, or away, or brought back to the old value.

use super::rotation_order::{Mounts, value};
use crate::harness::{Mount, Suite, Temper, Traffic, View, eventually};
use db::rusqlite::{Connection, OpenFlags};
use secrets::{Secret, seal::SecretsKey};
use std::{fs, path::Path};

const ALL: [&str; 5] = ["authd", "routd", "runed", "webd", "proxyd"];

#[test]
fn each_daemon_is_killed_while_not_all_have_seen_a_new_value() {
    let mut suite = Suite::made();
    let mut mounts = Mounts::new(&mut suite);
    suite.set("SECRETS_OVERLAP", "20s").start_apart();
    let view = View::new(&suite, mounts.of("authd").get("AUTHD_SERVICE_KEY"));
    let traffic = Traffic::start(&suite, Temper::Patient);
    let mut replaced: Vec<[String; 2]> = Vec::new();
    for (round, killed) in ALL.into_iter().enumerate() {
        let names = ["CHANNEL_SECRET", "AUTHD_SERVICE_KEY", "SECRETS_KEY"];
        let new = names.map(|name| (name, value(&format!("{name}.{round}"))));
        let new: Vec<(&str, &str)> = new.iter().map(|(name, value)| (*name, &**value)).collect();
        let old = |mounts: &mut Mounts, name: &str| mounts.of("routd").get(name).to_owned();
        replaced.push([old(&mut mounts, names[0]), old(&mut mounts, names[1])]);
        // Whoever checks has seen it, and whoever presents; by turns.
        let (checks, presents) =
            (["authd", "routd"], ["runed", "timed", "onbod", "webd", "proxyd"]);
        let order: [&[&str]; 2] =
            if round % 2 == 0 { [&checks, &presents] } else { [&presents, &checks] };
        view.taken_up(order[0], || {
            order[0].iter().for_each(|daemon| mounts.rotate(daemon, &new));
        });
        suite.kill(killed);
        suite.restart(killed);
        traffic.more(4);
        view.taken_up(order[1], || {
            order[1].iter().for_each(|daemon| mounts.rotate(daemon, &new));
        });
        traffic.more(2);
    }
    for [channel, service] in &replaced {
        view.channel_secret_ends(channel);
        view.service_key_ends("dashd", service);
    }
    traffic.end();
    assert_ne!(view.shown_channel_secret(mounts.of("routd").get("CHANNEL_SECRET")), 401);
    assert!(view.token_of("dashd", mounts.of("authd").get("AUTHD_SERVICE_KEY")).is_ok());
}

/// The database of a daemon that does not run, whole.
fn database(suite: &Suite, daemon: &str) -> Vec<Vec<u8>> {
    let store = suite.data().join("store");
    let parts = ["db", "db-wal"].map(|ending| store.join(format!("{daemon}.{ending}")));
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    parts.iter().map(|path| read(path)).collect()
}

/// The ids of the keys that open the database of `daemon`.
fn opened_by(suite: &Suite, daemon: &str) -> Vec<String> {
    let table = if daemon == "authd" { "wraps" } else { "data_keys" };
    let path = suite.data().join("store").join(format!("{daemon}.db"));
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut wraps = db.prepare(&format!("SELECT key_id FROM {table}")).unwrap();
    let ids = wraps.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

/// The id of a `SECRETS_KEY`, which tells nothing about it.
fn key_id(key: &str) -> String {
    let key = Secret::new(key.as_bytes().to_vec()).unwrap();
    SecretsKey::new(&key).unwrap().id().to_owned()
}

/// The last line that a daemon which refused to start has written.
fn last_words(suite: &mut Suite, daemon: &'static str) -> String {
    suite.spawn(daemon);
    assert_eq!(suite.process(daemon).ended(), Some(78), "{daemon} opened what it must not");
    let log = suite.process(daemon).log_text();
    log.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_secrets_key_that_changed_while_its_daemon_was_down_is_refused_until_the_old_one_is_supplied() {
    let mut suite = Suite::made();
    let mut mount = suite.mount();
    suite.set("SECRETS_OVERLAP", "3s").start_apart();
    let traffic = Traffic::start(&suite, Temper::Patient);
    for daemon in ["authd", "routd"] {
        let other = if daemon == "authd" { "routd" } else { "authd" };
        let view = View::new(&suite, mount.get("AUTHD_SERVICE_KEY"));
        for is_supplied in [true, false] {
            let old = mount.get("SECRETS_KEY").to_owned();
            let new = value(&format!("secrets-key.{daemon}.{is_supplied}"));
            assert_eq!(suite.process(daemon).stop(), Some(0));
            if is_supplied {
                mount.set(&[("SECRETS_KEY_PREVIOUS", &old), ("SECRETS_KEY", &new)]);
            } else {
                view.taken_up(&[other], || mount.set(&[("SECRETS_KEY", &new)]));
                let before = database(&suite, daemon);
                let line = last_words(&mut suite, daemon);
                assert!(line.contains("SECRETS_KEY_PREVIOUS"), "how to supply it: {line}");
                assert!(line.contains(&format!("{daemon}.db")), "what does not open: {line}");
                assert!(!line.contains(&old) && !line.contains(&new), "the line shows a key");
                assert_eq!(database(&suite, daemon), before, "a refusal wrote into {daemon}.db");
                mount.set(&[("SECRETS_KEY_PREVIOUS", &old)]);
            }
            suite.restart(daemon);
            traffic.more(4);
            mount.remove(&["SECRETS_KEY_PREVIOUS"]);
            // It was needed once.
            suite.kill(daemon);
            suite.restart(daemon);
            traffic.more(2);
        }
    }
    traffic.end();
}

#[test]
fn back_to_the_old_value_and_forth_with_restarts_in_between() {
    let mut suite = Suite::made();
    let mut mount = suite.mount();
    suite.set("SECRETS_OVERLAP", "15s").start_apart();
    let names = ["CHANNEL_SECRET", "AUTHD_SERVICE_KEY", "SECRETS_KEY"];
    let a = names.map(|name| mount.get(name).to_owned());
    let b = names.map(|name| value(&format!("{name}.second")));
    let of = |values: &[String; 3], mount: &mut Mount| {
        let values: Vec<(&str, &str)> =
            names.into_iter().zip(values.iter().map(String::as_str)).collect();
        mount.set(&values);
    };
    let view = View::new(&suite, &a[1]);
    let traffic = Traffic::start(&suite, Temper::Patient);
    let accepts = |values: &[String; 3]| {
        view.shown_channel_secret(&values[0]) != 401 && view.token_of("dashd", &values[1]).is_ok()
    };
    // The values that come back are to be older than the overlap.
    let passing = value("in.between");
    view.taken_up(&["routd"], || mount.set(&[("CHANNEL_SECRET", &passing)]));
    view.taken_up(&["routd"], || mount.set(&[("CHANNEL_SECRET", &a[0])]));
    view.channel_secret_ends(&passing);

    view.taken_up(&["routd", "authd"], || of(&b, &mut mount));
    traffic.more(2);
    assert!(accepts(&a) && accepts(&b), "the overlap does not hold");
    view.taken_up(&["routd", "authd"], || of(&a, &mut mount));
    assert!(accepts(&a) && accepts(&b), "the way back has no overlap");
    // Both forget what was accepted, and open their databases with the first key.
    for daemon in ["authd", "routd"] {
        suite.kill(daemon);
        suite.restart(daemon);
    }
    // Within the overlap of the second key, while nothing of theirs runs: their databases know.
    for daemon in ["authd", "routd"] {
        suite.kill(daemon);
    }
    of(&b, &mut mount);
    for daemon in ["authd", "routd"] {
        suite.spawn(daemon);
    }
    for daemon in ["authd", "routd"] {
        suite.process(daemon).line("ready ");
    }
    traffic.more(4);
    view.channel_secret_ends(&a[0]);
    view.service_key_ends("dashd", &a[1]);

    // After it: back once more, which is a rotation like any other.
    view.taken_up(&["routd", "authd"], || of(&a, &mut mount));
    suite.kill("routd");
    suite.restart("routd");
    traffic.more(4);
    assert!(accepts(&a));
    view.channel_secret_ends(&b[0]);
    view.service_key_ends("dashd", &b[1]);
    traffic.end();

    // And each database is opened by the first key alone, once the overlap of the other has ended.
    let [first, second] = [&a[2], &b[2]].map(|key| key_id(key));
    for (daemon, action) in [("authd", "wrap.remove"), ("routd", "key.drop_wrap")] {
        eventually(&format!("{daemon} lets go of the second key"), || {
            (opened_by(&suite, daemon) == [first.clone()]).then_some(())
        });
        let rows = suite.json(&["audit", "--daemon", daemon, "--limit", "1000"]);
        let removed = rows.as_array().unwrap().iter().filter(|row| row["action"] == action);
        assert!(
            { removed }.any(|row| row.to_string().contains(&second)),
            "{daemon} has not written down that the second key opens it no more"
        );
        suite.kill(daemon);
        suite.restart(daemon);
    }
    Traffic::start(&suite, Temper::Strict).end();
}

#[test]
fn a_rotation_names_whoever_does_not_answer_and_has_changed_nothing() {
    let mut suite = Suite::made();
    suite.start_apart();
    let view = View::new(&suite, &suite.dotenv("AUTHD_SERVICE_KEY"));
    let path = suite.data().join(".env");
    let before = fs::read_to_string(&path).unwrap();
    suite.kill("webd");
    suite.kill("runed");
    let (code, line) = suite.fails(&["secrets", "rotate", "CHANNEL_SECRET"]);
    assert_eq!(code, 69, "{line}");
    for daemon in ["webd", "runed"] {
        assert!(line.contains(&format!("{daemon} did not answer")), "{line}");
    }
    assert!(line.contains("nothing was changed"), "{line}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before, "a refusal wrote");

    // What leaked is not to wait for anybody: the others refuse it, and the line says who is left.
    suite.restart("runed");
    let old = suite.dotenv("CHANNEL_SECRET");
    let (code, line) = suite.fails(&["secrets", "rotate", "CHANNEL_SECRET", "--leaked"]);
    assert_eq!(view.shown_channel_secret(&old), 401, "the value that leaked is accepted");
    assert_eq!(code, 69, "{line}");
    assert!(line.contains("webd") && !line.contains("runed"), "{line}");
    assert!(line.contains("secrets forget CHANNEL_SECRET"), "{line}");
    let new = suite.dotenv("CHANNEL_SECRET");
    assert!(!line.contains(&old) && !line.contains(&new), "a value was shown");
    suite.restart("webd");
    suite.ok(&["secrets", "forget", "CHANNEL_SECRET"]);
    Traffic::start(&suite, Temper::Strict).end();
    assert_eq!(view.shown_channel_secret(&old), 401);
}
