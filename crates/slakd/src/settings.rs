//! What an operator may set.

use kit::{AnySetting, Setting};
use url::{Host, Url};

/// Where Slack's Web API is.
pub const SLACK_API_URL: Setting<ApiUrl> = Setting {
    name: "SLACK_API_URL",
    default: "https://slack.com/api",
    about: "Where Slack's Web API is. The bot's token is sent there, and to slack.com's own file servers.",
    expects: "https://HOST[/PATH], or http:// to this machine",
    parse: ApiUrl::parse,
};

/// What is suggested to somebody who opens the assistant's pane.
pub const SLACK_PROMPTS: Setting<Vec<String>> = Setting {
    name: "SLACK_PROMPTS",
    default: "What can you do?",
    about: "Up to four questions, parted by `|`, suggested to whoever opens the assistant's pane in Slack; `none` for none.",
    expects: "1 to 4 texts of at most 200 characters, parted by `|`, or none",
    parse: prompts,
};

/// The settings that slakd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&SLACK_API_URL, &SLACK_PROMPTS];

/// The address of the Web API, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUrl(Url);

impl ApiUrl {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text.trim_end_matches('/')).ok()?;
        let here = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let fits = url.scheme() == "https" || (url.scheme() == "http" && here);
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        (fits && bare).then_some(Self(url))
    }

    /// The address of a method.
    pub(crate) fn of(&self, method: &str) -> String {
        format!("{}/{method}", self.0.as_str().trim_end_matches('/'))
    }

    /// Whether the bot's token may be sent to `url`, which an answer named: Slack's own servers, or the one that the
    /// operator set.
    pub(crate) fn may_have_token(&self, url: &Url) -> bool {
        let own = url.origin() == self.0.origin();
        let domain = url.domain().unwrap_or_default();
        let slacks = url.scheme() == "https"
            && self.0.domain() == Some("slack.com")
            && (domain == "slack.com" || domain.ends_with(".slack.com"));
        (own || slacks) && url.username().is_empty() && url.password().is_none()
    }

    /// Whether a socket, or an upload, may go to `url`, which an answer named. Neither carries a token.
    pub(crate) fn may_be_followed(&self, url: &Url) -> bool {
        let encrypted = matches!(url.scheme(), "https" | "wss");
        let here = self.0.scheme() == "http" && url.host() == self.0.host();
        encrypted || here
    }
}

fn prompts(text: &str) -> Option<Vec<String>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let all: Vec<String> = text.split('|').map(|one| one.trim().to_owned()).collect();
    let fits = |one: &String| {
        (1..=200).contains(&one.chars().count()) && !one.chars().any(char::is_control)
    };
    ((1..=4).contains(&all.len()) && all.iter().all(fits)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_slack_or_to_where_the_operator_says_and_nowhere_else() {
        let url = |text: &str| Url::parse(text).unwrap();
        let real = ApiUrl::parse("https://slack.com/api/").unwrap();
        assert_eq!(real.of("auth.test"), "https://slack.com/api/auth.test");
        assert!(real.may_have_token(&url("https://files.slack.com/files-pri/T1-F1/a")));
        for other in [
            "http://files.slack.com/a",
            "https://slack.com.example/a",
            "https://evilslack.com/a",
            "https://u:p@files.slack.com/a",
            "http://127.0.0.1/a",
        ] {
            assert!(!real.may_have_token(&url(other)), "{other}");
        }
        let own = ApiUrl::parse("http://127.0.0.1:81/api").unwrap();
        assert!(own.may_have_token(&url("http://127.0.0.1:81/files/a")));
        assert!(!own.may_have_token(&url("http://127.0.0.1:82/files/a")));
        assert!(!own.may_have_token(&url("https://files.slack.com/a")));
        for bad in ["http://slack.com/api", "ftp://slack.com", "https://a:b@slack.com", "slack.com"]
        {
            assert_eq!(ApiUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn prompts_are_a_few_short_texts() {
        assert_eq!(prompts("a | b"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(prompts("none"), Some(vec![]));
        for bad in ["", "a||b", "a|b|c|d|e"] {
            assert_eq!(prompts(bad), None, "{bad}");
        }
    }
}
