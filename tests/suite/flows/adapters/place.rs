//! A suite with a Telegram and a Slack of its own.

use crate::harness::{LIMIT, Suite};
use platforms::{slack::Slack, telegram::Telegram};
use rand::Rng;
use serde_json::Value;
use std::time::{Duration, Instant};

/// All three.
pub struct Place {
    pub suite: Suite,
    pub telegram: Telegram,
    pub slack: Slack,
    /// What Slack signs with.
    pub signing: String,
    /// The bot's token at Slack.
    pub bot: String,
    /// Every value that a log must not have.
    secrets: Vec<String>,
}

/// Letters and digits, so many as a token has.
pub fn random() -> String {
    let mut random = rand::rng();
    (0..32).map(|_| char::from(random.sample(rand::distr::Alphanumeric))).collect()
}

impl Place {
    /// An instance that knows where its platforms are, and has no token yet.
    pub async fn new() -> Self {
        let (telegram, slack) = (Telegram::serve().await, Slack::start().await);
        let mut suite = Suite::made();
        suite.set("TELEGRAM_API_URL", telegram.url());
        suite.set("SLACK_API_URL", &slack.api_url());
        let (signing, bot) = (random(), format!("xoxb-{}", random()));
        slack.add_bot_token(&bot);
        Self { suite, telegram, slack, signing, bot, secrets: Vec::new() }
    }

    /// Puts the tokens into the instance's `.env`.
    pub fn give_tokens(&mut self) {
        let token = self.telegram.token();
        self.set(&[
            ("TELEGRAM_BOT_TOKEN", &token),
            ("SLACK_BOT_TOKEN", &self.bot.clone()),
            ("SLACK_SIGNING_SECRET", &self.signing.clone()),
        ]);
    }

    /// Sets secrets, and remembers them.
    pub fn set(&mut self, values: &[(&str, &str)]) {
        self.secrets.extend(values.iter().map(|(_, value)| (*value).to_owned()));
        self.suite.edit_dotenv(values);
    }

    /// Slack posts an event to the edge, signed, and again while it is not taken. The status of each attempt.
    pub async fn tell_slack(&self, event: &Value) -> Vec<u16> {
        let url = format!("{}/slack/events", self.suite.edge());
        let deadline = Instant::now() + LIMIT;
        loop {
            let told = self.slack.deliver(&url, &self.signing, event).await;
            if told.is_acknowledged() {
                return told.attempts;
            }
            assert!(Instant::now() < deadline, "slakd does not take it: {:?}", told.attempts);
            // Slack comes again for hours; here that is sooner.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Looks whether a log of this instance, or what a command says, has one of the tokens.
    pub fn none_is_shown(&mut self) {
        let mut shown = self.suite.ok(&["secrets", "status"]);
        shown += &self.suite.json(&["secrets", "status"]).to_string();
        let names: Vec<_> = self.suite.pids().into_keys().collect();
        for name in names {
            shown += &self.suite.process(name).log_text();
        }
        for secret in &self.secrets {
            let secret = secret.split_once(':').map_or(secret.as_str(), |(_, key)| key);
            assert!(!shown.contains(secret), "a token is shown");
        }
    }
}
