//! Folders: what runs their turns, what they remember, what they may spend.

use crate::{
    chart,
    parts::{Mark, address, code, facts, mark, or_dash, table},
    shown::{dollars, grouped, time},
};
use maud::{Markup, html};
use proto::{
    routd::{Cap, CapLimits, CapOf, Group, Spent},
    turn::Harness,
};

/// The harnesses, as a form offers them, after what nothing chosen means.
pub(crate) fn harnesses(nothing: &'static str) -> Vec<(&'static str, &'static str)> {
    let names = Harness::ALL.into_iter().map(|harness| (harness.name(), harness.name()));
    std::iter::once(("", nothing)).chain(names).collect()
}

/// Folders, by name.
pub(crate) fn list(groups: &[&Group], caps: &[Cap]) -> Markup {
    let row = |group: &&Group| {
        let cap = of_folder(caps, &group.folder);
        vec![
            html! {
                a href=(address("/dash/folders/one", &[("folder", group.folder.as_str())])) { (group.folder) }
            },
            harness(group),
            or_dash(group.model.as_deref()),
            html! {
                @match cap {
                    Some(cap) => { (spent(&cap.today)) small { "of " (limits(&cap.limits)) } }
                    None => span.quiet { "no cap" },
                }
            },
            time(group.created_at),
        ]
    };
    let heads = ["Folder", "Harness", "Model", "Spent today", "Since"];
    table("Folders", &heads, groups.iter().map(row).collect(), "No folder is like that.")
}

fn harness(group: &Group) -> Markup {
    match group.harness.map(Harness::name) {
        Some(name) => html! { (name) },
        None => html! { span.quiet { "default" } },
    }
}

/// What a folder is.
pub(crate) fn one(group: &Group) -> Markup {
    html! {
        (facts(&[
            ("Harness", harness(group)),
            ("Command", if group.command.is_empty() { or_dash(None) } else { code(group.command.join(" ")) }),
            ("Model", match &group.model {
                Some(model) => html! { (model) },
                None => html! { span.quiet { "the instance's" } },
            }),
            ("Since", time(group.created_at)),
        ]))
    }
}

/// A text of a folder, or why it is not shown.
pub(crate) fn text(text: Result<&str, &str>, nothing: &str) -> Markup {
    html! {
        @match text {
            Ok("") => p.empty { (nothing) },
            Ok(text) => pre.log tabindex="0" { (text) },
            Err(why) => p.alert { (why) },
        }
    }
}

/// The cap of a folder itself.
pub(crate) fn of_folder<'a>(caps: &'a [Cap], folder: &proto::Folder) -> Option<&'a Cap> {
    caps.iter().find(|cap| matches!(&cap.of, CapOf::Folder(of) if of == folder))
}

/// What a folder may spend, and has spent.
pub(crate) fn cap(cap: Option<&Cap>) -> Markup {
    let Some(cap) = cap else {
        return html! { p { (mark(Mark::Quiet, "no cap")) " What this folder spends is counted, and not limited." } };
    };
    let limits = &cap.limits;
    html! {
        ul.meters {
            @if let Some(limit) = limits.daily_micro_dollars {
                li { (chart::meter("today", cap.today.micro_dollars, limit, dollars)) }
            }
            @if let Some(limit) = limits.monthly_micro_dollars {
                li { (chart::meter("this month", cap.this_month.micro_dollars, limit, dollars)) }
            }
            @if let Some(limit) = limits.daily_tokens {
                li { (chart::meter("tokens today", cap.today.tokens, limit, grouped)) }
            }
            @if let Some(limit) = limits.monthly_tokens {
                li { (chart::meter("tokens this month", cap.this_month.tokens, limit, grouped)) }
            }
        }
    }
}

pub(crate) fn spent(spent: &Spent) -> Markup {
    html! { (dollars(spent.micro_dollars)) ", " (grouped(spent.tokens)) " tokens" }
}

pub(crate) fn limits(limits: &CapLimits) -> String {
    let money =
        |limit: Option<u64>, of: &str| limit.map(|limit| format!("{} {of}", dollars(limit)));
    let tokens =
        |limit: Option<u64>, of: &str| limit.map(|limit| format!("{} tokens {of}", grouped(limit)));
    let all = [
        money(limits.daily_micro_dollars, "a day"),
        money(limits.monthly_micro_dollars, "a month"),
        tokens(limits.daily_tokens, "a day"),
        tokens(limits.monthly_tokens, "a month"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
