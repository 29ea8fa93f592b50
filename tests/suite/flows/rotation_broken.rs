//! Values that cannot be used, pushed one after the other under load: none ever serves.

use super::rotation_order::value;
use crate::harness::{Suite, Temper, Tls, Traffic, View, eventually};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// In every broken value that has room for it, so that a part of one is found wherever it is shown.
const MARK: &str = "LEAKMARK";

/// What is put in the place of a file.
enum Broken {
    Bytes(Vec<u8>),
    Directory,
    Fifo,
    /// A link to a good value elsewhere.
    LinkOut,
    Nothing,
}

/// Puts it where `path` is, by renaming where that can be done.
fn put(path: &Path, broken: &Broken, aside: &Path) {
    let _gone = fs::remove_dir_all(aside).is_ok() || fs::remove_file(aside).is_ok();
    match broken {
        Broken::Bytes(bytes) => fs::write(aside, bytes).unwrap(),
        Broken::Directory => fs::create_dir(aside).unwrap(),
        Broken::Fifo => assert!(Command::new("mkfifo").arg(aside).status().unwrap().success()),
        Broken::LinkOut => {
            let elsewhere = aside.with_extension("elsewhere");
            fs::write(&elsewhere, value("a.good.value.elsewhere")).unwrap();
            symlink(elsewhere, aside).unwrap();
        }
        Broken::Nothing => {}
    }
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    match broken {
        Broken::Directory => {
            fs::remove_file(path).unwrap_or_default();
            fs::rename(aside, path).unwrap();
        }
        Broken::Nothing => fs::remove_file(path).unwrap_or_default(),
        _ => {
            fs::set_permissions(aside, PermissionsExt::from_mode(0o600)).unwrap_or_default();
            fs::rename(aside, path).unwrap();
        }
    }
}

/// What no secret can be, each with what is said of it.
fn for_any() -> Vec<(Broken, &'static str)> {
    vec![
        (Broken::Bytes(Vec::new()), "it is empty"),
        (Broken::Bytes(b"\n".to_vec()), "it is empty"),
        (Broken::Bytes(MARK.repeat(8_750).into_bytes()), "longer than 65,536 bytes"),
        (Broken::Bytes(format!("{MARK}\0{MARK}{MARK}{MARK}{MARK}").into_bytes()), "a NUL byte"),
        (Broken::Directory, "it is a directory"),
        (Broken::Fifo, "it is a FIFO"),
        (Broken::LinkOut, "a link that leaves the directory"),
        (Broken::Nothing, "has it no more"),
    ]
}

/// What no secret that travels as a bearer can be.
fn for_bearer() -> Vec<(Broken, &'static str)> {
    let text = |text: String| Broken::Bytes(text.into_bytes());
    let mut not_text = format!("{MARK}.{MARK}.{MARK}.").into_bytes();
    not_text.extend(b"\xff\xfe");
    let mut all = for_any();
    all.extend([
        (text("x".into()), "fewer than 16 characters"),
        (Broken::Bytes(not_text), "a bearer credential has only"),
        (text(format!("{MARK} with spaces in it")), "a bearer credential has only"),
        (text(format!("{MARK}.two.lines\n{MARK}.of.it")), "a bearer credential has only"),
        (text(format!("\u{feff}{MARK}.after.a.mark")), "a bearer credential has only"),
    ]);
    all
}

fn for_key() -> Vec<(Broken, &'static str)> {
    let mut not_text = MARK.repeat(5).into_bytes();
    not_text.extend(b"\xff\xfe");
    let mut all = for_any();
    all.extend([
        (Broken::Bytes(b"x".to_vec()), "shorter than 32 bytes"),
        (Broken::Bytes(format!("{MARK}.of.31.bytes..........").into_bytes()), "shorter than 32"),
        (Broken::Bytes(not_text), "it is not UTF-8 text"),
    ]);
    all
}

/// A certificate whose time has passed, with its key.
fn expired() -> Tls {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    Tls { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
}

/// A directory of plain files under separate processes.
struct Stage {
    dir: PathBuf,
    aside: PathBuf,
    view: View,
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn error(&self, daemon: &str, name: &str) -> String {
        self.view.state(daemon, name)["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `daemon` says what is wrong with `name`; it must name the place, be degraded
    /// because of it, and go on with what it had.
    fn refuses(&self, daemon: &str, name: &str, reason: &str, generation: u64) {
        let what = format!("{daemon} says of {name}: {reason}");
        let error = eventually(&what, || {
            let error = self.error(daemon, name);
            error.contains(reason).then_some(error)
        });
        assert!(error.contains(&self.dir.display().to_string()), "the source: {error}");
        assert!(error.contains("the last good value stays in use"), "{error}");
        let health = self.view.health(daemon);
        assert!(health.contains(name) && health.contains(reason), "degraded: {health}");
        assert_eq!(self.view.generation(daemon), generation, "{reason}: a broken value serves");
        let shown = format!("{error}{health}{}", self.view.secrets(daemon));
        assert!(!shown.contains(MARK), "a part of the value is shown: {shown}");
    }

    /// Pushes one broken value after the other, and then a good one.
    fn push(
        &self,
        traffic: &Traffic,
        name: &str,
        users: &[&str],
        all: &[(Broken, &str)],
        good: &str,
    ) {
        let before: Vec<u64> = users.iter().map(|daemon| self.view.generation(daemon)).collect();
        for (broken, reason) in all {
            put(&self.path(name), broken, &self.aside);
            for (daemon, generation) in users.iter().zip(&before) {
                self.refuses(daemon, name, reason, *generation);
            }
        }
        traffic.more(4);
        self.view.taken_up(users, || self.good(name, good));
        for daemon in users {
            eventually("nothing is wrong any more", || {
                self.error(daemon, name).is_empty().then_some(())
            });
            assert!(!self.view.health(daemon).contains(name), "it is still degraded");
        }
    }

    fn good(&self, name: &str, text: &str) {
        put(&self.path(name), &Broken::Bytes(text.as_bytes().to_vec()), &self.aside);
    }
}

/// A text that is in `pem` and in no other.
fn body(pem: &str) -> &str {
    pem.lines().nth(1).unwrap()
}

#[test]
fn no_broken_file_ever_serves() {
    let mut suite = Suite::made();
    let dir = suite.scratch("plain");
    fs::create_dir(&dir).unwrap();
    let first = Tls::new();
    let names = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];
    let mut values = names.map(|name| (name, suite.dotenv(name))).to_vec();
    values.push(("PROXYD_TLS_CERT", first.cert.clone()));
    values.push(("PROXYD_TLS_KEY", first.key.clone()));
    for (name, value) in &values {
        fs::write(dir.join(name), value).unwrap();
    }
    fs::remove_file(suite.data().join(".env")).unwrap();
    suite.set("SECRETS_SOURCES", &format!("file://{}", dir.display())).start_apart();
    let view = View::new(&suite, &values[2].1);
    let stage = Stage { dir, aside: suite.scratch("aside"), view };
    let (pids, traffic) = (suite.pids(), Traffic::start(&suite, Temper::Strict));

    stage.push(
        &traffic,
        "CHANNEL_SECRET",
        &["routd", "webd"],
        &for_bearer(),
        &value("channel.good.again"),
    );
    let users = ["authd", "routd", "runed", "webd", "proxyd"];
    stage.push(&traffic, "AUTHD_SERVICE_KEY", &users, &for_bearer(), &value("service.good.again"));
    stage.push(&traffic, "SECRETS_KEY", &["authd", "routd"], &for_key(), &value("key.good.again"));

    let (late, other) = (expired(), Tls::new());
    let before = stage.view.generation("proxyd");
    let cut = |pem: &str| pem[..pem.len() / 2].to_owned();
    for (cert, key, reason) in [
        (other.cert.clone(), first.key.clone(), "do not match"),
        (late.cert.clone(), late.key.clone(), "the certificate ended on"),
        (cut(&other.cert), other.key.clone(), "certificate"),
        (other.cert.clone(), cut(&other.key), "there is no private key in the PEM"),
        (other.key.clone(), other.cert.clone(), "there is no certificate in the PEM"),
    ] {
        stage.good("PROXYD_TLS_CERT", &cert);
        stage.good("PROXYD_TLS_KEY", &key);
        stage.refuses("proxyd", "PROXYD_TLS_CERT", reason, before);
    }
    // A certificate without its key.
    stage.good("PROXYD_TLS_CERT", &other.cert);
    put(&stage.path("PROXYD_TLS_KEY"), &Broken::Nothing, &stage.aside);
    stage.refuses("proxyd", "PROXYD_TLS_KEY", "has it no more", before);
    assert_eq!(super::rotation::shown_certificate(&suite), Some(first.der));
    stage.view.taken_up(&["proxyd"], || stage.good("PROXYD_TLS_KEY", &other.key));
    assert_eq!(super::rotation::shown_certificate(&suite), Some(other.der));

    traffic.end();
    assert_eq!(suite.pids(), pids, "a process was started again");
    for daemon in users {
        let log = suite.process(daemon).log_text();
        assert!(log.contains("the last good value stays") || daemon == "proxyd", "it is logged");
        let shown = [MARK, body(&late.cert), body(&other.cert), body(&other.key)];
        for part in shown {
            assert!(!log.contains(part), "a part of a broken value is in the log of {daemon}");
        }
    }
}

/// What a `.env` may be made into by mistake, and what is said of it.
fn broken_dotenvs(good: &str, other: &str) -> Vec<(Broken, &'static str)> {
    let with = |more: &str| Broken::Bytes(format!("{good}{more}").into_bytes());
    let instead = |line: &str| {
        let lines = good.lines().filter(|known| !known.starts_with("CHANNEL_SECRET="));
        let lines: Vec<&str> = lines.chain([line]).collect();
        Broken::Bytes((lines.join("\n") + "\n").into_bytes())
    };
    let mut not_text = good.as_bytes().to_vec();
    not_text.extend(b"OTHER=\xff\xfe\n");
    vec![
        (with(&format!("CHANNEL_SECRET={other}\n")), "both set CHANNEL_SECRET"),
        (with(&format!("export CHANNEL_SECRET='{other}'\n")), "both set CHANNEL_SECRET"),
        (with("export\n"), "expected NAME=value"),
        (with(&format!("export {other}\n")), "expected NAME=value"),
        (with(&format!("OTHER=\"{other}\n")), "line "),
        (with(&format!("a name={other}\n")), "line "),
        (Broken::Bytes(not_text), "UTF-8"),
        (Broken::Directory, "directory"),
        (Broken::Fifo, "FIFO"),
        (Broken::LinkOut, "symbolic link"),
        (instead("CHANNEL_SECRET="), "it is empty"),
        (instead("CHANNEL_SECRET=x"), "fewer than 16 characters"),
        (instead(&format!("CHANNEL_SECRET=\"{MARK} of another shape\"")), "a bearer credential"),
        (instead(&format!("CHANNEL_SECRET={}", MARK.repeat(8_750))), "longer than 65,536 bytes"),
        (instead("# it is gone"), "has it no more"),
    ]
}

#[test]
fn no_broken_dotenv_ever_serves() {
    let suite = Suite::up();
    let path = suite.data().join(".env");
    let good = fs::read_to_string(&path).unwrap();
    let stage = Stage {
        dir: path.clone(),
        aside: suite.data().join("aside"),
        view: View::new(&suite, &suite.dotenv("AUTHD_SERVICE_KEY")),
    };
    let traffic = Traffic::start(&suite, Temper::Strict);
    let secret = suite.dotenv("CHANNEL_SECRET");
    let other = format!("{MARK}.a.good.value.of.its.own");
    let broken = broken_dotenvs(&good, &other);
    let generation = stage.view.generation("routd");
    let refuses = |reason: &str| {
        let error = eventually(&format!("routd says: {reason}"), || {
            let error = stage.error("routd", "CHANNEL_SECRET");
            error.contains(reason).then_some(error)
        });
        let health = stage.view.health("routd");
        assert!(health.contains(reason), "degraded: {health}");
        let place = path.display().to_string();
        assert!(error.contains(&place) && health.contains(&place), "{error} {health}");
        assert_eq!(stage.view.generation("routd"), generation, "{reason}: it serves");
        let shown = format!("{error}{health}{}", stage.view.secrets("routd"));
        assert!(!shown.contains(MARK) && !shown.contains(&secret), "{shown}");
    };
    // The file as a whole first: what is known of a value is shown before what is wrong with the file.
    for mode in [0o666, 0o640, 0o604] {
        put(&path, &Broken::Bytes(good.clone().into_bytes()), &stage.aside);
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        refuses(&format!("its mode is {mode:04o}"));
    }
    for (broken, reason) in &broken {
        put(&path, broken, &stage.aside);
        refuses(reason);
    }
    traffic.more(4);
    // `export` is no mistake.
    let renewed = value("good.again");
    let lines = good.lines().filter(|known| !known.starts_with("CHANNEL_SECRET="));
    let exported = format!("export CHANNEL_SECRET='{renewed}'");
    let lines: Vec<&str> = lines.chain([exported.as_str()]).collect();
    stage.view.taken_up(&["routd", "webd"], || {
        put(&path, &Broken::Bytes((lines.join("\n") + "\n").into_bytes()), &stage.aside);
    });
    traffic.more(2);
    assert_ne!(stage.view.shown_channel_secret(&renewed), 401);
    assert_eq!(stage.view.shown_channel_secret(&other), 401, "a broken file has served");
    traffic.end();
    let log = fs::read_to_string(suite.scratch("up.log")).unwrap();
    assert!(!log.contains(MARK), "a part of a broken value is in the log");
}
