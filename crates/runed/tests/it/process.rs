//! The process backend: the suite with every layer of the sandbox and with fewer, and what only it does.

use crate::conformance::{Place, conformance};
use crate::waiting::{until, within};
use proto::runed::{Egress, Limits};
use proto::turn::Harness;
use runed::backend::{Backend, Found, NotStarted};
use runed::process::{AgentCommand, ProcessBackend, ProcessConfig, RunDir, Shown, Without};
use runed::run::{How, RunId, RunSpec};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

conformance!(with_every_layer, super::Machine::new(super::Without::default()));
conformance!(
    without_namespaces,
    super::Machine::new(super::Without { namespaces: true, ..super::Without::default() })
);

/// A data directory as an instance has it.
pub struct Machine {
    place: TempDir,
    data: PathBuf,
    without: Without,
}

impl Machine {
    pub fn new(without: Without) -> Self {
        let place = tempfile::tempdir().unwrap();
        let data = fs::canonicalize(place.path()).unwrap();
        for dir in ["store", "homes/other", "run/t"] {
            fs::create_dir_all(data.join(dir)).unwrap();
        }
        fs::write(data.join(".env"), "CHANNEL_SECRET=do-not-read").unwrap();
        fs::write(data.join("store/routd.db"), "rows").unwrap();
        fs::write(data.join("homes/other/private"), "theirs").unwrap();
        Self { place, data, without }
    }

    /// Agents that run the file `script` of their home.
    pub fn config(&self) -> ProcessConfig {
        ProcessConfig {
            data_dir: self.data.clone(),
            launcher: env!("CARGO_BIN_EXE_runed-shim").into(),
            agent: AgentCommand {
                program: "/bin/sh".into(),
                name: "sh".into(),
                args: vec!["-c".into(), "exec sh \"$4/script\"".into(), "agent".into()],
                bridges: false,
            },
            grace: Duration::from_millis(500),
            without: self.without,
            shown: Shown::default(),
        }
    }

    pub async fn process(&self) -> ProcessBackend {
        ProcessBackend::new(self.config()).await.unwrap()
    }

    fn dir(&self, id: &RunId) -> RunDir {
        RunDir::at(self.data.join("run/r").join(id.as_str()))
    }

    /// Ends a run's shim as the kernel does when memory is short.
    pub fn kill_shim(&self, id: &str) {
        let shim = self.dir(&id.parse().unwrap()).begun().unwrap().unwrap().pid;
        let shim = rustix::process::Pid::from_raw(shim).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    }

    /// The processes that were started with this home.
    fn pids(&self, home: &Path) -> Vec<i32> {
        let wanted = format!("HOME={}", home.display());
        let of_run = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|text| text == wanted.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(of_run).collect()
    }

    fn run(&self, name: &str, script: &str) -> (RunSpec, PathBuf) {
        let home = self.data.join("homes").join(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("script"), script).unwrap();
        let id: RunId = name.parse().unwrap();
        let spec = RunSpec {
            turn_dir: self.turn_dir(&id),
            listener: None,
            id,
            folder: None,
            home: name.parse().unwrap(),
            image: None,
            limits: Limits::default(),
            egress: Egress::None,
            harness: Harness::Offline,
        };
        (spec, home)
    }
}

impl Place for Machine {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.process().await)
    }

    fn data(&self) -> &Path {
        &self.data
    }

    fn turn_dir(&self, id: &RunId) -> PathBuf {
        let dir = self.data.join("run/t").join(id.as_str());
        fs::create_dir_all(&dir).unwrap();
        // Bound and let go: the file stays, which is all that most of these agents look at.
        if !dir.join("s").exists() {
            drop(UnixListener::bind(dir.join("s")).unwrap());
        }
        dir
    }

    fn processes(&self, home: &Path) -> usize {
        self.pids(home).len()
    }

    fn shows_itself(&self) -> bool {
        !self.without.namespaces
    }
}

impl Drop for Machine {
    /// A test that failed leaves no agent behind.
    fn drop(&mut self) {
        let Ok(runs) = fs::read_dir(self.place.path().join("run/r")) else { return };
        for run in runs.flatten() {
            let dir = RunDir::at(run.path());
            if let (Ok(Some(begun)), Ok(None)) = (dir.begun(), dir.end())
                && begun.pid.unsigned_abs() != std::process::id()
            {
                let shim = rustix::process::Pid::from_raw(begun.pid).unwrap();
                rustix::process::kill_process(shim, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

#[tokio::test]
async fn this_machine_hides_the_data_directory_and_says_what_with() {
    let machine = Machine::new(Without::default());
    let backend = machine.process().await;
    let containment = backend.containment();
    let needs = "this test needs a kernel with namespaces and Landlock";
    assert!(containment.hides_the_data(), "{needs}: {containment:?}");
    let described = backend.describe();
    assert_eq!(described.harnesses, ["offline", "command", "claude", "builtin"], "{described:?}");
    for phrase in ["namespaces", "Landlock", "no new privileges"] {
        assert!(described.enforced.iter().any(|text| text.contains(phrase)), "{described:?}");
    }
    assert!(
        described.missing.iter().any(|text| text.contains("one trusted tenant")),
        "the limits of processes are said: {described:?}"
    );
    let left = fs::read_dir(machine.data.join("run/r")).unwrap().count();
    assert_eq!(left, 0, "the trial leaves nothing");
}

#[tokio::test]
async fn an_agent_gets_no_capability_back_by_another_namespace() {
    let limit = || fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    let before = limit();
    let machine = Machine::new(Without::default());
    let backend = machine.process().await;
    let script =
        "grep -i ^cap /proc/self/status; id -u; unshare -U true && echo nested; hostname; true";
    let (spec, _) = machine.run("nested", script);
    backend.start(&spec).await.unwrap();
    within("the end", backend.watch(&spec.id)).await.unwrap();
    let log = String::from_utf8(backend.log(&spec.id).await.unwrap().bytes).unwrap();
    let sets = log.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once('\t'));
    let values: Vec<&str> = sets.map(|(_, value)| value).collect();
    assert_eq!(values, ["0000000000000000"; 5], "{log}");
    assert!(!log.contains("nested"), "{log}");
    let said = backend.describe().missing.iter().any(|text| text.contains("root by name"));
    assert_eq!(log.lines().any(|line| line == "0"), said, "root, and it is not said: {log}");
    assert_eq!(limit(), before, "the machine's own limit stays");
}

#[tokio::test]
async fn with_less_of_a_sandbox_only_offline_runs_and_the_refusal_says_so() {
    for (without, leak) in [
        (Without { namespaces: true, landlock: false }, "speak to other sockets"),
        (Without { namespaces: true, landlock: true }, "read the data directory"),
    ] {
        let machine = Machine::new(without);
        let backend = machine.process().await;
        let (spec, home) = machine.run("program", "touch ran");
        let program = RunSpec { harness: Harness::Command, ..spec.clone() };
        let refusal = backend.validate(&program).unwrap_err().to_string();
        assert!(refusal.contains("`command`") && refusal.contains(leak), "{refusal}");
        assert!(refusal.contains("use `offline`"), "{refusal}");
        let refused = backend.start(&program).await.unwrap_err();
        assert!(matches!(refused, NotStarted::Refused(_)));
        assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Nothing);
        assert!(!home.join("ran").exists(), "it did not run");
        assert_eq!(backend.describe().harnesses, ["offline", "builtin"]);
        backend.start(&spec).await.unwrap();
        let ended = within("the offline run", backend.watch(&spec.id)).await.unwrap();
        assert_eq!(ended.how, How::Exited { code: 0 });
    }
}

#[tokio::test]
async fn a_shim_that_is_killed_takes_its_run_with_it() {
    for without in [Without::default(), Without { namespaces: true, ..Without::default() }] {
        let machine = Machine::new(without);
        let backend = machine.process().await;
        let script = "(setsid sh -c 'trap \"\" TERM; touch up; while :; do sleep 0.1; done' &); while :; do sleep 0.1; done";
        let (spec, home) = machine.run("lost", script);
        backend.start(&spec).await.unwrap();
        until("the agent is up", || home.join("up").exists()).await;
        machine.kill_shim(spec.id.as_str());
        let ended = within("the end", backend.watch(&spec.id)).await.unwrap();
        assert_eq!(ended.how, How::Lost);
        assert_eq!(machine.processes(&home), 0, "{without:?}");
        fs::write(home.join("script"), "touch again").unwrap();
        backend.start(&spec).await.unwrap();
        assert!(!home.join("again").exists(), "what was lost is not run again");
    }
}

#[tokio::test]
async fn an_agent_that_can_bridge_is_told_where_it_has_a_loopback_of_its_own() {
    for (without, bridged) in
        [(Without::default(), true), (Without { namespaces: true, ..Without::default() }, false)]
    {
        let machine = Machine::new(without);
        let config = machine.config();
        let agent = AgentCommand {
            args: vec!["-c".into(), "echo \"$@\"; cat /proc/net/dev /proc/net/fib_trie".into()],
            bridges: true,
            ..config.agent.clone()
        };
        let backend = ProcessBackend::new(ProcessConfig { agent, ..config }).await.unwrap();
        let (spec, _) = machine.run("bridge", "");
        backend.start(&spec).await.unwrap();
        within("the end", backend.watch(&spec.id)).await.unwrap();
        let log = backend.log(&spec.id).await.unwrap().bytes;
        let log = String::from_utf8(log).unwrap();
        assert_eq!(log.contains("--bridge"), bridged, "{log}");
        if bridged {
            // Addresses appear in that file once an interface is up, and there is only one.
            assert!(log.contains("127.0.0.1"), "{log}");
            let interfaces = log.lines().filter(|line| line.contains(':')).count();
            assert!(log.contains("lo:") && !log.contains("eth"), "{interfaces} in {log}");
        }
    }
}

#[tokio::test]
async fn no_descriptor_variable_or_argument_is_handed_on() {
    let machine = Machine::new(Without::default());
    // A file that a daemon may have open, of the kind that programs inherit.
    let secret = fs::File::open(machine.data.join(".env")).unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let backend = machine.process().await;
    let (spec, home) = machine.run("bare", "sleep 60");
    backend.start(&spec).await.unwrap();
    let shim = machine.dir(&spec.id).begun().unwrap().unwrap().pid;
    let sleeping =
        || machine.pids(&home).into_iter().find(|pid| command_line(*pid).contains("sleep"));
    until("the agent sleeps", || sleeping().is_some()).await;
    let agent = sleeping().unwrap();
    // While a program is being loaded, its loader has a library open for a moment.
    let open = || fs::read_dir(format!("/proc/{agent}/fd")).unwrap().count();
    until("the agent has its standard three descriptors and no other", || open() == 3).await;
    let shims = fs::read(format!("/proc/{shim}/environ")).unwrap();
    assert!(shims.is_empty(), "the shim has no environment: {}", String::from_utf8_lossy(&shims));
    assert!(!command_line(shim).contains("do-not-read"));
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
}

fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[tokio::test]
async fn a_process_that_got_the_shims_number_is_not_taken_for_it() {
    let machine = Machine::new(Without::default());
    let backend = machine.process().await;
    let (spec, _) = machine.run("reused", "exit 0");
    backend.start(&spec).await.unwrap();
    within("the end", backend.watch(&spec.id)).await.unwrap();
    let dir = machine.dir(&spec.id);
    // As if the shim had been killed, and its number given to this test.
    let mut begun = dir.begun().unwrap().unwrap();
    begun.pid = i32::try_from(std::process::id()).unwrap();
    fs::write(dir.file("begun.json"), serde_json::to_vec(&begun).unwrap()).unwrap();
    fs::remove_file(dir.file("end.json")).unwrap();
    assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Lost);
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    // This line runs: the test was not sent SIGTERM.
}

#[tokio::test]
async fn an_agent_reads_its_skills_and_the_cli_and_writes_neither() {
    for without in [Without::default(), Without { namespaces: true, ..Without::default() }] {
        let machine = Machine::new(without);
        let apart = tempfile::tempdir().unwrap();
        let apart = fs::canonicalize(apart.path()).unwrap();
        fs::create_dir(apart.join("skills")).unwrap();
        fs::write(apart.join("skills/SKILL.md"), "how to greet").unwrap();
        fs::write(apart.join("claude"), "#!/bin/sh\necho it runs\n").unwrap();
        fs::set_permissions(apart.join("claude"), Permissions::from_mode(0o755)).unwrap();
        fs::write(apart.join("private"), "nobody should read this").unwrap();
        let shown =
            Shown { skills: Some(apart.join("skills")), claude: Some(apart.join("claude")) };
        let config = machine.config();
        let script = "while [ $# -gt 0 ]; do case $1 in --skills) S=$2;; --claude) C=$2;; esac; shift; done
             cat \"$S/SKILL.md\"; \"$C\"; echo x >\"$S/new\" && echo WROTE; echo x >>\"$C\" && echo WROTE
             cat \"${C%claude}private\"; echo \"at $S\"";
        let agent = AgentCommand {
            args: vec!["-c".into(), script.into(), "ant".into()],
            bridges: true,
            ..config.agent.clone()
        };
        let backend = ProcessBackend::new(ProcessConfig { agent, shown, ..config }).await.unwrap();
        let (spec, _) = machine.run("shown", "");
        backend.start(&spec).await.unwrap();
        within("the end", backend.watch(&spec.id)).await.unwrap();
        let log = String::from_utf8(backend.log(&spec.id).await.unwrap().bytes).unwrap();
        assert!(log.contains("how to greet") && log.contains("it runs"), "{log}");
        if !without.namespaces && backend.containment().hides_the_data() {
            assert!(log.contains("at /workspace"), "{log}");
        }
        if backend.containment().hides_the_data() {
            assert!(!log.contains("nobody should"), "{log}");
        }
        assert!(!log.contains("WROTE"), "{log}");
        assert!(!apart.join("skills/new").exists());
    }
}

#[tokio::test]
async fn a_program_that_is_missing_never_starts_and_a_missing_socket_may_yet_come() {
    let machine = Machine::new(Without::default());
    let (spec, _) = machine.run("nothere", "exit 0");
    let missing = PathBuf::from("/usr/bin/no-such-agent");
    let config = machine.config();
    let config = ProcessConfig {
        agent: AgentCommand { program: missing, ..config.agent.clone() },
        ..config
    };
    let backend = ProcessBackend::new(config).await.unwrap();
    let refused = backend.start(&spec).await.unwrap_err();
    assert!(matches!(refused, NotStarted::Refused(_)), "{}", refused.chain());
    assert!(refused.chain().contains("/usr/bin/no-such-agent"), "{}", refused.chain());

    let (mut spec, home) = machine.run("early", "touch ran");
    fs::remove_dir_all(&spec.turn_dir).unwrap();
    let backend = machine.process().await;
    let failed = backend.start(&spec).await.unwrap_err();
    assert!(matches!(failed, NotStarted::Failed { .. }), "{}", failed.chain());
    spec.turn_dir = machine.turn_dir(&spec.id);
    fs::write(spec.turn_dir.join("other"), "x").unwrap();
    let refused = backend.start(&spec).await.unwrap_err();
    assert!(refused.chain().contains("more than the turn's socket"), "{}", refused.chain());
    assert!(!home.join("ran").exists(), "nothing ran");
    fs::remove_file(spec.turn_dir.join("other")).unwrap();
    backend.start(&spec).await.unwrap();
    let ended = within("the end", backend.watch(&spec.id)).await.unwrap();
    assert_eq!(ended.how, How::Exited { code: 0 }, "a start that failed is not the last one");
}
