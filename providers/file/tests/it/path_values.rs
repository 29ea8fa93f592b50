//! Values that are paths.

use crate::{
    directory::{reason, value},
    kubelet::Kubelet,
};
use provider_file::{PathValues, Watching};
use secrets::{
    Bundle, Name, Need, Role, SecretSource,
    testing::{ScriptedSource, conforms, keep, policy},
};
use std::{fs, os::unix::fs::symlink, sync::Arc, time::Duration};
use tokio::time::timeout;

const CERT: Name = Name::literal("PROXYD_TLS_CERT");
const KEY: Name = Name::literal("PROXYD_TLS_KEY");
const OTHER: Name = Name::literal("CHANNEL_SECRET");

static TLS: Bundle<(String, String)> = Bundle {
    needs: &[Need::required(CERT, "the edge's certificate"), Need::required(KEY, "its key")],
    role: Role::Uses,
    parse: |values| {
        let cert = values.require(&CERT)?.text()?.to_owned();
        Ok((cert, values.require(&KEY)?.text()?.to_owned()))
    },
};

fn over(source: &ScriptedSource, poll: Duration, inotify: bool) -> PathValues {
    PathValues::watching(Arc::new(source.clone()), [CERT, KEY], Watching { poll, inotify })
}

#[tokio::test]
async fn a_path_is_read_and_everything_else_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("crt.pem"), "CERTIFICATE\n").unwrap();
    let path = dir.path().join("crt.pem");
    let inner = ScriptedSource::default();
    inner.set_silently([
        ("PROXYD_TLS_CERT", path.to_str().unwrap()),
        ("PROXYD_TLS_KEY", "-----BEGIN PRIVATE KEY-----"),
        ("CHANNEL_SECRET", "/not-a-path-here"),
    ]);
    let source = over(&inner, Duration::from_secs(1), true);
    let answers = source.read(&[CERT, KEY, OTHER]).await.unwrap();
    let values: Vec<_> = answers.iter().map(value).collect();
    assert_eq!(values, ["CERTIFICATE", "-----BEGIN PRIVATE KEY-----", "/not-a-path-here"]);
    assert!(source.is_static_for(&OTHER) == inner.is_static_for(&OTHER));
    let absent = Name::literal("ABSENT");
    conforms(&source, (&CERT, b"CERTIFICATE"), (&OTHER, b"/not-a-path-here"), &absent).await;
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_refused_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    let inner = ScriptedSource::default();
    let source = over(&inner, Duration::from_secs(1), false);
    let here = dir.path().to_str().unwrap().to_owned();
    for (path, expected) in [
        (format!("{here}/nowhere"), "the file that it names is not there"),
        (
            format!("{here}/no/where"),
            "the file that it names: its directory cannot be read: it is not there",
        ),
        ("/".to_owned(), "the file that it names: that is no file"),
        ("/tmp".to_owned(), "the file that it names: it is a directory"),
    ] {
        inner.set_silently([("PROXYD_TLS_CERT", &path)]);
        assert_eq!(reason(&source.read(&[CERT]).await.unwrap()[0]), expected, "{path}");
    }
}

#[tokio::test]
async fn links_that_an_operator_made_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (live, archive) = (dir.path().join("live"), dir.path().join("archive"));
    fs::create_dir(&live).unwrap();
    fs::create_dir(&archive).unwrap();
    fs::write(archive.join("cert1.pem"), "one").unwrap();
    symlink("../archive/cert1.pem", live.join("cert.pem")).unwrap();
    let inner = ScriptedSource::default();
    inner.set_silently([("PROXYD_TLS_CERT", live.join("cert.pem").to_str().unwrap())]);
    let source = over(&inner, Duration::from_secs(1), false);
    assert_eq!(value(&source.read(&[CERT]).await.unwrap()[0]), "one");
}

#[tokio::test]
async fn a_mounted_tls_secret_is_watched_as_a_pair() {
    for inotify in [true, false] {
        let poll = if inotify { Duration::from_secs(3600) } else { Duration::from_millis(20) };
        let dir = tempfile::tempdir().unwrap();
        let mut kubelet = Kubelet::mount(dir.path(), &[("tls.crt", "c1"), ("tls.key", "k1")]);
        let path = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
        let inner = ScriptedSource::default();
        inner.set_silently([
            ("PROXYD_TLS_CERT", &path("tls.crt")),
            ("PROXYD_TLS_KEY", &path("tls.key")),
        ]);
        let source = Arc::new(over(&inner, poll, inotify));
        let secrets = keep(vec![source], policy()).for_daemon("proxyd");
        let mut watched = secrets.watch(&TLS).await.unwrap();
        for round in 2..5 {
            let (cert, key) = (format!("c{round}"), format!("k{round}"));
            kubelet.update(&[("tls.crt", &cert), ("tls.key", &key)]);
            let noticed = timeout(Duration::from_secs(10), watched.reached(round)).await;
            noticed.unwrap_or_else(|_| panic!("update {round} is not noticed"));
            assert_eq!(*watched.current(), (cert, key));
        }
        // The inner source may change as well: now it holds the value itself.
        inner.set([("PROXYD_TLS_CERT", "c9"), ("PROXYD_TLS_KEY", "k9")]);
        timeout(Duration::from_secs(10), watched.reached(5)).await.expect("it is heard as well");
        assert_eq!(watched.current().0, "c9");
    }
}
