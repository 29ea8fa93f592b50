//! The pages, as HTML. Pure.

use crate::{
    markdown,
    rich::rich,
    story::{Author, FileLink, Item, Said, Story},
};
use maud::{DOCTYPE, Markup, html};
use proto::Timestamp;

/// Where the page finds its style sheet, script and icon.
#[derive(Clone, Debug)]
pub struct AssetPaths {
    /// The style sheet.
    pub style: String,
    /// The script.
    pub script: String,
    /// The icon.
    pub icon: String,
}

/// What the chat page shows.
#[derive(Debug)]
pub struct ChatPage<'a> {
    /// The agent's name.
    pub assistant: &'a str,
    /// What was said so far.
    pub story: &'a Story,
    /// The topic that the page is limited to; empty for all.
    pub topic: &'a str,
    /// The address of who looks at it.
    pub me: &'a str,
    /// The id of the message that the form would send.
    pub form_id: &'a str,
    /// Why the last message was not taken, where the form was sent without a script.
    pub refusal: Option<&'a str>,
    /// What was typed then.
    pub draft: &'a str,
    /// Where its parts are.
    pub assets: &'a AssetPaths,
}

impl ChatPage<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let body = html! {
            a .skip href="#write" { "Skip to the message box" }
            header {
                div .who {
                    span .mark aria-hidden="true" { (initial(self.assistant)) }
                    div {
                        h1 { (self.assistant) }
                        p .line #line role="status" { "Chat" }
                    }
                }
            }
            main #chat data-me=(self.me) data-cursor=(self.story.cursor)
                data-topic=(self.topic) data-assistant=(self.assistant) {
                div #scroll tabindex="-1" {
                    (self.greeting())
                    ol #log role="log" aria-live="polite" aria-label="Conversation" {
                        @for item in &self.story.items { (entry(item, self.me)) }
                    }
                    p .status #status role="status" hidden[self.story.status.is_none()] {
                        span .dots aria-hidden="true" { i {} i {} i {} }
                        span #doing { (self.story.status.as_deref().unwrap_or_default()) }
                    }
                    noscript {
                        p .without { "Without JavaScript, " a href="" { "load the page again" }
                            " to see new answers." }
                    }
                    div #end {}
                }
                button .pill #pill type="button" hidden { "New messages" }
            }
            footer { (self.composer()) }
        };
        whole(self.assistant, self.assets, true, &body)
    }

    fn greeting(&self) -> Markup {
        html! {
            div .empty #empty hidden[!self.story.items.is_empty()] {
                span .mark aria-hidden="true" { (initial(self.assistant)) }
                h2 { "Talk to " (self.assistant) }
                p { "Write a message below. Everyone who has this link sees the conversation." }
            }
        }
    }

    fn composer(&self) -> Markup {
        let hint = self.refusal.unwrap_or("Enter sends, Shift+Enter begins a new line");
        html! {
            form .composer #composer method="post" action="./" autocomplete="off" {
                label .unseen for="write" { "Message to " (self.assistant) }
                textarea #write name="content" rows="1" maxlength="60000" required
                    aria-describedby="hint" placeholder={ "Message " (self.assistant) } {
                    (self.draft)
                }
                input type="hidden" name="id" value=(self.form_id);
                input type="hidden" name="topic" value=(self.topic);
                button .send type="submit" aria-label="Send" {
                    svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor"
                        stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round" {
                        path d="M12 19V5M5.5 11.500 12 5l6.500 6.500" {}
                    }
                }
            }
            p .hint.warn[self.refusal.is_some()] #hint { (hint) }
        }
    }
}

/// The page that is shown instead of a chat.
pub fn apology(title: &str, text: &str, assets: &AssetPaths) -> String {
    let body = html! { main .apology { h1 { (title) } p { (text) } } };
    whole(title, assets, false, &body)
}

fn whole(title: &str, assets: &AssetPaths, with_script: bool, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content";
                meta name="color-scheme" content="light dark";
                meta name="theme-color" media="(prefers-color-scheme: light)" content="#fbfaf7";
                meta name="theme-color" media="(prefers-color-scheme: dark)" content="#171715";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(assets.icon);
                link rel="stylesheet" href=(assets.style);
                @if with_script { script type="module" src=(assets.script) {} }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn entry(item: &Item, me: &str) -> Markup {
    match item {
        Item::Day(at) => html! {
            li .day data-day { time datetime=(at.to_string()) { (day(*at)) } }
        },
        Item::Note { at, text } => html! { li .note data-at=(at.to_string()) { (text) } },
        Item::Said(said) => message(said, me),
    }
}

fn message(said: &Said, me: &str) -> Markup {
    let (class, name) = match &said.author {
        Author::Agent(name) => ("agent", name.as_str()),
        Author::Person { sender, .. } if sender == me => ("mine", "You"),
        Author::Person { name, .. } => ("other", name.as_str()),
    };
    let class = format!("message {class}{}", if said.follows { " follows" } else { "" });
    html! {
        li class=(class) data-id=(said.id) data-at=(said.at.to_string())
            data-author=(said.author.key()) {
            div .byline {
                span .name.unseen[name == "You"] { (name) }
                time datetime=(said.at.to_string()) { (clock(said.at)) }
            }
            @match &said.author {
                // A file without a word.
                Author::Agent(_) if said.content.is_empty() => {},
                Author::Agent(_) => div .rich dir="auto" { (rich(&markdown::parse(&said.content))) },
                Author::Person { .. } => div .plain dir="auto" { (said.content) },
            }
            @if !said.files.is_empty() {
                ul .files { @for file in &said.files { li { (self::file(file)) } } }
            }
            @if let Some(emoji) = &said.reaction { div .reaction { (emoji) } }
        }
    }
}

/// A link that saves a file. The page's script makes the same.
fn file(file: &FileLink) -> Markup {
    html! {
        a href=(file.href) download=(file.name) { (file.name) }
        @if let Some(size) = file.shown_size() { " " span { (size) } }
    }
}

fn initial(name: &str) -> String {
    name.chars().next().map(|c| c.to_uppercase().collect()).unwrap_or_default()
}

/// The day in UTC; the script writes it as the reader would.
fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// The time of day in UTC; the script writes it as the reader would.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    let time = text.split('T').nth(1).unwrap_or_default();
    format!("{} UTC", time.get(..5).unwrap_or(time))
}
