//! What proves an identity, read from its file, and what it is exchanged for.

use crate::{
    address::Auth,
    answers::Refusal,
    session::{Clients, Failure, told, unheard},
    trouble::Trouble,
};
use aws_config::{
    default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig,
};
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderValue},
};
use rustix::fs::CWD;
use secrets::{
    Secret,
    files::{self, FileError, FileId, Links},
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;

/// Shown in errors of the SDK as where credentials come from.
const PROVIDER: &str = "arizuko";

/// How long the SDK's chain may look.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// What an identity is exchanged for.
pub(crate) struct Granted {
    pub(crate) credentials: Credentials,
    /// Until when they are good, in the server's time.
    pub(crate) end: Option<SystemTime>,
    /// The file that they are from, where they are as good as that is.
    pub(crate) file: Option<FileId>,
}

/// Proves who we are, and takes credentials for it.
pub(crate) async fn exchange(auth: &Auth, clients: &Clients) -> Result<Granted, Trouble> {
    match auth {
        Auth::Irsa { role, token_file, session } => {
            let (token, _) = text(token_file).await?;
            let asked = clients
                .sts
                .assume_role_with_web_identity()
                .role_arn(role)
                .role_session_name(session)
                .web_identity_token(token.text().map_err(|_| Trouble::Defect)?.trim_end());
            let refused = |code: &str| Trouble::ExchangeRefused {
                what: format!("AssumeRoleWithWebIdentity for {role}"),
                code: code.to_owned(),
                file: token_file.clone(),
            };
            let answer =
                unheard(asked.send()).await.map_err(|error| match told(&error, &clients.line) {
                    Failure::Refused(refusal, code) => match refusal {
                        Refusal::Denied | Refusal::Credentials(_) | Refusal::Request(_) => {
                            refused(code.unwrap_or("403"))
                        }
                        Refusal::Status(400..500) => refused(code.unwrap_or("another reason")),
                        other => other.into_trouble("sts:AssumeRoleWithWebIdentity"),
                    },
                    Failure::Trouble(trouble) => trouble,
                })?;
            let given = answer.credentials.ok_or(Trouble::Garbled)?;
            let end = SystemTime::try_from(given.expiration).map_err(|_| Trouble::Garbled)?;
            let credentials = Credentials::new(
                given.access_key_id,
                given.secret_access_key,
                Some(given.session_token),
                Some(end),
                PROVIDER,
            );
            Ok(Granted { credentials, end: Some(end), file: None })
        }
        Auth::PodIdentity { uri, token_file } => {
            let (token, _) = text(token_file).await?;
            let token = token.text().map_err(|_| Trouble::Defect)?.trim_end();
            let mut header = HeaderValue::from_str(token).map_err(|_| Trouble::Credential {
                file: token_file.clone(),
                reason: "it holds what cannot stand in a header".into(),
            })?;
            header.set_sensitive(true);
            let mut request = reqwest::Request::new(Method::GET, uri.clone());
            request.headers_mut().insert(AUTHORIZATION, header);
            let answer = clients.agent.send(request).await?;
            match answer.status().as_u16() {
                200 => agent_answer(answer.body().bytes().unwrap_or_default()),
                status @ 400..=499 => Err(Trouble::ExchangeRefused {
                    what: format!("EKS Pod Identity at {}", uri.origin().ascii_serialization()),
                    code: status.to_string(),
                    file: token_file.clone(),
                }),
                status => Err(Trouble::Status(status)),
            }
        }
        Auth::Static { credentials_file } => {
            let (contents, id) = text(credentials_file).await?;
            let keys = contents.text().ok().and_then(profile).ok_or_else(|| Trouble::Credential {
                file: credentials_file.clone(),
                reason: "expected a line [default], and below it aws_access_key_id = … and aws_secret_access_key = …"
                    .into(),
            })?;
            Ok(Granted { credentials: keys, end: None, file: Some(id) })
        }
        Auth::Default => chain(clients).await,
    }
}

/// The SDK's own chain: it reads the environment, files and the network as the SDK's documentation says.
async fn chain(clients: &Clients) -> Result<Granted, Trouble> {
    let config = ProviderConfig::without_region()
        .with_region(Some(clients.region.clone()))
        .with_http_client(clients.agent.clone());
    let looked = unheard(timeout(CHAIN_TIMEOUT, async {
        let chain = DefaultCredentialsChain::builder().configure(config).build().await;
        chain.provide_credentials().await
    }));
    // What it says goes no further: it may quote what it read.
    let credentials = looked.await.map_err(|_| Trouble::NoChain)?.map_err(|_| Trouble::NoChain)?;
    let end = credentials.expiry();
    Ok(Granted { credentials, end, file: None })
}

/// What the agent for Pod Identity answers, and ECS (the SDKs' "container credentials").
fn agent_answer(body: &[u8]) -> Result<Granted, Trouble> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        access_key_id: String,
        secret_access_key: String,
        token: String,
        expiration: String,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Trouble::Garbled)?;
    let end = OffsetDateTime::parse(&answer.expiration, &Rfc3339).map_err(|_| Trouble::Garbled)?;
    let end = SystemTime::from(end);
    let credentials = Credentials::new(
        answer.access_key_id,
        answer.secret_access_key,
        Some(answer.token),
        Some(end),
        PROVIDER,
    );
    Ok(Granted { credentials, end: Some(end), file: None })
}

/// The profile `default` of a file as the AWS tools have it.
fn profile(text: &str) -> Option<Credentials> {
    let (mut is_ours, mut id, mut key, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.strip_suffix(']')?.trim() == "default";
            continue;
        }
        let (name, value) = line.split_once('=')?;
        let place = match name.trim() {
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut key,
            "aws_session_token" => &mut token,
            _ => continue,
        };
        let value = value.trim();
        if is_ours && (value.is_empty() || place.replace(value).is_some()) {
            return None;
        }
    }
    Some(Credentials::new(id?, key?, token.map(str::to_owned), None, PROVIDER))
}

/// What a file is now, if it is there.
pub(crate) async fn identity(path: PathBuf) -> Option<FileId> {
    let look = move || rustix::fs::stat(&path).ok().map(|stat| FileId::of(&stat));
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// The text of a file, and which file that was.
async fn text(path: &Path) -> Result<(Secret, FileId), Trouble> {
    let file = path.to_owned();
    let read = move || {
        let opened = files::open(CWD, &file, Links::Follow)?;
        let id = opened.id();
        let secret = opened.versions()?.current;
        secret.text()?;
        Ok((secret, id))
    };
    let failed = |reason: String| Trouble::Credential { file: path.to_owned(), reason };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(FileError::Missing)) => Err(failed("it is not there".into())),
        Ok(Err(FileError::Malformed(reason))) => Err(failed(reason.to_string())),
        Ok(Err(FileError::Io(_))) => Err(failed("it cannot be read".into())),
        Err(_) => Err(Trouble::Defect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_the_default_profile() {
        let text = "# made by hand\n[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = no\n\n\
                    [default]\naws_access_key_id=AKIAONE\naws_secret_access_key = a/b+c=\nregion = eu-west-1\n";
        let keys = profile(text).unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKIAONE", "a/b+c="));
        assert_eq!(keys.session_token(), None);
        let with_token = profile(&format!("{text}aws_session_token = t\n")).unwrap();
        assert_eq!(with_token.session_token(), Some("t"));
    }

    #[test]
    fn a_file_that_says_too_little_or_two_things_gives_no_key() {
        for text in [
            "",
            "[default]\n",
            "[default]\naws_access_key_id = A\n",
            "[default]\naws_access_key_id = A\naws_secret_access_key =\n",
            "[default]\naws_access_key_id = A\naws_access_key_id = B\naws_secret_access_key = c\n",
            "[default\naws_access_key_id = A\naws_secret_access_key = c\n",
            "aws_access_key_id = A\naws_secret_access_key = c\n",
            "hunter2",
        ] {
            assert!(profile(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_answer_of_the_agent_is_read_whole_or_not_at_all() {
        let good = br#"{"AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t","AccountId":"1","Expiration":"2030-01-01T00:00:00Z"}"#;
        let granted = agent_answer(good).unwrap();
        assert_eq!(granted.credentials.session_token(), Some("t"));
        assert!(granted.end.is_some());
        for bad in [&b"hunter2"[..], b"{}", br#"{"AccessKeyId":"hunter2"}"#] {
            let error = agent_answer(bad).err().unwrap();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
