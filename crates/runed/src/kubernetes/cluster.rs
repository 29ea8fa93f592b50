//! The cluster's API, as runed uses it: each call has a bound, and is made again while that may help.

use super::trouble::Trouble;
use super::{KubernetesConfig, KubernetesError};
use crate::output::Output;
use futures::io::AsyncReadExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::config::AuthInfo;
use kube::{Client, Config};
use proto::runed::TURN_AUDIENCE;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the API may take to answer one call.
const CALL: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to hand over a log.
const LOG: Duration = Duration::from_secs(60);
/// The waits between two tries, from the first to the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Bytes of a log that are read at a time.
const PIECE: usize = 64 * 1024;

/// A namespace of a cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    url: String,
    /// The namespace of agents.
    pub namespace: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

type Answer<T> = Result<T, Trouble>;

/// A call that was made again and again, and failed.
pub(super) struct Failed {
    /// The last failure.
    pub trouble: Trouble,
    /// One of the tries may have been carried out all the same.
    pub doubtful: bool,
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        failed.trouble
    }
}

impl Cluster {
    /// A client for the cluster whose account is in the directory. Nothing is asked yet. The token and the certificate
    /// of the cluster are read again as they change.
    pub fn open(config: &KubernetesConfig) -> Result<Self, KubernetesError> {
        let file = |name: &str| config.account_dir.join(name);
        let namespace = match &config.namespace {
            Some(namespace) => namespace.clone(),
            None => fs::read_to_string(file("namespace"))
                .map_err(|source| KubernetesError::Account { path: file("namespace"), source })?
                .trim()
                .to_owned(),
        };
        for name in ["token", "ca.crt"] {
            fs::metadata(file(name))
                .map_err(|source| KubernetesError::Account { path: file(name), source })?;
        }
        let url = config.api_url.clone();
        let address = url.parse().map_err(|_| KubernetesError::Address(url.clone()))?;
        let mut client = Config::new(address);
        client.default_namespace.clone_from(&namespace);
        client.root_cert_file = Some(file("ca.crt"));
        client.connect_timeout = Some(CONNECT);
        client.write_timeout = Some(CALL);
        client.auth_info = AuthInfo {
            token_file: Some(file("token").to_string_lossy().into_owned()),
            ..AuthInfo::default()
        };
        // This module decides what is asked again.
        client.default_retry = false;
        let client =
            Client::try_from(client).map_err(|error| KubernetesError::Client(error.into()))?;
        Ok(Self { client, url, namespace })
    }

    /// The namespace's Jobs.
    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Its pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn once<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Answer<T> {
        match timeout(CALL, call).await {
            Ok(answer) => answer.map_err(|error| Trouble::of(&self.url, error)),
            Err(_) => Err(Trouble::late(&self.url)),
        }
    }

    /// Calls until there is an answer that stays, or `patience` is over; at least once.
    async fn insist<T, F>(&self, patience: Duration, call: impl Fn() -> F) -> Result<T, Failed>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let until = Instant::now() + patience;
        let (mut wait, mut doubtful) = (AGAIN.0, false);
        loop {
            let trouble = match self.once(call()).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            doubtful |= trouble.is_doubtful();
            let pause = trouble.after().unwrap_or(wait);
            if !trouble.passes() || Instant::now() + pause > until {
                return Err(Failed { trouble, doubtful });
            }
            tracing::debug!(error = kit::chain(&trouble), "the cluster is asked again");
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    /// Makes a Job.
    pub async fn make(&self, job: &Job, patience: Duration) -> Result<Job, Failed> {
        let (jobs, how) = (self.jobs(), PostParams::default());
        self.insist(patience, || jobs.create(&how, job)).await
    }

    /// Removes a Job and its pods. `until_gone`: the Job stays to be seen until its pods are gone. One that is not
    /// there is fine.
    pub async fn remove(&self, name: &str, until_gone: bool, patience: Duration) -> Answer<()> {
        let jobs = self.jobs();
        let how = if until_gone { DeleteParams::foreground() } else { DeleteParams::background() };
        match self.insist(patience, || jobs.delete(name, &how)).await {
            Err(failed) if failed.trouble.is_missing() => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }

    /// Who showed this token, as the cluster says: the review of it.
    pub async fn review(&self, token: &str, patience: Duration) -> Answer<TokenReview> {
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![TURN_AUDIENCE.into()]),
            },
            ..TokenReview::default()
        };
        let how = PostParams::default();
        Ok(self.insist(patience, || reviews.create(&how, &review)).await?)
    }

    /// Whether there is such a RuntimeClass.
    pub async fn has_class(&self, name: &str, patience: Duration) -> Answer<bool> {
        let classes: Api<RuntimeClass> = Api::all(self.client.clone());
        match self.insist(patience, || classes.get(name)).await {
            Ok(_) => Ok(true),
            Err(failed) if failed.trouble.is_missing() => Ok(false),
            Err(failed) => Err(failed.trouble),
        }
    }

    /// Whether the API answers and lets runed look at Jobs.
    pub async fn answers(&self) -> Answer<()> {
        let (jobs, one) = (self.jobs(), ListParams::default().limit(1));
        self.once(jobs.list(&one)).await.map(drop)
    }

    /// Copies what a pod has written so far into `log`. False: the cluster has no such log.
    pub async fn copy_log(&self, pod: &str, log: &mut Output) -> Answer<bool> {
        let how =
            LogParams { container: Some(super::job::CONTAINER.into()), ..LogParams::default() };
        let pods = self.pods();
        let mut stream = std::pin::pin!(match self.once(pods.log_stream(pod, &how)).await {
            // The kubelet has not got it any more, or never had.
            Err(Trouble::Said { .. }) => return Ok(false),
            stream => stream?,
        });
        let copied = async {
            let mut piece = vec![0; PIECE];
            loop {
                match stream.read(&mut piece).await {
                    Ok(0) => return Ok(true),
                    Ok(read) => {
                        let bytes = piece.get(..read).unwrap_or_default();
                        // A full disk must not hide how a run ended: what cannot be kept counts as dropped.
                        let _lost = log.append(bytes).is_err();
                    }
                    Err(error) => {
                        return Err(Trouble::Away { url: self.url.clone(), source: error.into() });
                    }
                }
            }
        };
        timeout(LOG, copied).await.unwrap_or_else(|_| Err(Trouble::late(&self.url)))
    }
}
