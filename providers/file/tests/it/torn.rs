//! Two keys of one mounted Secret never come from two of its versions.

use crate::{directory::value, kubelet::Kubelet};
use provider_file::{Directory, POLL, PathValues};
use secrets::{Answer, Name, SecretSource};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Updates as the kubelet makes them: each a new directory, with the old one removed.
const UPDATES: u64 = 3000;
/// Turns of `..data` alone, among versions that stay.
const SWAPS: u64 = 100_000;
/// How many versions these are.
const VERSIONS: u64 = 500;
const READERS: usize = 4;

/// What reads the pair until it is over.
struct Reading {
    over: AtomicBool,
    reads: AtomicU64,
    /// Pairs that were of two versions, as somebody saw them who opens each file by its path.
    torn_by_path: AtomicU64,
}

/// Has four threads read a pair from `source` while `swap` turns it, and a fifth by path; `check`
/// is given the version and the name of each pair.
fn read_while(
    source: &Arc<dyn SecretSource>,
    names: &[Name; 2],
    paths: Option<[&Path; 2]>,
    check: impl Fn(&mut u64, u64, &str) + Sync,
    swap: impl FnOnce(&Reading),
) -> Reading {
    let reading = Reading {
        over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        torn_by_path: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                // Also where an assertion fails: then nobody goes on.
                let _end = scopeguard(&reading.over);
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut last = 0;
                while !reading.over.load(Ordering::Relaxed) {
                    let answers = runtime.block_on(source.read(names)).unwrap();
                    let [one, two] = &answers[..] else { panic!("two answers: {answers:?}") };
                    assert_eq!(value(one), value(two), "torn");
                    let (Answer::Found(one), Answer::Found(two)) = (one, two) else { return };
                    assert_eq!(one.id, two.id);
                    let version: u64 = one.current.text().unwrap()[1..].parse().unwrap();
                    check(&mut last, version, &one.id);
                    reading.reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        if let Some([one, two]) = paths {
            let reading = &reading;
            scope.spawn(move || {
                while !reading.over.load(Ordering::Relaxed) {
                    let pair = (fs::read(one).unwrap(), fs::read(two).unwrap());
                    reading.torn_by_path.fetch_add(u64::from(pair.0 != pair.1), Ordering::Relaxed);
                }
            });
        }
        let end = scopeguard(&reading.over);
        swap(&reading);
        drop(end);
    });
    reading
}

/// The kubelet updates the pair thousands of times, and removes what it replaced.
fn never_torn(source: Arc<dyn SecretSource>, names: [Name; 2], root: &Path, files: [&str; 2]) {
    let mut kubelet = Kubelet::mount(root, &[(files[0], "v0"), (files[1], "v0")]);
    let forward = |last: &mut u64, version, _: &str| {
        assert!(version >= *last, "never back in time");
        *last = version;
    };
    let reading = read_while(&source, &names, None, forward, |reading| {
        for update in (1..=UPDATES).take_while(|_| !reading.over.load(Ordering::Relaxed)) {
            let text = format!("v{update}");
            kubelet.update(&[(files[0], &text), (files[1], &text)]);
        }
    });
    let reads = reading.reads.into_inner();
    assert!(reads > UPDATES / 10, "only {reads} reads beside {UPDATES} updates");
}

/// Ends it for all when one of them ends or fails.
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
fn a_hundred_thousand_swaps_read_by_four_threads_tear_no_pair_and_do_tear_one_that_is_read_by_path()
{
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let names = [Name::literal("USER"), Name::literal("PASSWORD")];
    Kubelet::mount(root, &[("USER", "v0"), ("PASSWORD", "v0")]);
    for version in 0..VERSIONS {
        let directory = root.join(format!("..{version}"));
        fs::create_dir(&directory).unwrap();
        for name in &names {
            fs::write(directory.join(name.as_str()), format!("v{version}")).unwrap();
        }
    }
    let mount = fs::File::open(root).unwrap();
    let turn = |swap: u64| {
        let target = format!("..{}", swap % VERSIONS);
        rustix::fs::symlinkat(target, &mount, "..data_tmp").unwrap();
        rustix::fs::renameat(&mount, "..data_tmp", &mount, "..data").unwrap();
    };
    turn(0);
    let source: Arc<dyn SecretSource> = Arc::new(Directory::new(root, POLL));
    let paths = names.clone().map(|name| root.join(name.as_str()));
    let of_its_version =
        |_: &mut u64, version: u64, id: &str| assert_eq!(id, format!("..{version}"));
    let mut swaps = 0;
    let paths = Some([paths[0].as_path(), paths[1].as_path()]);
    let reading = read_while(&source, &names, paths, of_its_version, |reading| {
        // Until there was reading enough beside it as well.
        let enough = |swaps| swaps >= SWAPS && reading.reads.load(Ordering::Relaxed) >= SWAPS / 20;
        while !enough(swaps) && !reading.over.load(Ordering::Relaxed) {
            swaps += 1;
            turn(swaps);
        }
    });
    let (reads, torn) = (reading.reads.into_inner(), reading.torn_by_path.into_inner());
    println!("{swaps} swaps, {reads} pairs read whole, {torn} torn by path");
    assert!(torn > 0, "the control, which opens each file by its path, must have been torn");
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
        fs::write(plain.path().join(name.as_str()), path.to_str().unwrap()).unwrap();
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
