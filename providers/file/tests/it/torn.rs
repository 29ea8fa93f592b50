//! Two keys of one mounted Secret never come from two of its versions.

use crate::{directory::value, kubelet::Kubelet};
use provider_file::{Directory, POLL, PathValues};
use secrets::{Answer, Name, SecretSource};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

const SWAPS: u64 = 3000;
const READERS: usize = 4;

/// Has four threads read a pair while the kubelet swaps it thousands of times.
fn never_torn(source: Arc<dyn SecretSource>, names: [Name; 2], root: &Path, files: [&str; 2]) {
    let mut kubelet = Kubelet::mount(root, &[(files[0], "v0"), (files[1], "v0")]);
    let over = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut last = 0;
                while !over.load(Ordering::Relaxed) {
                    let answers = runtime.block_on(source.read(&names)).unwrap();
                    let [one, two] = &answers[..] else { panic!("two answers: {answers:?}") };
                    assert_eq!(value(one), value(two), "torn");
                    let (Answer::Found(one), Answer::Found(two)) = (one, two) else { return };
                    assert_eq!(one.id, two.id);
                    let version: u64 = one.current.text().unwrap()[1..].parse().unwrap();
                    assert!(version >= last, "never back in time");
                    last = version;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let end = scopeguard(&over);
        for swap in 1..=SWAPS {
            let text = format!("v{swap}");
            kubelet.update(&[(files[0], &text), (files[1], &text)]);
        }
        drop(end);
    });
    let reads = reads.into_inner();
    assert!(reads > SWAPS / 10, "only {reads} reads beside {SWAPS} swaps");
}

/// Ends the readers also when the writer fails.
fn scopeguard(over: &AtomicBool) -> impl Drop + '_ {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    End(over)
}

#[test]
fn two_keys_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let names = [Name::literal("USER"), Name::literal("PASSWORD")];
    let source = Arc::new(Directory::new(dir.path(), POLL));
    never_torn(source, names, dir.path(), ["USER", "PASSWORD"]);
}

#[test]
fn a_certificate_and_its_key_that_are_named_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let plain = tempfile::tempdir().unwrap();
    let names = [Name::literal("PROXYD_TLS_CERT"), Name::literal("PROXYD_TLS_KEY")];
    for (name, file) in names.iter().zip(["tls.crt", "tls.key"]) {
        let path = dir.path().join(file);
        std::fs::write(plain.path().join(name.as_str()), path.to_str().unwrap()).unwrap();
    }
    let inner = Arc::new(Directory::new(plain.path(), POLL));
    let source = Arc::new(PathValues::new(inner, names.clone(), POLL));
    // Their version ids differ by the file that names the path.
    let same_id = Arc::new(SameId(source));
    never_torn(same_id, names, dir.path(), ["tls.crt", "tls.key"]);
}

/// Leaves of a version id what tells of the file that the path leads to.
#[derive(Debug)]
struct SameId(Arc<PathValues>);

#[async_trait::async_trait]
impl SecretSource for SameId {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }
    fn place(&self) -> String {
        self.0.place()
    }
    async fn read(&self, names: &[Name]) -> Result<Vec<Answer>, secrets::SourceError> {
        let mut answers = self.0.read(names).await?;
        for answer in &mut answers {
            if let Answer::Found(versions) = answer {
                versions.id = versions.id.split_once(' ').unwrap().1.to_owned();
            }
        }
        Ok(answers)
    }
}
