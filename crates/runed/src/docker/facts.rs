//! What the engine is, and what follows for runs. Pure.

use crate::backend::{Description, Refusal};
use crate::users::{AgentUser, Ids, Remap, agents};
use bollard::models::SystemInfo;
use proto::turn::Harness;

/// An engine, as it described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// As whom agents run, or why none can.
    pub user: Result<AgentUser, String>,
    version: String,
    /// Its runc, as that was built.
    runc: Option<String>,
    /// What it cannot bound or filter, one sentence each.
    lacks: Vec<String>,
    /// Whether its containers have a system call filter.
    seccomp: bool,
}

impl Facts {
    /// Reads what an engine says. `own` is runed's user, `asked` the agents' as it was set.
    pub fn of(info: &SystemInfo, own: Ids, asked: Option<Ids>) -> Self {
        let security = info.security_options.clone().unwrap_or_default();
        let remap = Remap::of(&security, info.docker_root_dir.as_deref().unwrap_or_default());
        let filters = |option: &String| {
            option.contains("name=seccomp") && !option.contains("profile=unconfined")
        };
        let bounds = [
            (info.memory_limit, "memory"),
            (info.pids_limit, "processes"),
            (info.cpu_cfs_quota, "processors"),
        ];
        let unbounded = bounds.into_iter().filter(|(bound, _)| *bound == Some(false));
        Self {
            user: agents(own, asked, remap),
            version: info.server_version.clone().unwrap_or_default(),
            runc: info.runc_commit.as_ref().and_then(|commit| commit.id.clone()),
            lacks: unbounded.map(|(_, what)| format!("the engine cannot bound {what}")).collect(),
            seccomp: security.iter().any(filters),
        }
    }

    /// What is missing for running what somebody else wrote.
    fn too_little(&self) -> Vec<String> {
        let filter = "the engine does not filter system calls (seccomp)".to_owned();
        self.lacks.iter().cloned().chain((!self.seccomp).then_some(filter)).collect()
    }

    /// Whether this harness may run there.
    pub fn admits(&self, harness: Harness) -> Result<AgentUser, Refusal> {
        let user = self.user.clone().map_err(Refusal)?;
        let too_little = self.too_little();
        if !harness.runs_programs() || too_little.is_empty() {
            return Ok(user);
        }
        Err(Refusal(format!(
            "the harness `{}` runs only in containers that are bounded and filtered, and {}; use `offline`, or mend the engine",
            harness.name(),
            too_little.join(" and ")
        )))
    }

    /// For people.
    pub fn describe(&self, network: Option<&str>, skills: bool) -> Description {
        let egress = network.map_or("no network, for no agent".to_owned(), |network| {
            format!("no network, but `{network}` for whoever is granted egress")
        });
        let mut enforced = vec![
            format!("containers of engine {}", self.version),
            egress,
            "a root that cannot be written, its home, its turn's socket".into(),
            "no capabilities, no new privileges".into(),
            "memory, processors and processes of a run, bounded by the kernel".into(),
        ];
        if let Ok(AgentUser { container, .. }) = &self.user {
            enforced.push(format!("user {}:{}, not root", container.uid, container.gid));
        }
        if self.seccomp {
            enforced.push("a filter of system calls".into());
        }
        if skills {
            enforced.push("skills to read only".into());
        }
        let mut missing = self.too_little();
        missing.extend(self.user.clone().err());
        if admits_vsock(&self.version) {
            let text = "this engine lets containers make vsock sockets, which reach a virtual machine's host (23.0 does not)";
            missing.push(text.into());
        }
        missing.push("containers share the machine's kernel".into());
        missing.push("the disk space of a home is not bounded".into());
        missing.push("a run whose time is over while runed is away ends when runed is back".into());
        let harnesses = Harness::ALL.into_iter().filter(|harness| self.admits(*harness).is_ok());
        let versions = [("engine", Some(self.version.clone())), ("runc", self.runc.clone())];
        let known = versions.into_iter().filter_map(|(part, of)| Some((part, of?)));
        let versions = known.filter(|(_, of)| !of.is_empty()).collect();
        Description {
            enforced,
            missing,
            harnesses: harnesses.map(Harness::name).collect(),
            versions,
        }
    }
}

/// Whether the filter of this version lets vsock sockets be made. What cannot be read is taken for old.
fn admits_vsock(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_none_or(|major| major < 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ids = Ids { uid: 1234, gid: 99 };

    fn info(security: &[&str]) -> SystemInfo {
        SystemInfo {
            security_options: Some(security.iter().map(|text| (*text).to_owned()).collect()),
            docker_root_dir: Some("/var/lib/docker".into()),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn a_program_runs_only_where_it_is_bounded_and_filtered() {
        let whole = Facts::of(&info(&["name=seccomp,profile=default"]), OWN, None);
        assert_eq!(whole.admits(Harness::Command).unwrap().container, OWN);
        assert_eq!(
            whole.describe(None, false).harnesses,
            ["offline", "command", "claude", "builtin"]
        );
        let unbounded =
            SystemInfo { memory_limit: Some(false), ..info(&["name=seccomp,profile=default"]) };
        for (info, lack) in [
            (info(&[]), "seccomp"),
            (info(&["name=seccomp,profile=unconfined"]), "seccomp"),
            (unbounded, "memory"),
        ] {
            let facts = Facts::of(&info, OWN, None);
            let refusal = facts.admits(Harness::Command).unwrap_err().to_string();
            assert!(refusal.contains(lack) && refusal.contains("`command`"), "{refusal}");
            assert!(facts.admits(Harness::Offline).is_ok(), "it runs nobody else's code");
            let described = facts.describe(None, false);
            assert_eq!(described.harnesses, ["offline", "builtin"]);
            assert!(described.missing.iter().any(|text| text.contains(lack)), "{described:?}");
        }
    }

    #[test]
    fn the_versions_of_an_engine_are_told_as_far_as_it_tells_them() {
        let commit = bollard::models::Commit { id: Some("v1.1.12-0-g51d5e946".into()) };
        let said = SystemInfo {
            server_version: Some("28.2.2".into()),
            runc_commit: Some(commit),
            ..info(&[])
        };
        let versions = Facts::of(&said, OWN, None).describe(None, false).versions;
        assert_eq!(versions["engine"], "28.2.2");
        assert_eq!(versions["runc"], "v1.1.12-0-g51d5e946");
        assert!(Facts::of(&info(&[]), OWN, None).describe(None, false).versions.is_empty());
    }

    #[test]
    fn an_engine_that_admits_vsock_is_said_to() {
        for (version, admits) in
            [("20.10.24+dfsg1", true), ("", true), ("23.0.0", false), ("28.2.2", false)]
        {
            let info = SystemInfo { server_version: Some(version.into()), ..info(&[]) };
            let missing = Facts::of(&info, OWN, None).describe(None, false).missing;
            assert_eq!(missing.iter().any(|text| text.contains("vsock")), admits, "{version}");
        }
    }

    #[test]
    fn where_no_agent_could_use_its_home_nothing_runs() {
        let facts = Facts::of(&info(&["name=rootless"]), OWN, None);
        assert!(facts.admits(Harness::Offline).unwrap_err().to_string().contains("rootless"));
        assert_eq!(facts.describe(None, false).harnesses, [""; 0]);
    }
}
