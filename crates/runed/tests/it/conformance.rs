//! What every backend must do, as one suite. A backend gives a [`Place`] to run it in, and says [`conformance`].
//!
//! The agents are shell scripts, so that they can misbehave as no agent of ours would.

use crate::waiting::{until, within};
use proto::Timestamp;
use proto::runed::{Egress, Limits};
use proto::turn::Harness;
use runed::backend::{Backend, Found, Sweep};
use runed::run::{Ended, How, RunId, RunSpec, TurnListener};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a backend is tried. Its agents run the file `script` of their home with `sh`.
#[allow(async_fn_in_trait, reason = "only these tests use it")]
pub trait Place {
    /// A new backend object over this place, as after a restart of runed.
    async fn backend(&self) -> Arc<dyn Backend>;
    /// The instance's data directory, with `.env`, `store/routd.db` and `homes/other/private` in it.
    fn data(&self) -> &Path;
    /// Makes a directory that holds a turn's socket, and returns it.
    fn turn_dir(&self, id: &RunId) -> PathBuf;
    /// How many processes of the run with this home the machine has.
    fn processes(&self, home: &Path) -> usize;
    /// The image of agents, where the backend has images.
    fn image(&self) -> Option<String> {
        None
    }
    /// The listener of turns, where agents are not on this machine.
    fn listener(&self) -> Option<TurnListener> {
        None
    }
    /// What the backend's machinery puts into every agent's environment, by the beginning of the names.
    fn environment(&self) -> &'static str {
        "OLDPWD"
    }
    /// Whether an agent can read what the kernel says of itself.
    fn shows_itself(&self) -> bool {
        true
    }
    /// Whether a run is ended when its time is over also while no backend object is there.
    fn keeps_time_alone(&self) -> bool {
        true
    }
}

/// Instantiates the suite for a function that makes a place.
macro_rules! conformance {
    ($name:ident, $make:expr) => {
        $crate::conformance::conformance!($name, $make, true);
    };
    // The third says whether this machine has what the backend needs; where it has not, it has said so.
    ($name:ident, $make:expr, $here:expr) => {
        mod $name {
            use crate::conformance as suite;
            $crate::conformance::cases!($make, $here; runs_once_and_says_how_it_ended
                a_crash_is_told_from_an_exit
                a_polite_agent_ends_by_itself
                a_stubborn_agent_is_ended_until_gone
                what_an_agent_left_behind_is_ended
                time_is_bounded_with_or_without_runed
                processes_are_bounded
                output_is_bounded_and_what_is_lost_is_counted
                memory_of_all_processes_together_is_bounded
                a_run_is_found_again_after_a_restart
                an_end_that_nobody_saw_is_known_after_a_restart
                nothing_secret_reaches_an_agent
                an_agent_holds_no_right
                an_agent_has_no_network
                an_agent_sees_its_home_and_no_other_place
                a_program_that_is_not_there_is_refused_for_good
                orphans_are_swept_and_known_runs_are_not);
        }
    };
}
macro_rules! cases {
    ($make:expr, $here:expr; $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            if $here {
                suite::$case(&$make).await;
            }
        }
    )*};
}
pub(crate) use {cases, conformance};

fn id(text: &str) -> RunId {
    text.parse().unwrap()
}

/// A run whose agent does what `script` says.
fn run(place: &impl Place, name: &str, script: &str) -> (RunSpec, PathBuf) {
    let home = place.data().join("homes").join(name);
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("script"), script).unwrap();
    let id = id(name);
    let limits = Limits { wall_clock_seconds: 60, ..Limits::default() };
    let spec = RunSpec {
        turn_dir: place.turn_dir(&id),
        listener: place.listener(),
        id,
        folder: None,
        home: name.parse().unwrap(),
        image: place.image(),
        limits,
        egress: Egress::None,
        harness: Harness::Offline,
    };
    (spec, home)
}

async fn start(backend: &dyn Backend, spec: &RunSpec) {
    if let Err(error) = within("a start", backend.start(spec)).await {
        panic!("{}", error.chain());
    }
}

async fn end(backend: &dyn Backend, spec: &RunSpec) -> Ended {
    within("the end of a run", backend.watch(&spec.id)).await.unwrap()
}

async fn log(backend: &dyn Backend, spec: &RunSpec) -> String {
    String::from_utf8(backend.log(&spec.id).await.unwrap().bytes).unwrap()
}

/// Runs a script to its end.
async fn played(place: &impl Place, name: &str, script: &str) -> (Ended, String) {
    let backend = place.backend().await;
    let (spec, _) = run(place, name, script);
    start(&*backend, &spec).await;
    let ended = end(&*backend, &spec).await;
    (ended, log(&*backend, &spec).await)
}

pub async fn runs_once_and_says_how_it_ended(place: &impl Place) {
    let backend = place.backend().await;
    let (spec, home) = run(place, "once", "echo ran >> ran; echo out; echo err >&2");
    assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Nothing);
    start(&*backend, &spec).await;
    start(&*backend, &spec).await;
    let ended = end(&*backend, &spec).await;
    assert_eq!(ended.how, How::Exited { code: 0 });
    assert!(ended.started_at_ms.unwrap() <= ended.ended_at_ms.unwrap());
    let written = log(&*backend, &spec).await;
    assert!(written.contains("out\n") && written.contains("err\n"), "{written}");
    start(&*backend, &spec).await;
    start(&*place.backend().await, &spec).await;
    assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Ended(ended));
    assert_eq!(fs::read_to_string(home.join("ran")).unwrap(), "ran\n", "it ran once");
}

pub async fn a_crash_is_told_from_an_exit(place: &impl Place) {
    assert_eq!(played(place, "seven", "exit 7").await.0.how, How::Exited { code: 7 });
    let (ended, _) = played(place, "segv", "kill -SEGV $$").await;
    assert_eq!(ended.how, How::Signalled { signal: 11 });
}

pub async fn a_polite_agent_ends_by_itself(place: &impl Place) {
    let backend = place.backend().await;
    let script = "trap 'echo tidied > tidied; exit 0' TERM; touch up; while :; do sleep 0.02; done";
    let (spec, home) = run(place, "polite", script);
    start(&*backend, &spec).await;
    until("the agent is up", || home.join("up").exists()).await;
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(place.processes(&home), 0);
    assert!(home.join("tidied").exists(), "it was given time to tidy up");
    assert_eq!(end(&*backend, &spec).await.how, How::Stopped);
}

pub async fn a_stubborn_agent_is_ended_until_gone(place: &impl Place) {
    let backend = place.backend().await;
    let (spec, home) =
        run(place, "stubborn", "trap '' TERM INT HUP; touch up; while :; do sleep 0.1; done");
    start(&*backend, &spec).await;
    until("the agent is up", || home.join("up").exists()).await;
    assert!(place.processes(&home) > 0, "or the next line would prove nothing");
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(place.processes(&home), 0, "gone when cancel returns, and not later");
    assert_eq!(end(&*backend, &spec).await.how, How::Stopped);
    within("a second cancel", backend.cancel(&spec.id)).await.unwrap();
    within("a cancel of nothing", backend.cancel(&id("nosuchrun"))).await.unwrap();
}

pub async fn what_an_agent_left_behind_is_ended(place: &impl Place) {
    let backend = place.backend().await;
    // A daemon: its parent gone, in a session of its own, deaf to SIGTERM.
    let daemon = "trap '' TERM; touch up; while :; do sleep 0.1; done";
    let script = format!(
        "(setsid sh -c \"{daemon}\" > /dev/null 2>&1 &)\nwhile ! [ -e up ]; do sleep 0.02; done; [ -e stay ] && sleep 60; exit 0"
    );
    let (spec, home) = run(place, "leaves", &script);
    start(&*backend, &spec).await;
    assert_eq!(end(&*backend, &spec).await.how, How::Exited { code: 0 });
    assert!(home.join("up").exists(), "the daemon had started");
    assert_eq!(place.processes(&home), 0, "after an agent that ended by itself");

    let (spec, home) = run(place, "forks", &script);
    fs::write(home.join("stay"), "").unwrap();
    start(&*backend, &spec).await;
    until("the daemon is up", || home.join("up").exists()).await;
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(place.processes(&home), 0, "after an agent that was ended");
}

pub async fn time_is_bounded_with_or_without_runed(place: &impl Place) {
    let backend = place.backend().await;
    let script = "trap '' TERM; while :; do sleep 0.1; done";
    let (mut watched, watched_home) = run(place, "endless", script);
    let (mut alone, alone_home) = run(place, "alone", script);
    for spec in [&mut watched, &mut alone] {
        spec.limits.wall_clock_seconds = 1;
        start(&*backend, spec).await;
    }
    assert_eq!(end(&*backend, &watched).await.how, How::TimedOut);
    assert_eq!(place.processes(&watched_home), 0);
    drop(backend);
    if place.keeps_time_alone() {
        until("a run that nobody watches is over", || place.processes(&alone_home) == 0).await;
    }
    let later = place.backend().await;
    assert_eq!(end(&*later, &alone).await.how, How::TimedOut);
    assert_eq!(place.processes(&alone_home), 0);
}

pub async fn processes_are_bounded(place: &impl Place) {
    let backend = place.backend().await;
    let script = "for i in $(seq 2000); do sleep 60 & done; wait";
    let (mut spec, home) = run(place, "forks", script);
    spec.limits.pids = 40;
    start(&*backend, &spec).await;
    let ended = end(&*backend, &spec).await;
    // The kernel refuses one more, or the launcher ends the run.
    assert!(!matches!(ended.how, How::TimedOut | How::Exited { code: 0 }), "{ended:?}");
    assert_eq!(place.processes(&home), 0);
}

pub async fn output_is_bounded_and_what_is_lost_is_counted(place: &impl Place) {
    let backend = place.backend().await;
    let (mut spec, _) =
        run(place, "noisy", "echo first; head -c 10000000 /dev/zero | tr '\\0' x; echo last");
    spec.limits.output_bytes = 64 * 1024;
    start(&*backend, &spec).await;
    assert_eq!(end(&*backend, &spec).await.how, How::Exited { code: 0 });
    let log = backend.log(&spec.id).await.unwrap();
    assert!(log.bytes.starts_with(b"first\n") && log.bytes.ends_with(b"last\n"));
    assert!(log.bytes.len() < 65 * 1024, "{} bytes kept", log.bytes.len());
    let marker = format!("\n[{} bytes not kept]\n", log.dropped);
    let kept = log.bytes.len() - marker.len();
    assert_eq!(kept as u64 + log.dropped, 10_000_011, "every byte is kept or counted");
}

pub async fn memory_of_all_processes_together_is_bounded(place: &impl Place) {
    let backend = place.backend().await;
    // Each stays below the bound. `tail` holds a line that does not end.
    let script = "for i in 1 2 3 4; do (head -c 40000000 /dev/zero; sleep 60) | tail -n 1 > /dev/null & done; wait";
    let (mut spec, home) = run(place, "hungry", script);
    spec.limits.memory_mib = 100;
    start(&*backend, &spec).await;
    assert_eq!(end(&*backend, &spec).await.how, How::OutOfMemory);
    assert_eq!(place.processes(&home), 0);
}

pub async fn a_run_is_found_again_after_a_restart(place: &impl Place) {
    let script = "echo ran >> ran; while ! [ -e go ]; do sleep 0.02; done; echo went";
    let (spec, home) = run(place, "adopted", script);
    let first = place.backend().await;
    start(&*first, &spec).await;
    drop(first);
    let second = place.backend().await;
    assert_eq!(second.find(&spec.id).await.unwrap(), Found::Alive);
    start(&*second, &spec).await;
    fs::write(home.join("go"), "").unwrap();
    assert_eq!(end(&*second, &spec).await.how, How::Exited { code: 0 });
    assert!(log(&*second, &spec).await.ends_with("went\n"));
    assert_eq!(fs::read_to_string(home.join("ran")).unwrap(), "ran\n", "never run twice");
}

pub async fn an_end_that_nobody_saw_is_known_after_a_restart(place: &impl Place) {
    let (spec, home) = run(place, "unseen", "echo ran >> ran; exit 3");
    let first = place.backend().await;
    start(&*first, &spec).await;
    drop(first);
    until("the agent is gone", || place.processes(&home) == 0).await;
    let second = place.backend().await;
    assert_eq!(end(&*second, &spec).await.how, How::Exited { code: 3 });
    start(&*second, &spec).await;
    assert_eq!(fs::read_to_string(home.join("ran")).unwrap(), "ran\n", "never run twice");
}

pub async fn nothing_secret_reaches_an_agent(place: &impl Place) {
    // Its own environment, that of the first process it can see, and what it was started with.
    let script = "for file in /proc/self/environ /proc/1/environ; do
           cat $file 2> /dev/null | tr '\\0' '\\n' | sed 's/=.*//'
         done
         env | sed 's/=.*//'; echo \"args $*\"; cat /proc/self/cmdline /proc/1/cmdline 2> /dev/null; true";
    let (ended, log) = played(place, "bare", script).await;
    assert_eq!(ended.how, How::Exited { code: 0 }, "{log}");
    let names = log.lines().take_while(|line| !line.starts_with("args"));
    // The shell adds where it is, and a container knows its name.
    let allowed = ["HOME", "HOSTNAME", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "_", ""];
    let names: Vec<&str> = names.collect();
    let ours = place.environment();
    let fine = |name: &&str| allowed.contains(name) || name.starts_with(ours);
    assert!(names.iter().all(fine), "{log}");
    assert!(names.contains(&"HOME") && names.contains(&"PATH"), "{log}");
    // Some of what this very process has under cargo, as runed has its own.
    for word in ["CARGO", "do-not-read"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
}

/// A program may reach no other machine, nor a listener of this one.
pub async fn an_agent_has_no_network(place: &impl Place) {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "for host in 127.0.0.1 172.17.0.1 10.0.0.1; do
           bash -c \"echo > /dev/tcp/$host/{port}\" 2> /dev/null && echo reached
         done; echo done"
    );
    let (ended, log) = played(place, "lonely", &script).await;
    assert_eq!(ended.how, How::Exited { code: 0 }, "{log}");
    assert!(log.ends_with("done\n") && !log.contains("reached"), "{log}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

pub async fn an_agent_sees_its_home_and_no_other_place(place: &impl Place) {
    let data = place.data().display();
    // First it reads, then it tries to write: where its root is its own, the same names may be free there.
    let script = format!(
        "echo mine > mine && cat mine && ls \"$HOME\" > /dev/null && echo home-ok
         for file in {data}/.env {data}/store/routd.db {data}/homes/other/private /etc/shadow; do
           cat \"$file\" 2> /dev/null
         done
         for dir in {data} {data}/store {data}/homes {data}/homes/other /root /home /var; do
           ls -A \"$dir\" 2> /dev/null
         done
         for dir in {data} {data}/store {data}/homes {data}/homes/other {data}/run/t; do
           echo x 2> /dev/null > \"$dir/planted\"
         done
         for file in {data}/.env {data}/store/routd.db {data}/homes/other/private; do
           echo x 2> /dev/null > \"$file\"; rm -f \"$file\" 2> /dev/null
         done
         echo done"
    );
    let (ended, log) = played(place, "seen", &script).await;
    assert_eq!(ended.how, How::Exited { code: 0 });
    assert!(log.starts_with("mine\nhome-ok\n") && log.ends_with("done\n"), "{log}");
    for word in ["do-not-read", "rows", "theirs", "root:", "routd.db", "private", "log", "cache"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
    for (file, text) in [
        (".env", "CHANNEL_SECRET=do-not-read"),
        ("store/routd.db", "rows"),
        ("homes/other/private", "theirs"),
    ] {
        assert_eq!(
            fs::read_to_string(place.data().join(file)).unwrap(),
            text,
            "{file} was changed"
        );
    }
    for dir in ["", "store", "homes", "homes/other", "run/t"] {
        assert!(!place.data().join(dir).join("planted").exists(), "in {dir}");
    }
}

pub async fn a_program_that_is_not_there_is_refused_for_good(place: &impl Place) {
    let backend = place.backend().await;
    let (spec, home) = run(place, "foreign", "touch ran");
    let foreign = RunSpec { turn_dir: place.data().join("store"), ..spec.clone() };
    let refused = backend.start(&foreign).await.unwrap_err();
    assert!(matches!(refused, runed::backend::NotStarted::Refused(_)), "{}", refused.chain());
    let granted = RunSpec { egress: Egress::Granted, ..spec };
    if let Err(refusal) = backend.validate(&granted) {
        assert!(refusal.to_string().contains("network"), "{refusal}");
        assert!(backend.start(&granted).await.is_err(), "what is not valid does not start");
    }
    assert!(!home.join("ran").exists(), "nothing ran");
}

pub async fn orphans_are_swept_and_known_runs_are_not(place: &impl Place) {
    let backend = place.backend().await;
    let (known, known_home) = run(place, "known", "touch up; while :; do sleep 0.1; done");
    let (orphan, orphan_home) = run(place, "orphan", "touch up; while :; do sleep 0.1; done");
    for (spec, home) in [(&known, &known_home), (&orphan, &orphan_home)] {
        start(&*backend, spec).await;
        until("the agent is up", || home.join("up").exists()).await;
    }
    let keep = BTreeSet::from([known.id.clone()]);
    let none = BTreeSet::new();
    let (long_ago, soon) = (Timestamp(1), Timestamp(i64::MAX));
    let sweep = async |keep, began_before, forget_before| {
        let sweep = Sweep { keep, began_before, forget_before };
        within("a sweep", backend.sweep(sweep)).await.unwrap()
    };
    assert_eq!(sweep(&keep, long_ago, long_ago).await, [], "it is newer than what is known");
    assert!(place.processes(&orphan_home) > 0);
    assert_eq!(sweep(&keep, soon, long_ago).await, std::slice::from_ref(&orphan.id));
    start(&*backend, &orphan).await;
    assert_eq!(place.processes(&orphan_home), 0, "what was swept is not run again");
    assert_eq!(sweep(&keep, soon, soon).await, [], "it was gone already");
    assert_eq!(backend.find(&orphan.id).await.unwrap(), Found::Nothing, "and is forgotten now");
    assert_eq!(place.processes(&orphan_home), 0);
    assert_eq!(backend.find(&known.id).await.unwrap(), Found::Alive, "the other one goes on");
    assert_eq!(sweep(&none, soon, soon).await, [known.id]);
    assert_eq!(place.processes(&known_home), 0, "a run that nobody knows is ended");
}

/// A hostile program: every right that it has left is one to be explained.
pub async fn an_agent_holds_no_right(place: &impl Place) {
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status
        mount -t tmpfs none /tmp 2> /dev/null && echo mounted
        mount -o remount,rw / 2> /dev/null && echo remounted
        echo x 2> /dev/null > /planted && echo wrote-root
        echo 1 2> /dev/null > /proc/sys/kernel/panic && echo wrote-proc
        mknod \"$HOME/disk\" b 8 0 2> /dev/null && echo made-a-device
        chown 12345 \"$HOME/script\" 2> /dev/null && echo gave-away
        unshare -U true 2> /dev/null && echo nested
        unshare -m true 2> /dev/null && echo mounts-of-its-own
        kill -0 1 2> /dev/null && id -u; ulimit -c; echo done";
    let (ended, log) = played(place, "hostile", script).await;
    assert_eq!(ended.how, How::Exited { code: 0 }, "{log}");
    let value = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {log}")).trim().to_owned()
    };
    if place.shows_itself() {
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(value(set), "0000000000000000", "{set} {log}");
        }
        assert_eq!(value("NoNewPrivs:"), "1");
        assert_eq!(value("Seccomp:"), "2", "a filter of system calls: {log}");
    }
    for word in ["mounted", "wrote", "made", "gave", "nested", "mounts-of-its-own"] {
        assert!(!log.contains(word), "{word} in {log}");
    }
    assert!(log.ends_with("\n0\ndone\n"), "no core dumps: {log}");
}
