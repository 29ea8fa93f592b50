//! The Slack adapter: what people write in Slack reaches an agent, and what the agent says reaches Slack.

mod chat;
mod emoji;
mod event;
mod mrkdwn;
mod refusal;
mod signature;
mod text;
