//! Getting an access token, in each of the ways there are.
//!
//! `google-cloud-auth` signs for a service account here and does no more, because what it does for the
//! other ways cannot be bounded: it reads `GCE_METADATA_HOST` and proxies from the environment, takes
//! answers of any size, follows redirects with a token in the body, puts bodies into its errors, and
//! never asks again after a failure that it takes for a lasting one.

use crate::{
    address::{Address, Auth},
    answers,
    external::{ExternalAccount, Rules, Subject},
    line::Line,
    transport::{GOOGLE, METADATA_FLAVOR, Reply, Request},
    trouble::Trouble,
};
use google_cloud_auth::credentials::service_account;
use secrets::{
    Secret, Zeroizing,
    files::{self, FileError, Links},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use url::form_urlencoded;

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// What the token for becoming another account is good for.
const IAM: &str = "https://www.googleapis.com/auth/iam";

/// How long a token that a service account signs is used: it lives an hour from ten seconds before.
const SIGNED: Duration = Duration::from_secs(3_000);

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// An access token, and how long it lives.
pub(crate) async fn login(address: &Address, line: &Line) -> Result<(Secret, Duration), Trouble> {
    match &address.auth {
        Auth::WorkloadIdentity { metadata } => metadata_server(metadata, line).await,
        Auth::ServiceAccount { credentials_file } => service_account(credentials_file).await,
        Auth::ExternalAccount { credentials_file, subject_host } => {
            let rules =
                Rules { is_plaintext: address.is_plaintext, subject_host: subject_host.as_deref() };
            external_account(credentials_file, rules, line).await
        }
    }
}

/// From the metadata server (<https://cloud.google.com/compute/docs/metadata/overview>).
async fn metadata_server(metadata: &str, line: &Line) -> Result<(Secret, Duration), Trouble> {
    let scopes = form_urlencoded::byte_serialize(CLOUD_PLATFORM.as_bytes()).collect::<String>();
    let url = format!(
        "{metadata}/computeMetadata/v1/instance/service-accounts/default/token?scopes={scopes}"
    );
    let request = Request::get(url).with(METADATA_FLAVOR, GOOGLE);
    let reply = line.send(&request, None).await?;
    if !reply.is_metadata {
        return Err(Trouble::NoMetadataServer);
    }
    let reply = granted(
        reply,
        "the metadata server",
        "see whether a service account belongs to this pod (Workload Identity) or machine",
    )?;
    answers::token(&reply.body)
}

/// With a key, by a token that it signs itself: no call is made.
async fn service_account(file: &Path) -> Result<(Secret, Duration), Trouble> {
    let failed =
        |reason: &str| Trouble::Credential { file: file.to_owned(), reason: reason.into() };
    let text = secret(file).await?;
    let key: serde_json::Value =
        serde_json::from_slice(text.expose()).map_err(|_| failed("it is not JSON"))?;
    if key["type"] != "service_account" {
        return Err(failed("its type is not service_account"));
    }
    // What is said beyond this may quote the key.
    let unfit = || failed("its private_key, client_email or project_id will not do");
    let credentials = service_account::Builder::new(key).build_access_token_credentials();
    let token = credentials.map_err(|_| unfit())?.access_token().await.map_err(|_| unfit())?;
    let token = Secret::new(Zeroizing::new(token.token.into_bytes()));
    Ok((token.map_err(|_| unfit())?, SIGNED))
}

/// With somebody else's token, which is read anew and exchanged (RFC 8693), and then, where the file
/// names a service account, as that account.
async fn external_account(
    file: &Path,
    rules: Rules<'_>,
    line: &Line,
) -> Result<(Secret, Duration), Trouble> {
    let failed =
        |reason: &str| Trouble::Credential { file: file.to_owned(), reason: reason.into() };
    let text = secret(file).await?;
    let account = ExternalAccount::parse(text.expose(), rules).map_err(failed)?;
    let found = match &account.subject {
        Subject::File(path) => secret(path).await?,
        Subject::Url(url, headers) => {
            let mut request = Request::get(url.clone());
            request.headers = headers.clone();
            let reply = line.send(&request, None).await?;
            let remedy = "see what the credentials_file names for the subject token";
            let reply = granted(reply, "the issuer of the subject token", remedy)?;
            Secret::new(reply.body).map_err(|_| Trouble::Garbled)?
        }
    };
    let found = found.text().map_err(|reason| failed(&reason.to_string()))?;
    let subject = Zeroizing::new(account.subject_token(found).map_err(failed)?.into_owned());
    let scope = if account.impersonation.is_some() { IAM } else { CLOUD_PLATFORM };
    // Of room enough at once: growing would leave a copy of the token behind.
    let form = String::with_capacity(1_024 + 3 * (account.audience.len() + subject.len()));
    let form = form_urlencoded::Serializer::new(form)
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        .append_pair("audience", &account.audience)
        .append_pair("scope", scope)
        .append_pair("subject_token_type", &account.subject_token_type)
        .append_pair("subject_token", &subject)
        .finish();
    let form = Zeroizing::new(form.into_bytes());
    let reply = line.send(&Request::post(account.token_url, FORM, form), None).await?;
    let remedy =
        "see the pool's provider, and whether the subject token is for it and has not ended";
    let reply = granted(reply, "the token service", remedy)?;
    let (federated, life) = answers::token(&reply.body)?;
    let Some(become_) = account.impersonation else { return Ok((federated, life)) };
    let wish = serde_json::json!({
        "scope": [CLOUD_PLATFORM], "lifetime": format!("{}s", become_.lifetime.as_secs()),
    });
    let wish = Zeroizing::new(wish.to_string().into_bytes());
    let reply = line.send(&Request::post(become_.url, JSON, wish), Some(&federated)).await?;
    let remedy = "the pool's principal needs roles/iam.workloadIdentityUser on the service account";
    let reply = granted(reply, "the IAM Credentials API", remedy)?;
    answers::generated(&reply.body, reply.date, become_.lifetime)
}

/// The answer of a login, where it is one.
fn granted(reply: Reply, at: &'static str, remedy: &'static str) -> Result<Reply, Trouble> {
    match reply.status {
        200 => Ok(reply),
        status @ (400 | 401 | 403 | 404) => Err(Trouble::LoginRefused { at, status, remedy }),
        status @ 300..=399 => Err(Trouble::Elsewhere(status)),
        429 => Err(Trouble::TooMany),
        status => Err(Trouble::Status(status)),
    }
}

/// What a login is made with, from its file.
async fn secret(path: &Path) -> Result<Secret, Trouble> {
    let file: PathBuf = path.to_owned();
    let read = move || files::open(rustix::fs::CWD, &file, Links::Follow)?.versions();
    let failed = |reason: String| Trouble::Credential { file: path.to_owned(), reason };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(found)) => Ok(found.current),
        Ok(Err(FileError::Missing)) => Err(failed("it is not there".into())),
        Ok(Err(FileError::Malformed(reason))) => Err(failed(reason.to_string())),
        Ok(Err(FileError::Io(_))) => Err(failed("it cannot be read".into())),
        Err(_) => Err(Trouble::Defect),
    }
}
