//! Secret Manager's REST API, as far as it is used here
//! (<https://cloud.google.com/secret-manager/docs/reference/rest>, v1).
//!
//! Its requests and answers are those of Google's client; the way there is [`crate::transport`].

use crate::{
    address::Address,
    answers::{self, Word, word},
    session::Session,
    transport::{Reply, Request},
    trouble::Trouble,
    version::Version,
};
use google_cloud_secretmanager_v1::model::{
    AddSecretVersionRequest, Replication, Secret as Description, SecretPayload,
    replication::Automatic,
};
use reqwest::Method;
use secrets::{SECRET_BYTES_MAX, Zeroizing};
use serde::Serialize;
use std::{sync::Arc, time::SystemTime};

/// How many versions are looked at for the one before. They come newest first.
const PAGE: u32 = 25;

const JSON: &str = "application/json";

/// The secrets of one project, or of one of its locations.
pub(crate) struct SecretManager {
    address: Arc<Address>,
    pub(crate) session: Arc<Session>,
}

impl SecretManager {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        let session = Arc::new(Session::new(address.clone()));
        Self { address, session }
    }

    /// The version `which`, a number or `latest`, without its value, and the server's time; `None`
    /// where there is none. Costs nothing: it is no access.
    pub(crate) async fn version(
        &self,
        id: &str,
        which: &str,
    ) -> Result<Option<(Version, Option<SystemTime>)>, Trouble> {
        let request = Request::get(self.url(id, &format!("/versions/{which}")));
        let parse = |reply: Reply| match reply.status {
            200 => Ok(Some((answers::described(&reply.body)?, reply.date))),
            _ if word(&reply.body) == Word::NotFound => Ok(None),
            _ => Err(self.refused(&reply, "secretmanager.versions.get", id)),
        };
        self.session.read(&request, parse).await
    }

    /// The newest versions that are enabled. Costs nothing.
    pub(crate) async fn enabled(&self, id: &str) -> Result<Vec<Version>, Trouble> {
        let query = format!("/versions?filter=state:ENABLED&pageSize={PAGE}");
        let parse = |reply: Reply| match reply.status {
            200 => answers::listed(&reply.body),
            _ if word(&reply.body) == Word::NotFound => Ok(Vec::new()),
            _ => Err(self.refused(&reply, "secretmanager.versions.list", id)),
        };
        self.session.read(&Request::get(self.url(id, &query)), parse).await
    }

    /// The value of one version, by its number. An access, which costs something.
    pub(crate) async fn access(
        &self,
        id: &str,
        number: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let request = Request::get(self.url(id, &format!("/versions/{number}:access")));
        let parse = |reply: Reply| match (reply.status, word(&reply.body)) {
            (200, _) => answers::accessed(&reply.body, number),
            (_, Word::NotFound | Word::FailedPrecondition) => Err(Trouble::Withdrawn(number)),
            _ => Err(self.refused(&reply, "secretmanager.versions.access", id)),
        };
        self.session.read(&request, parse).await
    }

    /// Adds a version, and returns its number; `None` where there is no such secret.
    pub(crate) async fn add(&self, id: &str, value: &[u8]) -> Result<Option<u64>, Trouble> {
        if value.len() > SECRET_BYTES_MAX {
            return Err(Trouble::TooMuch);
        }
        let payload =
            SecretPayload::new().set_data(value.to_vec()).set_data_crc32c(answers::checksum(value));
        let body = AddSecretVersionRequest::new().set_payload(payload);
        let reply = self.post(&self.url(id, ":addVersion"), &body).await?;
        match reply.status {
            200 => answers::described(&reply.body).map(|version| Some(version.number)),
            _ if word(&reply.body) == Word::NotFound => Ok(None),
            _ => Err(self.refused(&reply, "secretmanager.versions.add", id)),
        }
    }

    /// Makes a secret without a version; that it is there already is not an error.
    pub(crate) async fn create(&self, id: &str) -> Result<(), Trouble> {
        let Address { endpoint, location, .. } = &*self.address;
        let parent = self.address.parent();
        let description = match location {
            // A regional secret is where its location is.
            Some(_) => Description::new(),
            None => Description::new()
                .set_replication(Replication::new().set_automatic(Automatic::new())),
        };
        let url = format!("{endpoint}/v1/{parent}/secrets?secretId={id}");
        let reply = self.post(&url, &description).await?;
        match reply.status {
            200 => Ok(()),
            _ if word(&reply.body) == Word::AlreadyExists => Ok(()),
            403 => {
                Err(Trouble::Forbidden { permission: "secretmanager.secrets.create", on: parent })
            }
            _ => Err(Trouble::Status(reply.status)),
        }
    }

    /// Disables a version; that it is not there, or destroyed, is not an error.
    pub(crate) async fn disable(&self, id: &str, number: u64) -> Result<(), Trouble> {
        let url = self.url(id, &format!("/versions/{number}:disable"));
        let reply = self.post(&url, &serde_json::Map::new()).await?;
        match reply.status {
            200 => Ok(()),
            _ if matches!(word(&reply.body), Word::NotFound | Word::FailedPrecondition) => Ok(()),
            _ => Err(self.refused(&reply, "secretmanager.versions.disable", id)),
        }
    }

    /// Deletes a secret with all its versions; that it is not there is not an error.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), Trouble> {
        let mut request = Request::get(self.url(id, ""));
        request.method = Method::DELETE;
        let reply = self.session.call(&request).await?;
        match reply.status {
            200 => Ok(()),
            _ if word(&reply.body) == Word::NotFound => Ok(()),
            _ => Err(self.refused(&reply, "secretmanager.secrets.delete", id)),
        }
    }

    /// Not made twice: a version that was added is added.
    async fn post(&self, url: &str, body: &impl Serialize) -> Result<Reply, Trouble> {
        let body = serde_json::to_vec(body).map_err(|_| Trouble::Defect)?;
        self.session.call(&Request::post(url.to_owned(), JSON, Zeroizing::new(body))).await
    }

    fn url(&self, id: &str, rest: &str) -> String {
        format!("{}/v1/{}/secrets/{id}{rest}", self.address.endpoint, self.address.parent())
    }

    fn refused(&self, reply: &Reply, permission: &'static str, id: &str) -> Trouble {
        match reply.status {
            403 => {
                let on = format!("{}/secrets/{id}", self.address.parent());
                Trouble::Forbidden { permission, on }
            }
            status => Trouble::Status(status),
        }
    }
}
