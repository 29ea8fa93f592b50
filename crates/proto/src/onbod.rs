//! What onbod serves: who knocks, who waits, who was let in, invites and gates.

use crate::{Endpoint, Folder, Jid, Method, Needs, Nothing, Opaque, Route, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// routd tells of a message that no route takes. Answers once it is dealt with; a repeat changes nothing.
pub const KNOCK: Endpoint<Knock, Nothing> = Endpoint::post(
    "/v1/onboarding/knocks",
    Needs::Scope("onboarding:tell"),
    "Tell of a message that no route takes",
);

/// Who knocked, and what became of each, oldest first: with `state` `waiting`, the queue.
pub const LIST_ADMISSIONS: Endpoint<ListAdmissions, AdmissionPage> = Endpoint::get(
    "/v1/onboarding",
    Needs::Scope("onboarding:read"),
    "Who knocked, and what became of each",
);

/// One of them.
pub const GET_ADMISSION: Endpoint<GetAdmission, Admission> = Endpoint::get(
    "/v1/onboarding/{id}",
    Needs::Scope("onboarding:read"),
    "One who knocked, and what became of them",
);

/// Lets somebody in: at once where they have logged in, else as soon as they have. A repeat answers alike.
pub const APPROVE: Endpoint<Decide, Admission> = Endpoint::post(
    "/v1/onboarding/{id}/approve",
    Needs::Scope("onboarding:write"),
    "Let somebody in",
);

/// Refuses somebody, for good. A repeat answers alike. Who is in already is not refused: that is `DELETE /v1/groups`.
pub const REFUSE: Endpoint<Decide, Admission> = Endpoint::post(
    "/v1/onboarding/{id}/refuse",
    Needs::Scope("onboarding:write"),
    "Refuse somebody, for good",
);

/// Who was let in, in the order of their coming.
pub const LIST_PEOPLE: Endpoint<Page, PeoplePage> =
    Endpoint::get("/v1/people", Needs::Scope("onboarding:read"), "Who was let in");

/// Makes an invite. Its token is in the answer and nowhere else.
pub const CREATE_INVITE: Endpoint<NewInvite, IssuedInvite> =
    Endpoint::post("/v1/invites", Needs::Scope("onboarding:write"), "Make an invite");

/// The invites, without their tokens, in the order in which they were made.
pub const LIST_INVITES: Endpoint<Page, InvitePage> =
    Endpoint::get("/v1/invites", Needs::Scope("onboarding:read"), "The invites");

/// Ends an invite, of which there must be one. Who came by it stays. A repeat answers alike.
pub const REVOKE_INVITE: Endpoint<RevokeInvite, Nothing> =
    Endpoint::delete("/v1/invites/{id}", Needs::Scope("onboarding:write"), "End an invite");

/// Says how many of a kind of people come in each day (UTC) without an operator. A repeat answers alike.
pub const SET_GATE: Endpoint<Gate, Gate> =
    Endpoint::put("/v1/gates", Needs::Scope("onboarding:write"), "Open a gate, or change it");

/// The gates.
pub const LIST_GATES: Endpoint<Nothing, Gates> =
    Endpoint::get("/v1/gates", Needs::Scope("onboarding:read"), "The gates");

/// Closes a gate, of which there must be one.
pub const REMOVE_GATE: Endpoint<RemoveGate, Nothing> =
    Endpoint::delete("/v1/gates", Needs::Scope("onboarding:write"), "Close a gate");

/// What was done, newest first.
pub const AUDIT: Endpoint<crate::routd::AuditQuery, crate::routd::AuditPage> =
    Endpoint::get("/v1/audit", Needs::Scope("audit:read"), "What was done, newest first");

/// The page of a pairing link. No side effects: a link preview must not spend it.
pub const PAIR_PAGE: Route =
    Route::new(Method::Get, "/pair/{token}", Needs::Nobody, "The page of a pairing link");

/// Spends a pairing link: the chat belongs to whoever is logged in.
pub const PAIR_SPEND: Route =
    Route::new(Method::Post, "/pair/{token}", Needs::Nobody, "Spends a pairing link");

/// How things stand with whoever is logged in.
pub const STANDING_PAGE: Route =
    Route::new(Method::Get, "/onboard/", Needs::Nobody, "How things stand with a newcomer");

/// The page of an invite. No side effects.
pub const INVITE_PAGE: Route =
    Route::new(Method::Get, "/onboard/invite/{token}", Needs::Nobody, "The page of an invite");

/// Comes in by an invite.
pub const INVITE_SPEND: Route =
    Route::new(Method::Post, "/onboard/invite/{token}", Needs::Nobody, "Comes in by an invite");

/// Opens the web chat of the folder of whoever is logged in.
pub const OPEN_CHAT: Route =
    Route::new(Method::Post, "/onboard/chat", Needs::Nobody, "Opens a newcomer's own web chat");

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    KNOCK.route,
    LIST_ADMISSIONS.route,
    GET_ADMISSION.route,
    APPROVE.route,
    REFUSE.route,
    LIST_PEOPLE.route,
    CREATE_INVITE.route,
    LIST_INVITES.route,
    REVOKE_INVITE.route,
    SET_GATE.route,
    LIST_GATES.route,
    REMOVE_GATE.route,
    AUDIT.route,
    PAIR_PAGE,
    PAIR_SPEND,
    STANDING_PAGE,
    INVITE_PAGE,
    INVITE_SPEND,
    OPEN_CHAT,
];

/// A message that no route takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Knock {
    /// The message's id.
    pub message_id: Opaque,
    /// Its chat.
    pub chat_jid: Jid,
    /// Who wrote it.
    pub sender: String,
    /// The sender's name as people see it. What somebody chose for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// How it begins, for whoever decides: at most 280 characters.
    #[serde(default)]
    pub excerpt: String,
}

/// How things stand with an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionState {
    /// A pairing link was sent, and nobody has used it yet.
    Greeted,
    /// In the queue.
    Waiting,
    /// Being carried out.
    Admitting,
    /// Done: there is a folder.
    Admitted,
    /// An operator said no.
    Refused,
}

impl AdmissionState {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::Greeted, Self::Waiting, Self::Admitting, Self::Admitted, Self::Refused];

    /// Its name on the command line and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greeted => "greeted",
            Self::Waiting => "waiting",
            Self::Admitting => "admitting",
            Self::Admitted => "admitted",
            Self::Refused => "refused",
        }
    }
}

impl std::str::FromStr for AdmissionState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::name).join(" ");
            format!("there is no state `{text}`; the states are {all}")
        })
    }
}

/// Which admissions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ListAdmissions {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AdmissionState>,
    /// Where the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// Rows of the page: 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which admission.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GetAdmission {
    /// Its id.
    pub id: Opaque,
}

/// A page of admissions.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AdmissionPage {
    /// Oldest first.
    pub admissions: Vec<Admission>,
    /// Where the next page begins, if there is more.
    pub next: Option<i64>,
    /// How many are in the queue.
    pub waiting: u64,
}

/// Somebody who knocked, or came by an invite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Admission {
    /// Its id.
    pub id: Opaque,
    /// How things stand.
    pub state: AdmissionState,
    /// The chat that knocked; none where somebody came by an invite.
    pub chat_jid: Option<Jid>,
    /// Who wrote there.
    pub sender: String,
    /// The name that the sender gives themselves.
    pub sender_name: Option<String>,
    /// How the first message begins.
    pub excerpt: String,
    /// Who logged in with the link.
    pub subject: Option<String>,
    /// Their folder.
    pub folder: Option<Folder>,
    /// The place in the queue, from 1, while it waits.
    pub position: Option<u64>,
    /// Who let them in or refused them: an operator, `gate PATTERN` or `invite ID`.
    pub decided_by: Option<String>,
    /// What the operator said to them.
    pub note: Option<String>,
    /// What keeps it from being carried out.
    pub trouble: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// An operator's word.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The admission.
    pub id: Opaque,
    /// A line for them. At most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Which page.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Page {
    /// Where the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// Rows of the page: 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of people.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PeoplePage {
    /// In the order of their coming.
    pub people: Vec<Person>,
    /// Where the next page begins, if there is more.
    pub next: Option<i64>,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Person {
    /// Who, as an opaque subject.
    pub subject: String,
    /// The folder that was made for them.
    pub folder: Folder,
    /// The chats that they paired.
    pub chats: Vec<Jid>,
    /// When they were let in.
    pub since: Timestamp,
}

/// The invite to make.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// Where the folders of those who come lie: `FOLDER/{person}`. The instance's own place when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder_template: Option<String>,
    /// How many may come by it: 1 to 10,000; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// For how many seconds: a minute to a year; 7 days when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A new invite. `Debug` hides its token.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IssuedInvite {
    /// The invite.
    pub invite: Invite,
    /// The token; shown once, stored only as a hash.
    pub token: String,
    /// The path on the edge.
    pub path: String,
}

impl fmt::Debug for IssuedInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedInvite({:?}, ..)", self.invite)
    }
}

/// An invite, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Invite {
    /// Its id, to revoke it by.
    pub id: Opaque,
    /// Where the folders of those who come lie.
    pub folder_template: String,
    /// How many came.
    pub uses: u32,
    /// How many may.
    pub uses_max: u32,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was ended before that.
    pub revoked_at: Option<Timestamp>,
}

/// A page of invites.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InvitePage {
    /// In the order in which they were made.
    pub invites: Vec<Invite>,
    /// Where the next page begins, if there is more.
    pub next: Option<i64>,
}

/// Which invite to end.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevokeInvite {
    /// The invite's id.
    pub id: Opaque,
}

/// How many of a kind of people come in without an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Whom it is for: `*` for everybody, or one subject, such as `user:p0123456789abcdef01234567`, which counts before
    /// `*`. Subjects are random, so that the beginning of one stands for nobody.
    pub pattern: String,
    /// How many come in by it each day (UTC). The others wait.
    pub per_day: u32,
}

/// The gates.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gates {
    /// By pattern.
    pub gates: Vec<GateState>,
}

/// A gate and its day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateState {
    /// Whom it is for.
    pub pattern: String,
    /// How many come in by it each day.
    pub per_day: u32,
    /// How many did today.
    pub today: u32,
}

/// Which gate to close.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RemoveGate {
    /// Whom it was for.
    pub pattern: String,
}
