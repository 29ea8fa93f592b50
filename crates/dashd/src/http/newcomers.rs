//! Newcomers: the queue, who was let in, and an operator's word.

use crate::{
    live,
    look::Here,
    pages::newcomers::{self as view, STATES, Tab},
    parts::{address, choice, field, filter},
    query::{self, One, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon,
    onbod::{
        APPROVE, Admission, AdmissionPage, AdmissionState, Decide, GET_ADMISSION, GetAdmission,
        LIST_ADMISSIONS, LIST_PEOPLE, ListAdmissions, Page, REFUSE,
    },
};
use serde::Deserialize;
use std::time::Duration;

/// How often what is shown is asked again.
const EVERY: Duration = Duration::from_secs(2);
/// Rows of a page.
const PAGE: u32 = 50;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Which {
    /// A state's name, or `all`; who waits when it is left out.
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "blank")]
    after: Option<i64>,
}

impl Which {
    /// The state, and its name.
    fn state(&self) -> (Option<AdmissionState>, &str) {
        let known = AdmissionState::ALL.into_iter().find(|state| state.name() == self.state);
        match known {
            Some(state) => (Some(state), state.name()),
            None if self.state == "all" => (None, "all"),
            None => (Some(AdmissionState::Waiting), ""),
        }
    }
}

/// Who waits, or stands otherwise; the first page is kept up to date.
pub(super) async fn page(visit: Visit, which: Which) -> Outcome {
    let page = list(&visit, &which).await?;
    let (_, state) = which.state();
    let here = |after: &str| address("/dash/newcomers", &[("state", state), ("after", after)]);
    let shown_now = view::list(&page);
    let now = address("/dash/newcomers/now", &[("state", state)]);
    let body = html! {
        (view::tabs(Tab::Queue))
        (filter("/dash/newcomers", &choice("state", "State", "state", &STATES, state)))
        @if which.after.is_none() {
            (live::part(&visit, &now, "Newcomers", &shown_now))
        } @else {
            (shown_now)
        }
        (pager_onward(page.next.map(|next| here(&next.to_string())), which.after.is_none(), &here("")))
    };
    shown(Here::Newcomers, "Newcomers", body)
}

/// The first page, kept up to date.
pub(super) async fn now(visit: Visit, which: Which) -> Outcome {
    let make = move |visit: Visit| {
        let which = which.clone();
        async move { Ok::<Markup, Trouble>(view::list(&list(&visit, &which).await?)) }
    };
    live::follow(visit, EVERY, make)
}

async fn list(visit: &Visit, which: &Which) -> Result<AdmissionPage, Trouble> {
    let request = ListAdmissions { state: which.state().0, after: which.after, limit: Some(PAGE) };
    visit.call(Daemon::Onbod, &LIST_ADMISSIONS, &request).await
}

/// The pages of a list that begins with the oldest.
pub(super) fn pager_onward(next: Option<String>, is_first: bool, first: &str) -> Markup {
    html! {
        @if next.is_some() || !is_first {
            nav.pager aria-label="Pages" {
                @if !is_first { a href=(first) { "From the beginning" } }
                @if let Some(next) = next { a rel="next" href=(next) { "More" } }
            }
        }
    }
}

async fn get(visit: &Visit, One { id }: &One) -> Result<Admission, Trouble> {
    visit.call(Daemon::Onbod, &GET_ADMISSION, &GetAdmission { id: id.clone() }).await
}

/// One newcomer, with what can be said to them.
pub(super) async fn one(visit: Visit, one: One) -> Outcome {
    let admission = get(&visit, &one).await?;
    let refuse = address("/dash/newcomers/refuse", &[("id", one.id.as_str())]);
    let may_enter =
        !matches!(admission.state, AdmissionState::Admitting | AdmissionState::Admitted);
    let body = html! {
        (view::tabs(Tab::Queue))
        (view::one(&admission))
        @if may_enter {
            h2 { "Letting them in" }
            p { (view::effect(&admission)) }
            form.fields method="post" action="/dash/newcomers/approve" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="id" value=(one.id);
                (field("note", "A line for them", "note", "", "Said in their chat before the news; may be left blank."))
                button type="submit" { "Let them in" }
            }
            @if admission.state != AdmissionState::Refused {
                div.row { a.button href=(refuse) { "Refuse…" } }
            }
        }
    };
    shown(Here::Newcomers, view::name(&admission), body)
}

#[derive(Debug, Deserialize)]
pub(super) struct Word {
    #[serde(deserialize_with = "query::text")]
    id: proto::Opaque,
    #[serde(default, deserialize_with = "blank")]
    note: Option<String>,
}

impl Word {
    fn decide(self) -> Decide {
        Decide { id: self.id, note: self.note }
    }
}

/// Lets somebody in.
pub(super) async fn approve(visit: Visit, word: Word) -> Outcome {
    let done = visit.call(Daemon::Onbod, &APPROVE, &word.decide()).await?;
    let query = [("id", done.id.as_str()), ("done", "let-in")];
    Ok(Answer::See(address("/dash/newcomers/one", &query)))
}

/// Asks first.
pub(super) async fn ask_refuse(visit: Visit, one: One) -> Outcome {
    let admission = get(&visit, &one).await?;
    let back = address("/dash/newcomers/one", &[("id", one.id.as_str())]);
    let body = html! {
        div.ask {
            p { strong { (view::name(&admission)) } " is told so in their chat, once. The chat is not answered any \
                 more, and a login that was refused does not come in by another one. You can still let them in later." }
            form.fields method="post" action="/dash/newcomers/refuse" {
                input type="hidden" name="csrf" value=(visit.code());
                input type="hidden" name="id" value=(one.id);
                (field("note", "A line for them", "note", "", "Said in their chat before the news; may be left blank."))
                button.danger type="submit" { "Refuse them" }
            }
            div.row { a.button href=(back) { "Leave it as it is" } }
        }
    };
    shown(Here::Newcomers, format!("Refuse {}?", view::name(&admission)), body)
}

/// Refuses somebody.
pub(super) async fn refuse(visit: Visit, word: Word) -> Outcome {
    let done = visit.call(Daemon::Onbod, &REFUSE, &word.decide()).await?;
    let query = [("id", done.id.as_str()), ("done", "refused")];
    Ok(Answer::See(address("/dash/newcomers/one", &query)))
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default, deserialize_with = "blank")]
    pub(super) after: Option<i64>,
}

/// Who was let in.
pub(super) async fn people(visit: Visit, After { after }: After) -> Outcome {
    let request = Page { after, limit: Some(PAGE) };
    let page = visit.call(Daemon::Onbod, &LIST_PEOPLE, &request).await?;
    let next = page.next.map(|next| address("/dash/people", &[("after", &next.to_string())]));
    let body = html! {
        (view::tabs(Tab::People))
        p { "Whoever was let in has a folder of their own and the right to administer it. More is given under "
            a href="/dash/access" { "Access" } "; taking the folder out of service shuts them out for good." }
        (view::people(&page.people))
        (pager_onward(next, after.is_none(), "/dash/people"))
    };
    shown(Here::Newcomers, "People", body)
}
