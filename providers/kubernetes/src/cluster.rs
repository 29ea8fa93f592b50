//! The cluster, as the operator's kubeconfig leads to it. Each call has a bound.

use crate::{SecretName, mounts::MountingPod, trouble::Trouble};
use base64::Engine;
use k8s_openapi::api::core::v1::{Pod, Secret as Object};
use kube::{
    Api, Client, Config,
    api::{AttachParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig as Read},
};
use secrets::{Change, Malformed, Name, Secret};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How long the cluster may take to answer one call.
const CALL: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// What a command in a pod may say at most, in bytes.
const SAID_MAX: u64 = 4 * 1024 * 1024;
/// The annotation of a pod that says when it was last touched, in milliseconds since 1970.
const TOUCHED: &str = "arizuko/touched";
/// Who writes, as the cluster keeps it beside each field.
const MANAGER: &str = "arizuko-secrets";

/// Where kubeconfigs are, and which context of them.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// The files, of which the first wins.
    pub files: Vec<PathBuf>,
    /// The context; the current one where none is named.
    pub context: Option<String>,
}

/// One Secret of one cluster, and the pods beside it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    url: String,
    place: SecretName,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A Secret as it was read.
pub struct Stored {
    version: String,
    data: BTreeMap<String, Vec<u8>>,
    /// Whether the cluster lets nobody change it.
    pub is_immutable: bool,
    /// What made it and will put back what it wants there, such as `ExternalSecret arizuko`.
    pub owner: Option<String>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Stored {
    fn of(object: Object) -> Self {
        let owners = object.metadata.owner_references.into_iter().flatten();
        let data = object.data.into_iter().flatten();
        Self {
            version: object.metadata.resource_version.unwrap_or_default(),
            data: data.map(|(key, value)| (key, value.0)).collect(),
            is_immutable: object.immutable == Some(true),
            owner: owners.map(|owner| format!("{} {}", owner.kind, owner.name)).next(),
        }
    }

    /// The value under `name`, as a daemon reads it from the file: without one newline at its end.
    ///
    /// # Errors
    /// What is there cannot be a secret.
    pub fn value(&self, name: &Name) -> Option<Result<Secret, Malformed>> {
        let bytes = self.data.get(name.as_str())?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Some(Secret::new(bytes.to_vec()))
    }

    /// Whether there is anything under `name`.
    #[must_use]
    pub fn has(&self, name: &Name) -> bool {
        self.data.contains_key(name.as_str())
    }

    /// Whether the value under `name` is the same in both.
    #[must_use]
    pub fn agrees(&self, other: &Self, name: &Name) -> bool {
        self.data.get(name.as_str()) == other.data.get(name.as_str())
    }
}

/// What a command in a container came to.
#[derive(Debug)]
pub struct Ran {
    /// Whether it went well.
    pub ok: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub errors: String,
}

impl Cluster {
    /// The cluster to which the kubeconfig leads. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Trouble::Kubeconfig`]: it is not there, or will not do.
    pub async fn open(kubeconfig: &Kubeconfig, place: SecretName) -> Result<Self, Trouble> {
        let wrong = |error: kube::config::KubeconfigError| Trouble::Kubeconfig(error.into());
        let mut merged = Read::default();
        for file in &kubeconfig.files {
            merged = merged.merge(Read::read_from(file).map_err(wrong)?).map_err(wrong)?;
        }
        let options = KubeConfigOptions {
            context: kubeconfig.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(merged, &options).await.map_err(wrong)?;
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(CALL);
        // Whether something is asked again is decided by who knows what it means.
        config.default_retry = false;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| Trouble::Kubeconfig(error.into()))?;
        Ok(Self { client, url, place })
    }

    /// The Secret's name.
    #[must_use]
    pub const fn place(&self) -> &SecretName {
        &self.place
    }

    fn secrets(&self) -> Api<Object> {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }

    async fn asked<T>(
        &self,
        what: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Trouble> {
        match timeout(CALL, call).await {
            Ok(answer) => answer.map_err(|error| Trouble::of(&self.url, what, error)),
            Err(_) => Err(Trouble::late(&self.url)),
        }
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// As [`Trouble`] has them.
    pub async fn read(&self) -> Result<Stored, Trouble> {
        let (secrets, what) = (self.secrets(), format!("read the Secret {}", self.place));
        let found = self.asked(&what, secrets.get_opt(&self.place.name)).await?;
        found.map(Stored::of).ok_or_else(|| Trouble::NoSecret(self.place.clone()))
    }

    /// Makes `changes` in the Secret, all at once and only where it still is as it was `read`. Other keys are left
    /// alone.
    ///
    /// # Errors
    /// [`Trouble::Changed`] where it is not; then nothing was written. Otherwise as [`Trouble`] has them.
    pub async fn write(&self, read: &Stored, changes: &[Change<'_>]) -> Result<Stored, Trouble> {
        let (secrets, what) = (self.secrets(), format!("write the Secret {}", self.place));
        let mut data = Map::new();
        for change in changes {
            let (name, value) = match change {
                Change::Set(name, value) => (name, encoded(value).into()),
                // Absent already is fine: to remove what is not there changes nothing (RFC 7396).
                Change::Remove(name) => (name, Value::Null),
            };
            data.insert(name.to_string(), value);
        }
        // A merge patch with a version is refused where the object has another (409).
        let patch =
            Patch::Merge(json!({"metadata": {"resourceVersion": read.version}, "data": data}));
        let how = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let call = secrets.patch(&self.place.name, &how, &patch);
        match timeout(CALL, call).await {
            Ok(Ok(written)) => Ok(Stored::of(written)),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                Err(Trouble::Changed(self.place.clone()))
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                Err(Trouble::NoSecret(self.place.clone()))
            }
            Ok(Err(error)) => Err(Trouble::of(&self.url, &what, error)),
            Err(_) => Err(Trouble::late(&self.url)),
        }
    }

    /// The pods of the Secret's namespace that have anything of it, and where they have `key`. By name.
    ///
    /// # Errors
    /// As [`Trouble`] has them.
    pub async fn pods(&self, key: &Name) -> Result<Vec<MountingPod>, Trouble> {
        let (pods, what) = (self.pods_api(), format!("list the pods of {}", self.place.namespace));
        let all = self.asked(&what, pods.list(&ListParams::default())).await?;
        let ours =
            all.items.iter().filter_map(|pod| MountingPod::of(pod, &self.place.name, key.as_str()));
        let mut ours: Vec<MountingPod> = ours.collect();
        ours.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ours)
    }

    /// Changes a pod a little, so that its kubelet looks at its volumes now.
    ///
    /// # Errors
    /// As [`Trouble`] has them. A pod that is gone is fine.
    pub async fn touch(&self, pod: &str, now_ms: i64) -> Result<(), Trouble> {
        self.annotate(pod, now_ms, &PatchParams::default()).await
    }

    /// Whether this user may do what [`Self::touch`] does. Nothing is changed.
    ///
    /// # Errors
    /// As there.
    pub async fn may_touch(&self, pod: &str) -> Result<(), Trouble> {
        let how = PatchParams { dry_run: true, ..PatchParams::default() };
        self.annotate(pod, 0, &how).await
    }

    async fn annotate(&self, pod: &str, now_ms: i64, how: &PatchParams) -> Result<(), Trouble> {
        let (pods, what) = (self.pods_api(), format!("annotate the pod {pod}"));
        let patch =
            Patch::Merge(json!({"metadata": {"annotations": {TOUCHED: now_ms.to_string()}}}));
        let how = PatchParams { field_manager: Some(MANAGER.into()), ..how.clone() };
        match timeout(CALL, pods.patch_metadata(pod, &how, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            Ok(Err(error)) => Err(Trouble::of(&self.url, &what, error)),
            Err(_) => Err(Trouble::late(&self.url)),
        }
    }

    /// Runs a command in a container to its end.
    ///
    /// # Errors
    /// As [`Trouble`] has them, also where it takes longer than `patience`. That it fails is no error.
    pub async fn run(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        patience: Duration,
    ) -> Result<Ran, Trouble> {
        let what = format!("run a command in the pod {pod}");
        let pods = self.pods_api();
        let how =
            AttachParams::default().container(container).stdin(false).stdout(true).stderr(true);
        let ran = async {
            let mut process =
                self.asked(&what, pods.exec(pod, command.iter().copied(), &how)).await?;
            let status = process.take_status();
            let (out, errors) = (process.stdout(), process.stderr());
            let (out, errors) = tokio::join!(whole(out), whole(errors));
            let away = |source| Trouble::Away { url: self.url.clone(), source };
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            let Some(status) = status else {
                return Err(away("the connection ended before the command did".into()));
            };
            let failed = status.reason.as_deref() == Some("NonZeroExitCode");
            let ok = status.status.as_deref() == Some("Success");
            if !ok && !failed {
                // The command never ran: there is no such program, or no such container.
                let said = status.message.unwrap_or_default();
                return Err(Trouble::Refused { what: what.clone(), said });
            }
            Ok(Ran {
                ok,
                out: out.map_err(|e| away(e.into()))?,
                errors: errors.map_err(|e| away(e.into()))?,
            })
        };
        timeout(patience, ran).await.unwrap_or_else(|_| Err(Trouble::late(&self.url)))
    }
}

fn encoded(value: &Secret) -> String {
    let bytes = value.expose();
    let engine = base64::engine::general_purpose::STANDARD;
    // One newline is dropped when it is read; a value that ends in one needs another.
    if bytes.ends_with(b"\n") {
        engine.encode([bytes, b"\n"].concat())
    } else {
        engine.encode(bytes)
    }
}

async fn whole(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(SAID_MAX).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
