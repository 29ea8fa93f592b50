//! Keys of models: whose is spent, and the header that carries it.

use super::vendor::Vendor;
use crate::{fault::Fault, outside::secret_header, tenant::MODEL_KEYS};
use http::{HeaderName, HeaderValue};
use secrets::{
    AnyBundle, Bundle, Malformed, Name, Need, Role, Secret, Secrets, Values, WatchError, Watched,
};
use std::{fmt, sync::Arc};

const ANTHROPIC: Name = Name::literal("ANTHROPIC_API_KEY");
const CLAUDE_CODE: Name = Name::literal("CLAUDE_CODE_OAUTH_TOKEN");
const OPENAI: Name = Name::literal("OPENAI_API_KEY");

/// What a key is, which says how it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    AnthropicKey,
    AnthropicOauth,
    OpenAi,
}

impl Kind {
    /// The kinds of key that a vendor takes, the first first.
    pub(crate) const fn of(vendor: Vendor) -> &'static [Self] {
        match vendor {
            Vendor::Anthropic => &[Self::AnthropicKey, Self::AnthropicOauth],
            Vendor::OpenAi => &[Self::OpenAi],
        }
    }

    /// The name of the secret.
    pub(crate) const fn name(self) -> &'static str {
        let [anthropic, oauth, openai] = MODEL_KEYS;
        match self {
            Self::AnthropicKey => anthropic,
            Self::AnthropicOauth => oauth,
            Self::OpenAi => openai,
        }
    }

    /// The header that carries it.
    pub(crate) fn header(self, secret: &Secret) -> Result<(HeaderName, HeaderValue), Fault> {
        match self {
            Self::AnthropicKey => secret_header("x-api-key", ("", ""), secret),
            Self::AnthropicOauth | Self::OpenAi => {
                secret_header("authorization", ("Bearer ", ""), secret)
            }
        }
    }
}

// A bundle for each: they change independently, may stand in different sources, and one that is rejected must not keep
// another from changing.
static ANTHROPIC_KEY: Bundle<ModelKey> = Bundle {
    needs: const { &[Need::optional(ANTHROPIC, "the model gateway spends it at Anthropic")] },
    role: Role::Presents,
    parse: |values| ModelKey::parse(values, &ANTHROPIC),
};
static CLAUDE_CODE_TOKEN: Bundle<ModelKey> = Bundle {
    needs: const {
        &[Need::optional(
            CLAUDE_CODE,
            "the model gateway spends it at Anthropic, where there is no key",
        )]
    },
    role: Role::Presents,
    parse: |values| ModelKey::parse(values, &CLAUDE_CODE),
};
static OPENAI_KEY: Bundle<ModelKey> = Bundle {
    needs: const { &[Need::optional(OPENAI, "the model gateway spends it at OpenAI")] },
    role: Role::Presents,
    parse: |values| ModelKey::parse(values, &OPENAI),
};

/// The instance's keys of models.
pub(crate) static BUNDLES: [&dyn AnyBundle; 3] = [&ANTHROPIC_KEY, &CLAUDE_CODE_TOKEN, &OPENAI_KEY];

/// The instance's own key of a model; `None` where no source has it.
pub(crate) struct ModelKey(Option<Arc<Secret>>);

impl ModelKey {
    fn parse(values: &Values<'_>, name: &Name) -> Result<Self, Malformed> {
        let secret = values.share(name);
        if let Some(secret) = &secret {
            fits_header(secret).map_err(|reason| Malformed(reason.into()))?;
        }
        Ok(Self(secret))
    }

    /// The key.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.0.as_deref()
    }
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelKey(..)")
    }
}

/// Whether a value can be a key of a model: it travels in a header, and its form is the vendor's own.
pub(crate) fn fits_header(secret: &Secret) -> Result<(), &'static str> {
    match secret.expose().iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err("a model's key has only visible ASCII characters, and no spaces"),
    }
}

/// The instance's keys, as they change.
#[derive(Clone, Debug)]
pub(crate) struct ModelKeys {
    anthropic: Watched<ModelKey>,
    claude_code: Watched<ModelKey>,
    openai: Watched<ModelKey>,
}

impl ModelKeys {
    /// Watches them.
    ///
    /// # Errors
    /// One that is there cannot be used.
    pub(crate) async fn watch(secrets: &Secrets) -> Result<Self, WatchError> {
        let (anthropic, claude_code, openai) = futures::future::try_join3(
            secrets.watch(&ANTHROPIC_KEY),
            secrets.watch(&CLAUDE_CODE_TOKEN),
            secrets.watch(&OPENAI_KEY),
        )
        .await?;
        Ok(Self { anthropic, claude_code, openai })
    }

    /// The first of a vendor's that is there now.
    pub(crate) fn first(&self, vendor: Vendor) -> Option<(Kind, &Watched<ModelKey>)> {
        let all = Kind::of(vendor).iter().map(|kind| (*kind, self.of(*kind)));
        all.into_iter().find(|(_, watched)| watched.current().secret().is_some())
    }

    /// The one of this kind.
    pub(crate) const fn of(&self, kind: Kind) -> &Watched<ModelKey> {
        match kind {
            Kind::AnthropicKey => &self.anthropic,
            Kind::AnthropicOauth => &self.claude_code,
            Kind::OpenAi => &self.openai,
        }
    }
}
