//! The adapters.

use crate::{
    adapters::{self, Voice},
    app::App,
    fault::Fault,
    record::record,
    store::{channels, channels::REMEMBERS, outbox},
};
use kit::{Caller, Failure};
use proto::{
    Nothing,
    routd::{Channel, Channels, RegisterChannel},
};
use std::sync::Arc;

const NAME_MAX: usize = 64;
const URL_MAX: usize = 512;
const PREFIX_MAX: usize = 128;
const LIST_MAX: usize = 16;

/// An adapter says where it is.
pub(super) async fn register(
    app: Arc<App>,
    caller: Caller,
    mut channel: RegisterChannel,
) -> Result<Channel, Failure> {
    let voice = Voice::of(&caller, || app.channel.with_own_secret())
        .ok_or_else(|| Failure::forbidden("this credential registers no adapter"))?;
    check(&mut channel)?;
    for prefix in &channel.jid_prefixes {
        let platform = prefix.split(':').next().unwrap_or_default();
        voice.require(&caller, platform)?;
    }
    let (now, wake, actor) = (app.now(), app.wake.clone(), caller.subject().to_string());
    let platforms = channel.jid_prefixes.clone();
    let registered = app.db.try_write("channel.register", move |tx| {
        let (after, new) = channels::register(tx, &channel, &actor, now)?;
        if new {
            let detail = format!("{} at {}", after.jid_prefixes.join(" "), after.url);
            record(tx, now, &actor, "channel.register", &after.name, &detail)?;
        }
        let mut moved = 0;
        for prefix in &after.jid_prefixes {
            moved += outbox::hurry(tx, prefix)?;
            if after.capabilities.iter().any(|capability| capability == REMEMBERS) {
                moved += outbox::reconcile(tx, prefix)?;
            }
        }
        if moved > 0 || new {
            wake.outbox(tx);
        }
        Ok::<_, Fault>(after)
    });
    let registered = registered.await?;
    for platform in platforms.iter().filter_map(|prefix| prefix.split(':').next()) {
        app.context.health.degraded(&format!("adapter {platform}"), None);
    }
    Ok(registered)
}

/// The adapters, with when they were last heard.
pub(super) async fn list(app: Arc<App>, _: Caller, _: Nothing) -> Result<Channels, Failure> {
    let all = app.db.read(channels::list).await.map_err(Fault::from)?;
    Ok(Channels { channels: all.into_iter().map(|one| one.channel).collect() })
}

fn check(channel: &mut RegisterChannel) -> Result<(), Failure> {
    let no = |text: &str| Err(Failure::bad_request(text.to_owned()));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let is_name = |name: &str| (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain);
    if !is_name(&channel.name) {
        return no("`name` has 1 to 64 of a-z, 0-9, `-` and `_`");
    }
    match kit::parse::url(&channel.url).filter(|url| url.len() <= URL_MAX) {
        Some(url) => channel.url = url,
        None => return no("`url` is the adapter's address, such as http://127.0.0.1:8087"),
    }
    if channel.jid_prefixes.is_empty() || channel.jid_prefixes.len() > LIST_MAX {
        return no("`jid_prefixes` has 1 to 16 entries");
    }
    let is_prefix = |prefix: &String| {
        let platform = prefix.split_once(':').map(|(platform, _)| platform);
        prefix.len() <= PREFIX_MAX
            && !prefix.chars().any(|c| c.is_whitespace() || c.is_control())
            && platform.is_some_and(|platform| adapters::of_platform(platform).is_some())
    };
    if !channel.jid_prefixes.iter().all(is_prefix) {
        return no(
            "a prefix begins with the platform of an adapter of this suite, such as telegram:",
        );
    }
    if channel.capabilities.len() > LIST_MAX || !channel.capabilities.iter().all(|c| is_name(c)) {
        return no("`capabilities` has at most 16 words such as send_file");
    }
    Ok(())
}
