//! Schedules.

use crate::{
    look::Here,
    pages::schedules::{self as view, MISSED},
    parts::{address, choice, field, filter, pager},
    query::{self, One, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Jid, Opaque,
    routd::{
        ADD_SCHEDULE, LIST_SCHEDULES, ListSchedules, Missed, NewSchedule, OneSchedule,
        PAUSE_SCHEDULE, REMOVE_SCHEDULE, RESUME_SCHEDULE, RUN_SCHEDULE, RunSchedule, SCHEDULE_RUNS,
        Schedule, ScheduleState,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default, deserialize_with = "blank")]
    after: Option<Opaque>,
}

/// The schedules.
pub(super) async fn page(visit: Visit, Which { folder, after }: Which) -> Outcome {
    let request = ListSchedules { folder, after, limit: Some(PAGE) };
    let page = visit.call(Daemon::Routd, &LIST_SCHEDULES, &request).await?;
    let folder = request.folder.map(|folder| folder.to_string()).unwrap_or_default();
    let here = |after: &str| address("/dash/schedules", &[("folder", &folder), ("after", after)]);
    let next = page.after.map(|after| here(after.as_str()));
    let body = html! {
        (filter("/dash/schedules", &field("of", "Folder", "folder", &folder, "")))
        (view::list(&page.schedules))
        (pager(next, request.after.is_none(), &here("")))
        (new_form(&visit, &folder))
    };
    shown(Here::Schedules, "Schedules", body)
}

fn new_form(visit: &Visit, folder: &str) -> Markup {
    html! {
        h2 { "A new schedule" }
        form.fields method="post" action="/dash/schedules" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("folder", "Folder", "folder", folder, "Whose agent gets the message."))
            (field("when", "When", "when", "", "Such as 0 9 * * mon-fri, @daily, every 15m, or at 2026-12-01T09:00."))
            (field("zone", "Time zone", "zone", "UTC", "Such as Europe/London."))
            (field("chat", "Replies go to", "chat", "", "A chat of that folder; one of the schedule's own when left blank."))
            (choice("missed", "Missed firings", "missed", &MISSED, "once"))
            div.field.wide {
                label for="content" { "Message" }
                textarea id="content" name="content" rows="4" required {}
            }
            button type="submit" { "Add the schedule" }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    when: String,
    #[serde(default, deserialize_with = "blank")]
    zone: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    chat: Option<Jid>,
    #[serde(default)]
    missed: Missed,
    content: String,
}

/// Makes one.
pub(super) async fn add(visit: Visit, new: New) -> Outcome {
    let request = NewSchedule {
        folder: new.folder,
        chat_jid: new.chat,
        topic: proto::Topic::default(),
        when: new.when.trim().to_owned(),
        zone: new.zone,
        missed: new.missed,
        content: new.content.replace("\r\n", "\n"),
    };
    let made = visit.call(Daemon::Routd, &ADD_SCHEDULE, &request).await?;
    Ok(Answer::See(address("/dash/schedules/one", &[("id", made.id.as_str()), ("done", "added")])))
}

/// Finds one: by its id in the list of all, from the place before it.
async fn find(visit: &Visit, id: &Opaque) -> Result<Schedule, Trouble> {
    let gone =
        || Trouble::NotFound(format!("There is no schedule {id}, or it is not yours to see."));
    let mut after = None;
    // As many as an instance may well have; each page is one of the owner's largest.
    for _ in 0..200 {
        let request = ListSchedules { folder: None, after, limit: Some(500) };
        let page = visit.call(Daemon::Routd, &LIST_SCHEDULES, &request).await?;
        if let Some(found) = page.schedules.into_iter().find(|schedule| schedule.id == *id) {
            return Ok(found);
        }
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    Err(gone())
}

/// One schedule, and what it did.
pub(super) async fn one(visit: Visit, One { id }: One) -> Outcome {
    let schedule = find(&visit, &id).await?;
    let runs = visit.call(Daemon::Routd, &SCHEDULE_RUNS, &OneSchedule { id: id.clone() }).await?;
    let remove = address("/dash/schedules/remove", &[("id", id.as_str())]);
    // Pressed twice, it fires once.
    let key = hex::encode(rand::random::<[u8; 12]>());
    let button = |what: &str, text: &str| {
        let fields = [("id", id.as_str()), ("what", what), ("key", key.as_str())];
        visit.button("/dash/schedules/do", text, &fields)
    };
    let body = html! {
        (view::one(&schedule))
        div.row {
            @match schedule.state {
                ScheduleState::Active => (button("pause", "Pause")),
                ScheduleState::Paused => (button("resume", "Resume")),
                ScheduleState::Done => {},
            }
            (button("run", "Fire now"))
            a.button href=(remove) { "Remove…" }
        }
        h2 { "What it did last" }
        (view::runs(&schedule, &runs.runs))
    };
    shown(Here::Schedules, "Schedule", body)
}

#[derive(Debug, Deserialize)]
pub(super) struct Change {
    #[serde(deserialize_with = "query::text")]
    id: Opaque,
    what: What,
    #[serde(default, deserialize_with = "blank")]
    key: Option<Opaque>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Pause,
    Resume,
    Run,
}

/// Pauses, resumes or fires one.
pub(super) async fn change(visit: Visit, Change { id, what, key }: Change) -> Outcome {
    let one = OneSchedule { id: id.clone() };
    let done = match what {
        What::Pause => {
            visit.call(Daemon::Routd, &PAUSE_SCHEDULE, &one).await?;
            "paused"
        }
        What::Resume => {
            visit.call(Daemon::Routd, &RESUME_SCHEDULE, &one).await?;
            "resumed"
        }
        What::Run => {
            let Some(key) = key else {
                return Err(Trouble::Invalid(
                    "The form lacks its key; load the page again.".into(),
                ));
            };
            visit.call(Daemon::Routd, &RUN_SCHEDULE, &RunSchedule { id: id.clone(), key }).await?;
            "fired"
        }
    };
    Ok(Answer::See(address("/dash/schedules/one", &[("id", id.as_str()), ("done", done)])))
}

/// Asks first.
pub(super) async fn ask_remove(visit: Visit, One { id }: One) -> Outcome {
    let schedule = find(&visit, &id).await?;
    let what = html! {
        p { "It fires no more, and what it did is forgotten. Messages that it put in stay." }
        (view::one(&schedule))
    };
    let back = address("/dash/schedules/one", &[("id", id.as_str())]);
    let does = ("/dash/schedules/remove", "Remove the schedule");
    visit.ask(Here::Schedules, "Remove this schedule?", &what, does, &[("id", id.as_str())], &back)
}

/// Removes one.
pub(super) async fn remove(visit: Visit, One { id }: One) -> Outcome {
    visit.call(Daemon::Routd, &REMOVE_SCHEDULE, &OneSchedule { id }).await?;
    Ok(Answer::See("/dash/schedules?done=removed".into()))
}
