//! Which backend runs agents. Never one that holds them less than what was asked for.

use crate::Programs;
use crate::backend::{Backend, NoBackend};
use crate::process::{ProcessBackend, ProcessConfig, Shown};
use crate::settings::{BackendChoice, CLAUDE_CLI, HOST_APP_DIR, Values};
use kit::{Context, Setting, StartError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes the backend that was asked for, and says which and why.
pub(crate) async fn backend(
    context: &Context,
    values: &Values,
    programs: Programs,
) -> Result<Arc<dyn Backend>, StartError> {
    let (choice, why) = settled(values.backend, values.image.is_some(), values.socket.exists());
    tracing::info!(backend = ?choice, why, "the backend of agents was chosen");
    match choice {
        Choice::None => Ok(Arc::new(NoBackend)),
        Choice::Process => process(context, values, programs).await,
        #[cfg(feature = "docker")]
        Choice::Docker => docker(context, values, programs).await,
        #[cfg(feature = "kubernetes")]
        Choice::Kubernetes => kubernetes(context, values, programs).await,
    }
}

async fn process(
    context: &Context,
    values: &Values,
    programs: Programs,
) -> Result<Arc<dyn Backend>, StartError> {
    let Programs { launcher, agent, grace, without } = programs;
    let data_dir = context.data_dir.clone();
    let shown = Shown {
        skills: shown(&HOST_APP_DIR, values.skills.as_deref(), &data_dir, Path::is_dir)?,
        claude: shown(&CLAUDE_CLI, values.claude.as_deref(), &data_dir, Path::is_file)?,
    };
    let config = ProcessConfig { data_dir, launcher, agent, grace, without, shown };
    let backend = ProcessBackend::new(config)
        .await
        .map_err(|source| StartError::CannotCreate { path: context.data_dir.clone(), source })?;
    Ok(Arc::new(backend))
}

/// A place that agents get to read, without links. Never one by which they would read the instance's data.
fn shown(
    setting: &Setting<Option<PathBuf>>,
    path: Option<&Path>,
    data_dir: &Path,
    fits: fn(&Path) -> bool,
) -> Result<Option<PathBuf>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |what: &str, hint: &str| StartError::Config {
        what: format!("{} is {}, {what}", setting.name, path.display()),
        hint: hint.into(),
    };
    let real = std::fs::canonicalize(path)
        .ok()
        .filter(|real| fits(real))
        .ok_or_else(|| wrong("which is not there", &format!("set it to {}", setting.expects)))?;
    let data_dir = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    if real.starts_with(&data_dir) || data_dir.starts_with(&real) {
        let hint = "move it to a place of its own";
        return Err(wrong("by which agents could read the data directory", hint));
    }
    Ok(Some(real))
}

#[cfg(feature = "docker")]
async fn docker(
    context: &Context,
    values: &Values,
    programs: Programs,
) -> Result<Arc<dyn Backend>, StartError> {
    use crate::docker::{DockerBackend, DockerConfig, DockerError};
    if values.image.is_none() {
        return Err(StartError::Config {
            what: "CONTAINER_BACKEND is docker, and no image of agents is named".into(),
            hint: "set CONTAINER_IMAGE to an image that the engine has, or CONTAINER_BACKEND to process".into(),
        });
    }
    let config = DockerConfig {
        data_dir: context.data_dir.clone(),
        instance: context.instance.clone(),
        socket: values.socket.clone(),
        host_data_dir: values.host_data_dir.clone(),
        skills: values.skills.clone(),
        network: values.network.clone(),
        user: values.user,
        grace: programs.grace,
        clock: context.clock.clone(),
    };
    match DockerBackend::new(config).await {
        Ok(backend) => Ok(Arc::new(backend)),
        Err(DockerError::Directories(source)) => {
            Err(StartError::CannotCreate { path: context.data_dir.clone(), source })
        }
        Err(DockerError::Forbidden) => Err(StartError::Permission {
            path: values.socket.clone(),
            hint: "add this user to the group that owns it, or set CONTAINER_BACKEND to process"
                .into(),
            source: None,
        }),
        Err(error @ DockerError::NoText) => {
            Err(StartError::Config { what: error.to_string(), hint: "choose others".into() })
        }
    }
}

/// How long a run may wait for a node and an image.
#[cfg(feature = "kubernetes")]
const SLACK: std::time::Duration = std::time::Duration::from_secs(120);

#[cfg(feature = "kubernetes")]
async fn kubernetes(
    context: &Context,
    values: &Values,
    programs: Programs,
) -> Result<Arc<dyn Backend>, StartError> {
    use crate::kubernetes::{JobSettings, KubernetesBackend, KubernetesConfig, KubernetesError};
    if values.image.is_none() {
        return Err(StartError::Config {
            what: "CONTAINER_BACKEND is kubernetes, and no image of agents is named".into(),
            hint: "set CONTAINER_IMAGE to an image that the cluster's nodes can get".into(),
        });
    }
    let pods = values.pods.clone();
    let config = KubernetesConfig {
        data_dir: context.data_dir.clone(),
        instance: context.instance.clone(),
        api_url: pods.api_url,
        account_dir: pods.account_dir,
        namespace: pods.namespace,
        jobs: JobSettings {
            service_account: pods.service_account,
            claim: pods.claim,
            claim_path: pods.claim_path,
            runtime_class: pods.runtime_class,
            node_selector: pods.node_selector,
            node: pods.node,
            tolerations: pods.tolerations,
            pull_secrets: pods.pull_secrets,
            requests: pods.requests,
            labels: pods.labels,
            egress: values.network.clone(),
        },
        user: values.user,
        slack: SLACK,
        grace: programs.grace,
        clock: context.clock.clone(),
    };
    let hint = match KubernetesBackend::new(config).await {
        Ok(backend) => return Ok(Arc::new(backend)),
        Err(KubernetesError::Directories(source)) => {
            return Err(StartError::CannotCreate { path: context.data_dir.clone(), source });
        }
        Err(error) => (
            match &error {
                KubernetesError::Account { .. } => {
                    "mount runed's account there (see KUBERNETES_ACCOUNT_DIR), or choose another CONTAINER_BACKEND"
                }
                KubernetesError::NoRuntimeClass(_) => {
                    "make it, or set AGENT_RUNTIME_CLASS to one that `kubectl get runtimeclass` shows"
                }
                _ => "see KUBERNETES_API_URL",
            },
            error,
        ),
    };
    Err(StartError::Config { what: kit::chain(&hint.1), hint: hint.0.into() })
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    #[cfg(feature = "docker")]
    Docker,
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    Process,
    None,
}

/// `image`: an image was named. `socket`: the engine's socket is there; whether it answers may change while an engine
/// starts, and must not decide how agents are held.
fn settled(asked: BackendChoice, image: bool, socket: bool) -> (Choice, &'static str) {
    match (asked, image, socket) {
        (BackendChoice::None, ..) => (Choice::None, "CONTAINER_BACKEND says so"),
        (BackendChoice::Process, ..) => (Choice::Process, "CONTAINER_BACKEND says so"),
        #[cfg(feature = "docker")]
        (BackendChoice::Docker, ..) => (Choice::Docker, "CONTAINER_BACKEND says so"),
        #[cfg(feature = "kubernetes")]
        (BackendChoice::Kubernetes, ..) => (Choice::Kubernetes, "CONTAINER_BACKEND says so"),
        #[cfg(feature = "docker")]
        (BackendChoice::Auto, true, true) => {
            (Choice::Docker, "CONTAINER_IMAGE names an image, and there is an engine's socket")
        }
        (BackendChoice::Auto, true, _) => (
            Choice::Process,
            "CONTAINER_IMAGE names an image, and there is no engine for it: agents are processes",
        ),
        (BackendChoice::Auto, false, _) => (Choice::Process, "CONTAINER_IMAGE names no image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_shown_no_place_by_which_they_would_read_the_data() {
        let place = tempfile::tempdir().unwrap();
        let of = |name: &str| place.path().join(name);
        for dir in ["skills", "data/homes"] {
            std::fs::create_dir_all(of(dir)).unwrap();
        }
        std::os::unix::fs::symlink(of("data/homes"), of("link")).unwrap();
        let shown = |name: &str| shown(&HOST_APP_DIR, Some(&of(name)), &of("data"), Path::is_dir);
        let real = std::fs::canonicalize(of("skills")).unwrap();
        assert_eq!(shown("skills").unwrap(), Some(real));
        for bad in ["data", "data/homes", "link", "", "nothing"] {
            let error = shown(bad).unwrap_err().to_string();
            assert!(error.contains("HOST_APP_DIR"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_runs_and_only_auto_looks_around() {
        for (image, socket) in [(false, false), (false, true), (true, false), (true, true)] {
            let of = |asked| settled(asked, image, socket).0;
            assert_eq!(of(BackendChoice::None), Choice::None);
            assert_eq!(of(BackendChoice::Process), Choice::Process);
            #[cfg(feature = "docker")]
            assert_eq!(of(BackendChoice::Docker), Choice::Docker, "never silently less");
            #[cfg(feature = "kubernetes")]
            assert_eq!(of(BackendChoice::Kubernetes), Choice::Kubernetes);
            let containers = image && socket && cfg!(feature = "docker");
            assert_eq!(of(BackendChoice::Auto) != Choice::Process, containers);
        }
    }
}
