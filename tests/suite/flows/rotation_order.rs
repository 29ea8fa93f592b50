//! Daemons that see a change in the worst order there is: one that sleeps through it, one that is
//! late, and each that is first.

use crate::harness::{Mount, Suite, Temper, Traffic, View, eventually};

/// Which daemons use each secret, and so what stands in each one's directory.
const USED: [(&str, &[&str]); 7] = [
    ("authd", &["SECRETS_KEY", "AUTHD_SERVICE_KEY"]),
    ("routd", &["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"]),
    ("runed", &["AUTHD_SERVICE_KEY"]),
    ("timed", &["AUTHD_SERVICE_KEY"]),
    ("onbod", &["AUTHD_SERVICE_KEY"]),
    ("webd", &["CHANNEL_SECRET", "AUTHD_SERVICE_KEY"]),
    ("proxyd", &["AUTHD_SERVICE_KEY"]),
];

/// A projected directory for each daemon, so that each sees a change when its own is swapped.
pub(super) struct Mounts(Vec<(&'static str, Mount)>);

impl Mounts {
    /// Moves what is in `.env` there, for daemons that run apart.
    pub(super) fn new(suite: &mut Suite) -> Self {
        let mut all = Vec::new();
        for (daemon, names) in USED {
            let values = names.iter().map(|name| (*name, suite.dotenv(name)));
            let values: Vec<(&str, String)> = values.collect();
            let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let mount = Mount::new(suite.scratch(&format!("secrets-of-{daemon}")), &values);
            let source = format!("file://{}", mount.dir().display());
            suite.set_for(daemon, "SECRETS_SOURCES", &source);
            all.push((daemon, mount));
        }
        Self(all)
    }

    pub(super) fn of(&mut self, daemon: &str) -> &mut Mount {
        &mut self.0.iter_mut().find(|(of, _)| *of == daemon).unwrap().1
    }

    /// Has `daemon` alone see a new value of each of these, with the one before it beside it, as
    /// `secrets rotate` writes them.
    pub(super) fn rotate(&mut self, daemon: &str, new: &[(&str, &str)]) {
        let (_, names) = USED.into_iter().find(|(of, _)| *of == daemon).unwrap();
        let mount = self.of(daemon);
        let mut values: Vec<(String, String)> = Vec::new();
        for (name, value) in new.iter().filter(|(name, _)| names.contains(name)) {
            values.push((format!("{name}_PREVIOUS"), mount.get(name).to_owned()));
            values.push(((*name).to_owned(), (*value).to_owned()));
        }
        let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (&**n, &**v)).collect();
        mount.set(&values);
    }
}

/// A value that is good for each kind of secret that arizuko issues.
pub(super) fn value(what: &str) -> String {
    format!("{what:-<43}")
}

#[test]
fn a_daemon_that_sleeps_through_two_rotations_wakes_up_to_the_third_value() {
    let mut suite = Suite::made();
    let mut mount = suite.mount();
    suite.set("SECRETS_OVERLAP", "6s").start_apart();
    let names = ["CHANNEL_SECRET", "AUTHD_SERVICE_KEY", "SECRETS_KEY"];
    let view = View::new(&suite, mount.get("AUTHD_SERVICE_KEY"));
    let (pids, traffic) = (suite.pids(), Traffic::start(&suite, Temper::Strict));
    let users = [("routd", "CHANNEL_SECRET"), ("webd", "CHANNEL_SECRET"), ("authd", "SECRETS_KEY")];
    let mut replaced: Vec<(String, String)> = Vec::new();
    for sleeper in ["routd", "authd", "webd"] {
        let awake: Vec<_> = users.iter().filter(|(daemon, _)| *daemon != sleeper).collect();
        let before = view.generation(sleeper);
        suite.process(sleeper).pause();
        for round in ["first", "second"] {
            for name in names {
                replaced.push((name.to_owned(), mount.get(name).to_owned()));
                let new = value(&format!("{name}.{sleeper}.{round}"));
                let users: Vec<&str> =
                    awake.iter().filter(|(_, of)| *of == name).map(|(d, _)| *d).collect();
                view.taken_up(&users, || mount.set(&[(name, &new)]));
            }
        }
        suite.process(sleeper).go_on();
        // The first thing that it is asked to do may be to believe the newest value.
        traffic.more(6);
        eventually("it takes up the third value", || {
            (view.generation(sleeper) > before).then_some(())
        });
        traffic.more(2);
    }
    for (name, old) in &replaced {
        match name.as_str() {
            "CHANNEL_SECRET" => view.channel_secret_ends(old),
            "AUTHD_SERVICE_KEY" => view.service_key_ends("dashd", old),
            _ => {}
        }
    }
    traffic.end();
    assert_ne!(view.shown_channel_secret(mount.get("CHANNEL_SECRET")), 401);
    assert!(view.token_of("dashd", mount.get("AUTHD_SERVICE_KEY")).is_ok());
    assert_eq!(suite.pids(), pids, "a process was started again");
    // What was sealed under the values that one slept through opens with the last of them alone.
    for daemon in ["authd", "routd"] {
        suite.kill(daemon);
        suite.restart(daemon);
    }
    Traffic::start(&suite, Temper::Strict).end();
}

#[test]
fn no_order_in_which_daemons_see_a_change_fails_a_request() {
    let mut suite = Suite::made();
    let mut mounts = Mounts::new(&mut suite);
    suite.set("SECRETS_OVERLAP", "15s").start_apart();
    let view = View::new(&suite, mounts.of("authd").get("AUTHD_SERVICE_KEY"));
    channel_secret(&suite, &mut mounts, &view);
    service_key(&mut suite, &mut mounts, &view);
}

/// `CHANNEL_SECRET`, the shared one and webd's own: routd first, and webd first.
fn channel_secret(suite: &Suite, mounts: &mut Mounts, view: &View) {
    let traffic = Traffic::start(suite, Temper::Strict);
    let first = mounts.of("routd").get("CHANNEL_SECRET").to_owned();
    let mut replaced = vec![first];
    for order in [["routd", "webd"], ["webd", "routd"]] {
        let new = value(&format!("channel.{}.first", order[0]));
        for daemon in order {
            view.taken_up(&[daemon], || mounts.of(daemon).set(&[("CHANNEL_SECRET", &new)]));
            // Also where the other is late: for as long as the old value has its overlap.
            traffic.more(4);
        }
        replaced.push(new);
    }
    let shared = replaced.pop().unwrap();
    // webd gets a secret of its own. routd is told which one that takes over from.
    let own = value("channel.of.webd.alone");
    view.taken_up(&["routd"], || {
        mounts
            .of("routd")
            .set(&[("CHANNEL_SECRET_WEBD_PREVIOUS", &shared), ("CHANNEL_SECRET_WEBD", &own)]);
    });
    traffic.more(4);
    view.taken_up(&["webd"], || mounts.of("webd").set(&[("CHANNEL_SECRET", &own)]));
    traffic.more(4);
    let newer = value("channel.of.webd.renewed");
    view.taken_up(&["webd"], || mounts.of("webd").set(&[("CHANNEL_SECRET", &newer)]));
    traffic.more(4);
    view.taken_up(&["routd"], || mounts.of("routd").set(&[("CHANNEL_SECRET_WEBD", &newer)]));
    traffic.more(4);
    for old in &replaced {
        view.channel_secret_ends(old);
    }
    traffic.end();
    assert_ne!(view.shown_channel_secret(&shared), 401, "what the others share is refused");
    let of_webd = view.shown_channel_secret(&newer);
    assert_eq!(of_webd, 403, "webd's own speaks for another adapter");
}

/// `AUTHD_SERVICE_KEY`, the shared one and webd's own: authd first, and webd first. webd is started
/// again in the middle of each, so that it has to prove itself with what it has then.
fn service_key(suite: &mut Suite, mounts: &mut Mounts, view: &View) {
    const KEY: &str = "AUTHD_SERVICE_KEY";
    let traffic = Traffic::start(suite, Temper::Patient);
    let others = ["routd", "runed", "proxyd"];
    let first = mounts.of("authd").get(KEY).to_owned();
    let new = value("service.authd.first");
    view.taken_up(&["authd"], || mounts.of("authd").set(&[(KEY, &new)]));
    suite.kill("webd");
    suite.restart("webd");
    traffic.more(4);
    view.taken_up(&["webd"], || mounts.of("webd").set(&[(KEY, &new)]));
    others.iter().for_each(|daemon| mounts.of(daemon).set(&[(KEY, &new)]));
    traffic.more(4);

    let second = new;
    let new = value("service.webd.first");
    view.taken_up(&["webd"], || mounts.of("webd").set(&[(KEY, &new)]));
    traffic.more(4);
    // Without a memory of the value that authd knows, it waits until authd sees the new one.
    suite.kill("webd");
    suite.spawn("webd");
    view.taken_up(&["authd"], || mounts.of("authd").set(&[(KEY, &new)]));
    suite.process("webd").line("ready ");
    others.iter().for_each(|daemon| mounts.of(daemon).set(&[(KEY, &new)]));
    traffic.more(4);

    let own = value("service.of.webd.alone");
    view.taken_up(&["authd"], || {
        mounts
            .of("authd")
            .set(&[("AUTHD_SERVICE_KEY_WEBD_PREVIOUS", &new), ("AUTHD_SERVICE_KEY_WEBD", &own)]);
    });
    suite.kill("webd");
    suite.restart("webd");
    traffic.more(4);
    view.taken_up(&["webd"], || mounts.of("webd").set(&[(KEY, &own)]));
    let newer = value("service.of.webd.renewed");
    view.taken_up(&["webd"], || mounts.of("webd").set(&[(KEY, &newer)]));
    traffic.more(4);
    view.taken_up(&["authd"], || mounts.of("authd").set(&[("AUTHD_SERVICE_KEY_WEBD", &newer)]));
    suite.kill("webd");
    suite.restart("webd");
    traffic.more(4);
    for (daemon, old) in
        [("dashd", &first), ("dashd", &second), ("webd", &first), ("webd", &new), ("webd", &own)]
    {
        view.service_key_ends(daemon, old);
    }
    traffic.end();
    assert_eq!(view.token_of("routd", &newer), Err(401), "webd's own key proves another daemon");
    assert!(view.token_of("dashd", &new).is_ok(), "the shared key is refused");
}
