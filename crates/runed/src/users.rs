//! As which user agents run in their containers, and who owns their homes on the machine. Pure.
//!
//! The two differ only where the engine maps the users of containers to others (`userns-remap`).

pub(crate) use crate::settings::AgentUser as Ids;

/// Whom agents are when runed is root and nobody said otherwise: the first user of most images.
const DEFAULT: Ids = Ids { uid: 1000, gid: 1000 };

/// How the engine maps the users of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remap {
    /// It does not.
    None,
    /// Container's 0 is this user of the machine, and so on upwards.
    From(Ids),
    /// It does, in a way that is not known from here.
    Unknown,
}

impl Remap {
    /// From what the engine says of itself: its security options, and its root directory, which ends in the ids that it
    /// maps to.
    pub fn of(security: &[String], root_dir: &str) -> Self {
        if security.iter().any(|option| option.contains("name=rootless")) {
            return Self::Unknown;
        }
        if !security.iter().any(|option| option.contains("name=userns")) {
            return Self::None;
        }
        let name = root_dir.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let ids = name
            .split_once('.')
            .and_then(|(uid, gid)| Some(Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? }));
        ids.map_or(Self::Unknown, Self::From)
    }
}

/// An agent's user, seen from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgentUser {
    /// In the container.
    pub container: Ids,
    /// On the machine: the owner of its home.
    pub host: Ids,
}

/// Whom agents are. `own` is runed's user, `asked` what the operator set.
///
/// # Errors
/// With the sentence that says why no agent could use its home, and what would do.
pub(crate) fn agents(own: Ids, asked: Option<Ids>, remap: Remap) -> Result<AgentUser, String> {
    let container = match (own.uid, asked) {
        (0, asked) => asked.unwrap_or(DEFAULT),
        (_, Some(asked)) if asked != own => {
            return Err(format!(
                "AGENT_USER is {}:{}, and only root can give homes to another user than its own ({}:{}); leave it out, or run runed as root",
                asked.uid, asked.gid, own.uid, own.gid
            ));
        }
        _ => own,
    };
    match remap {
        Remap::None => Ok(AgentUser { container, host: container }),
        Remap::From(base) if own.uid == 0 => {
            let shifted = base.uid.checked_add(container.uid).zip(base.gid.checked_add(container.gid));
            let (uid, gid) = shifted.ok_or("the engine's users-remap leaves no room for AGENT_USER")?;
            Ok(AgentUser { container, host: Ids { uid, gid } })
        }
        Remap::From(_) => Err(
            "the engine maps the users of containers to others (userns-remap), so only a runed that is root can give agents homes that they can use".into(),
        ),
        Remap::Unknown => Err(
            "the engine is rootless, or maps users in a way that is not known: agents could not use their homes; use an engine with or without userns-remap that runs as root, or CONTAINER_BACKEND=process".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Ids = Ids { uid: 0, gid: 0 };
    const USER: Ids = Ids { uid: 1234, gid: 99 };

    #[test]
    fn root_gives_homes_to_a_user_and_a_user_keeps_its_own() {
        let who = |own, asked| agents(own, asked, Remap::None).unwrap();
        assert_eq!(who(ROOT, None), AgentUser { container: DEFAULT, host: DEFAULT });
        assert_eq!(who(ROOT, Some(USER)).host, USER);
        assert_eq!(who(USER, None), AgentUser { container: USER, host: USER });
        assert_eq!(who(USER, Some(USER)).container, USER);
        let error = agents(USER, Some(DEFAULT), Remap::None).unwrap_err();
        assert!(error.contains("AGENT_USER is 1000:1000") && error.contains("1234:99"), "{error}");
    }

    #[test]
    fn an_engine_that_maps_users_gets_homes_of_the_mapped_user() {
        let security = ["name=seccomp,profile=default".into(), "name=userns".into()];
        let remap = Remap::of(&security, "/var/lib/docker/231072.231073");
        assert_eq!(remap, Remap::From(Ids { uid: 231_072, gid: 231_073 }));
        let agent = agents(ROOT, None, remap).unwrap();
        assert_eq!(agent.container, DEFAULT);
        assert_eq!(agent.host, Ids { uid: 232_072, gid: 232_073 });
        assert!(agents(USER, None, remap).unwrap_err().contains("userns-remap"));
        assert_eq!(Remap::of(&security, "/var/lib/docker"), Remap::Unknown);
        assert_eq!(
            Remap::of(&["name=rootless".into()], "/home/a/.local/share/docker"),
            Remap::Unknown
        );
        assert!(agents(ROOT, None, Remap::Unknown).unwrap_err().contains("rootless"));
        assert_eq!(Remap::of(&security[..1], "/var/lib/docker/1.1"), Remap::None);
    }

    #[test]
    fn root_is_no_agent() {
        for text in ["0", "0:5", "5:0", "", "a", "1:2:3", "-1"] {
            assert_eq!(Ids::parse(text), None, "{text:?}");
        }
        assert_eq!(Ids::parse("5"), Some(Ids { uid: 5, gid: 5 }));
        assert_eq!(Ids::parse("1234:99"), Some(USER));
    }
}
