//! Whose API it is, and which of its calls are passed on. Pure.
//!
//! A list of what is passed, not of what is not: batches, files, stored answers and whatever a vendor invents next keep
//! something under the key, where everybody whose turns spend the same key could read it.

use http::Method;

/// A model's vendor, by the wire format that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Anthropic,
    OpenAi,
}

/// A call that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Messages,
    CountTokens,
    Chat,
    Responses,
    Embeddings,
    Models,
}

impl Vendor {
    /// Its name, in rows and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    /// What its paths begin with on a turn's socket.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Anthropic => "/model/anthropic",
            Self::OpenAi => "/model/openai",
        }
    }

    /// The paths that are passed on, for people.
    pub(crate) const fn passed(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages, /v1/messages/count_tokens and /v1/models",
            Self::OpenAi => "/v1/chat/completions, /v1/responses, /v1/embeddings and /v1/models",
        }
    }
}

impl Operation {
    /// The call of this method and path, which begins with `/v1/`.
    pub(crate) fn of(vendor: Vendor, method: &Method, path: &str) -> Option<Self> {
        let found = match (vendor, path) {
            (Vendor::Anthropic, "/v1/messages") => Self::Messages,
            (Vendor::Anthropic, "/v1/messages/count_tokens") => Self::CountTokens,
            (Vendor::OpenAi, "/v1/chat/completions") => Self::Chat,
            (Vendor::OpenAi, "/v1/responses") => Self::Responses,
            (Vendor::OpenAi, "/v1/embeddings") => Self::Embeddings,
            (_, "/v1/models") => Self::Models,
            (_, path) if path.strip_prefix("/v1/models/").is_some_and(is_model) => Self::Models,
            _ => return None,
        };
        let wanted = if found == Self::Models { Method::GET } else { Method::POST };
        (*method == wanted).then_some(found)
    }

    /// Whether it costs something.
    pub(crate) const fn spends(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Models)
    }

    /// The parameters of its query that are passed on.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Messages | Self::CountTokens => &["beta"],
            Self::Models => &["limit", "before_id", "after_id", "beta"],
            Self::Chat | Self::Responses | Self::Embeddings => &[],
        }
    }

    /// The query as it is passed on: what is not known is left out.
    pub(crate) fn query(self, given: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(given.as_bytes());
        let known = pairs.filter(|(name, value)| {
            self.parameters().contains(&name.as_ref()) && value.len() <= NAME_MAX
        });
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(known).finish();
        (!query.is_empty()).then_some(query)
    }
}

/// Bytes of a model's name.
const NAME_MAX: usize = 128;

/// Whether a text can be a model's name: it goes into paths and rows.
pub(crate) fn is_model(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:@".contains(&b);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain) && !text.contains("..")
}

/// The same in a body, where a name may have a slash: `meta/llama-3`.
pub(crate) fn is_model_in_body(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('/').all(is_model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calls_of_the_list_are_passed_on() {
        let of = Operation::of;
        let (a, o) = (Vendor::Anthropic, Vendor::OpenAi);
        assert_eq!(of(a, &Method::POST, "/v1/messages"), Some(Operation::Messages));
        assert_eq!(of(o, &Method::POST, "/v1/responses"), Some(Operation::Responses));
        assert_eq!(of(a, &Method::GET, "/v1/models/claude-x"), Some(Operation::Models));
        for (vendor, method, path) in [
            (a, Method::GET, "/v1/messages"),
            (a, Method::POST, "/v1/messages/batches"),
            (a, Method::POST, "/v1/messages/"),
            (a, Method::POST, "/v1/files"),
            (a, Method::POST, "/v1/chat/completions"),
            (a, Method::POST, "/v1//messages"),
            (a, Method::POST, "/v1/messages%2fbatches"),
            (a, Method::GET, "/v1/models/../files"),
            (a, Method::GET, "/v1/models/..%2ffiles"),
            (a, Method::GET, "/v1/models/a/b"),
            (a, Method::DELETE, "/v1/models/a"),
            (o, Method::GET, "/v1/responses/resp_1"),
            (o, Method::POST, "/v1/files"),
            (o, Method::POST, "/v1/batches"),
            (o, Method::POST, "/v1/assistants"),
            (o, Method::POST, "/v1/messages"),
            (o, Method::POST, ""),
        ] {
            assert_eq!(of(vendor, &method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_query_keeps_what_is_known() {
        let query = Operation::Messages.query("beta=true&api_key=x&BETA=1");
        assert_eq!(query.as_deref(), Some("beta=true"));
        assert_eq!(Operation::Chat.query("beta=true"), None);
        assert_eq!(Operation::Models.query("limit=5&x=%0a").as_deref(), Some("limit=5"));
    }
}
