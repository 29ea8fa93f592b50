//! What this instance proves itself to a provider with. Asked for at each login, so that a rotation
//! counts with the next one.

use kit::StartError;
use secrets::{Bundle, Malformed, Name, Need, Role, Secret, Secrets, Values, Watched};
use std::{fmt, sync::Arc};

const OIDC: Name = Name::literal("OIDC_CLIENT_SECRET");
const GITHUB: Name = Name::literal("GITHUB_CLIENT_SECRET");

/// A client's secret; none where no source has it, which is a public client's.
pub(crate) struct ClientSecret(Option<Arc<Secret>>);

impl ClientSecret {
    /// The secret, to be put into one request.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_ref().and_then(|secret| secret.text().ok())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// Of the OpenID provider.
pub(crate) static OIDC_CLIENT_SECRET: Bundle<ClientSecret> = Bundle {
    needs: &[Need::optional(OIDC, "proves this instance to the OpenID provider of OIDC_ISSUER")],
    role: Role::Presents,
    parse: |values| parse(values, &OIDC),
};

/// Of GitHub.
pub(crate) static GITHUB_CLIENT_SECRET: Bundle<ClientSecret> = Bundle {
    needs: &[Need::optional(GITHUB, "proves this instance to GitHub, where people log in by it")],
    role: Role::Presents,
    parse: |values| parse(values, &GITHUB),
};

fn parse(values: &Values<'_>, name: &Name) -> Result<ClientSecret, Malformed> {
    let secret = values.share(name);
    if let Some(secret) = &secret {
        let text = secret.text().map_err(|_| Malformed("it is not text".into()))?;
        if text.chars().any(char::is_control) {
            return Err(Malformed("it has a line break or another control character".into()));
        }
    }
    Ok(ClientSecret(secret))
}

/// The live secrets.
#[derive(Clone)]
pub(crate) struct ClientSecrets {
    pub(crate) oidc: Watched<ClientSecret>,
    pub(crate) github: Watched<ClientSecret>,
}

impl ClientSecrets {
    /// Watches both.
    pub(crate) async fn watch(secrets: &Secrets) -> Result<Self, StartError> {
        // Together, because the keeper leaves a pause between two looks at a source.
        let both = futures::future::try_join(
            secrets.watch(&OIDC_CLIENT_SECRET),
            secrets.watch(&GITHUB_CLIENT_SECRET),
        );
        let (oidc, github) = both.await?;
        Ok(Self { oidc, github })
    }
}

impl fmt::Debug for ClientSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecrets(..)")
    }
}
