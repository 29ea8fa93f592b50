//! Which containers of a pod have one key of a Secret, and how. Pure.

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, PodSpec, Volume};

/// A pod that has something of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountingPod {
    /// Its name.
    pub name: String,
    /// Whether its containers run.
    pub runs: bool,
    /// Its containers that have anything of the Secret, each with what it runs.
    pub holders: Vec<Holder>,
}

/// A container that has something of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub container: String,
    /// What it runs.
    pub program: Program,
    /// Where it has the key, if it has that key.
    pub sights: Vec<Sight>,
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// All daemons in one process.
    Up,
    /// What is called by this name: a daemon's, or somebody else's.
    Named(String),
}

/// One place where a container has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The name under which the program finds it.
    pub name: String,
    /// Whether it changes there.
    pub held: Held,
}

/// How a container has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// As a file that the kubelet replaces.
    File,
    /// As a variable of the environment, which never changes while the container runs.
    Variable,
    /// As a file that is mounted by `subPath`, which the kubelet never replaces.
    SubPath,
}

impl MountingPod {
    /// The pod, if it lasts and has anything of `secret`; with where it has `key`.
    #[must_use]
    pub fn of(pod: &Pod, secret: &str, key: &str) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let is_over = pod.metadata.deletion_timestamp.is_some()
            || matches!(phase, Some("Succeeded" | "Failed"));
        if is_over {
            return None;
        }
        let holders: Vec<Holder> = spec
            .containers
            .iter()
            .filter_map(|container| holder(spec, container, secret, key))
            .collect();
        let name = pod.metadata.name.clone()?;
        (!holders.is_empty()).then(|| Self { name, runs: phase == Some("Running"), holders })
    }
}

fn holder(spec: &PodSpec, container: &Container, secret: &str, key: &str) -> Option<Holder> {
    let (mut sights, mut any) = (Vec::new(), false);
    for source in container.env_from.iter().flatten() {
        if source.secret_ref.as_ref().is_some_and(|of| of.name == secret) {
            any = true;
            let name = format!("{}{key}", source.prefix.as_deref().unwrap_or_default());
            sights.push(Sight { name, held: Held::Variable });
        }
    }
    for variable in container.env.iter().flatten() {
        let of = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        let Some(of) = of.filter(|of| of.name == secret) else { continue };
        any = true;
        if of.key == key {
            sights.push(Sight { name: variable.name.clone(), held: Held::Variable });
        }
    }
    for mount in container.volume_mounts.iter().flatten() {
        let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let Some(paths) = volume.and_then(|volume| paths(volume, secret, key)) else { continue };
        any = true;
        let sub_path = mount.sub_path.as_deref().or(mount.sub_path_expr.as_deref());
        for path in paths {
            let held = match sub_path {
                Some(sub) if path == sub || path.starts_with(&format!("{sub}/")) => Held::SubPath,
                // Another file of the volume is what is mounted.
                Some(_) => continue,
                None => Held::File,
            };
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            sights.push(Sight { name, held });
        }
    }
    any.then(|| Holder { container: container.name.clone(), program: program(container), sights })
}

/// The files that hold `key` in a volume; none where it holds none of `secret`.
fn paths(volume: &Volume, secret: &str, key: &str) -> Option<Vec<String>> {
    let of_items = |items: Option<&Vec<KeyToPath>>| match items {
        None => vec![key.to_owned()],
        Some(items) => {
            items.iter().filter(|item| item.key == key).map(|item| item.path.clone()).collect()
        }
    };
    if let Some(own) = &volume.secret {
        return (own.secret_name.as_deref() == Some(secret)).then(|| of_items(own.items.as_ref()));
    }
    let sources =
        volume.projected.iter().filter_map(|projected| projected.sources.as_ref()).flatten();
    let ours: Vec<_> = sources
        .filter_map(|source| source.secret.as_ref())
        .filter(|of| of.name == secret)
        .collect();
    (!ours.is_empty())
        .then(|| ours.into_iter().flat_map(|of| of_items(of.items.as_ref())).collect())
}

/// What a container runs: `run NAME`, `up`, or what it is called.
fn program(container: &Container) -> Program {
    let words: Vec<&str> =
        container.command.iter().chain(&container.args).flatten().map(String::as_str).collect();
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    // The program's own name may come first, where the image has another entry point.
    let own = usize::from(words.first().is_some_and(|word| base(word) == "arizuko"));
    match words.get(own..) {
        Some(["up", ..]) => Program::Up,
        Some(["run", name, ..]) => Program::Named((*name).to_owned()),
        Some([first, ..]) if container.command.is_some() => Program::Named(base(first)),
        _ => Program::Named(container.name.clone()),
    }
}

#[cfg(test)]
mod tests;
