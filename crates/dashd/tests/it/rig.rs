//! dashd, a routd, an onbod, and the edge and authd as far as dashd meets them.

use auth::Kind;
use axum::{Router, routing::post};
use kit::{
    Api, Context, Peers,
    testing::{Rig, Serving, TestAuthority, serve_daemon, serve_router},
};
use proto::{
    Daemon, Endpoint, Nothing, Timestamp,
    authd::{
        END_SESSION, EndSession, LIST_SESSIONS, ListSessions, SessionPage, SessionRow, Token,
        USER_TOKEN, UserTokenRequest,
    },
    onbod::{
        Admission, KNOCK, Knock, LIST_ADMISSIONS, LIST_GATES, LIST_INVITES, ListAdmissions, Page,
    },
    routd::{
        ADD_GROUP, ADD_RULE, AclEffect, AclRule, LIST_ACL, LIST_CAPS, LIST_GROUPS, LIST_LINKS,
        LIST_MESSAGES, LIST_ROUTES, LIST_SCHEDULES, ListMessages, ListSchedules, NewGroup,
        NewMessage, POST_MESSAGE,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

pub const CHANNEL_SECRET: &str = "channel-secret-of-the-tests";
/// The host that the browser asked, as the edge says.
pub const HOST: &str = "dash.example";

/// The operator, and what the edge hands on for them.
pub const OPERATOR: &str = "operator:local";
/// Somebody who administers `corp/eng` and what lies below it.
pub const ANN: &str = "user:ann";
/// Somebody who administers nothing.
pub const BOB: &str = "user:bob";

pub struct Dash {
    pub authority: TestAuthority,
    _routd: [Context; 2],
    routd_url: Serving,
    onbod_url: Serving,
    serving: Serving,
    http: reqwest::Client,
    pub ended: Ended,
    _authd: Serving,
    _dirs: [TempDir; 3],
}

/// authd's endpoint: an act is `act:SUBJECT`, and `act:over` is of a session that has ended.
async fn user_token(
    authority: TestAuthority,
    _: kit::Caller,
    asked: UserTokenRequest,
) -> Result<Token, kit::Failure> {
    let subject = asked.act.strip_prefix("act:").unwrap_or_default().to_owned();
    if subject == "over" {
        return Err(kit::Failure::unauthorized("the session has ended").code("session_over"));
    }
    let (kind, scopes): (Kind, Vec<&str>) = if subject.starts_with("operator:") {
        (Kind::Operator, vec!["*:*"])
    } else {
        let scopes = auth::person_scopes(asked.audience).iter().map(auth::Scope::as_str);
        (Kind::User, scopes.collect())
    };
    Ok(Token {
        token: authority.token(&subject, &[asked.audience], kind, &scopes),
        token_type: "Bearer".into(),
        expires_in: 300,
        scope: Vec::new(),
        fingerprint_key: None,
    })
}

impl Dash {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these settings of dashd.
    pub async fn with(settings: &[(&'static str, &str)]) -> Self {
        let dirs = [(); 3].map(|()| TempDir::new().unwrap());
        let rig = Rig::new(Daemon::Routd, dirs[0].path())
            .secret("CHANNEL_SECRET", CHANNEL_SECRET)
            .secret("SECRETS_KEY", "0123456789abcdef0123456789abcdef-one")
            // Nobody runs what the messages ask for.
            .peer(Daemon::Runed, "http://127.0.0.1:1");
        let (routd, authority) = rig.build().await;
        let router = routd::start(routd.clone()).await.unwrap();
        let routd_url = serve_daemon(&routd, router).await;
        let ended = Ended::default();
        let authd = authd(&authority, &ended).await;
        let rig = Rig::new(Daemon::Onbod, dirs[2].path())
            .authority(&authority)
            .setting("ONBOARDING_POLICY", "queue")
            .peer(Daemon::Routd, &routd_url.url)
            .peer(Daemon::Authd, &authd.url);
        let (onbod, _) = rig.build().await;
        let router = onbod::start(onbod.clone()).await.unwrap();
        let onbod_url = serve_daemon(&onbod, router).await;
        let mut rig = Rig::new(Daemon::Dashd, dirs[1].path())
            .authority(&authority)
            .peer(Daemon::Routd, &routd_url.url)
            .peer(Daemon::Authd, &authd.url)
            .peer(Daemon::Onbod, &onbod_url.url)
            .peer(Daemon::Runed, "http://127.0.0.1:1");
        for (name, value) in settings {
            rig = rig.setting(name, *value);
        }
        let (context, _) = rig.build().await;
        let router = dashd::start(context.clone()).await.unwrap();
        let serving = serve_daemon(&context, router).await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let dash = Self {
            authority,
            _routd: [routd, onbod],
            routd_url,
            onbod_url,
            serving,
            http,
            ended,
            _authd: authd,
            _dirs: dirs,
        };
        for folder in ["corp/eng", "corp/eng/sre", "corp/ops", "other"] {
            let folder = folder.parse().unwrap();
            let new =
                NewGroup { folder, jid: None, harness: None, command: Vec::new(), model: None };
            dash.call(&ADD_GROUP, &new).await;
        }
        for scope in ["corp/eng", "corp/eng/**"] {
            let (principal, action) = (ANN.to_owned(), "admin".to_owned());
            let rule = AclRule { principal, action, scope: scope.into(), effect: AclEffect::Allow };
            dash.call(&ADD_RULE, &rule).await;
        }
        dash
    }

    /// Calls routd as the operator, past dashd.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Res {
        self.ask(Daemon::Routd, endpoint, request).await
    }

    /// Calls an owner as the operator, past dashd.
    pub async fn ask<Req: Serialize, Res: DeserializeOwned>(
        &self,
        daemon: Daemon,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Res {
        let urls = [
            (Daemon::Routd, self.routd_url.url.clone()),
            (Daemon::Onbod, self.onbod_url.url.clone()),
        ];
        let token = self.authority.operator();
        let peers = Peers::with_token(kit::http_client().unwrap(), urls.into(), &token);
        peers.get(daemon).call(endpoint, request).await.unwrap()
    }

    /// What the owners have, to be compared.
    pub async fn everything(&self) -> Vec<String> {
        let nothing = Nothing {};
        let queue = ListAdmissions::default();
        let all = (
            self.call(&LIST_GROUPS, &nothing).await,
            self.call(&LIST_ROUTES, &nothing).await,
            self.call(&LIST_LINKS, &nothing).await,
            self.call(&LIST_ACL, &nothing).await,
            self.call(&LIST_CAPS, &nothing).await,
            self.call(&LIST_SCHEDULES, &ListSchedules::default()).await,
            self.call(&LIST_MESSAGES, &ListMessages::default()).await,
        );
        let others = (
            self.ask(Daemon::Onbod, &LIST_ADMISSIONS, &queue).await,
            self.ask(Daemon::Onbod, &LIST_INVITES, &Page::default()).await,
            self.ask(Daemon::Onbod, &LIST_GATES, &nothing).await,
            self.ended.lock().unwrap().clone(),
        );
        vec![serde_json::to_string(&all).unwrap(), serde_json::to_string(&others).unwrap()]
    }

    /// Somebody knocks at a chat that nothing takes: their admission.
    pub async fn knock(&self, chat: &str, name: &str, text: &str) -> Admission {
        let knock = Knock {
            message_id: "k1".parse().unwrap(),
            chat_jid: chat.parse().unwrap(),
            sender: chat.to_owned(),
            sender_name: Some(name.to_owned()),
            excerpt: text.to_owned(),
        };
        self.ask(Daemon::Onbod, &KNOCK, &knock).await;
        let all = self.ask(Daemon::Onbod, &LIST_ADMISSIONS, &ListAdmissions::default()).await;
        let known = |one: &Admission| one.chat_jid.as_ref().is_some_and(|jid| jid.as_str() == chat);
        all.admissions.into_iter().find(known).unwrap()
    }

    /// Somebody writes in a chat.
    pub async fn say(&self, chat: &str, id: &str, text: &str) {
        let message: NewMessage = serde_json::from_value(serde_json::json!({
            "id": id, "chat_jid": chat, "sender": "telegram:user/7", "sender_name": "Eve",
            "content": text,
        }))
        .unwrap();
        self.call(&POST_MESSAGE, &message).await;
    }

    /// A request as the edge passes it on for `subject`.
    pub fn request(&self, method: &str, path: &str, subject: &str) -> reqwest::RequestBuilder {
        let request =
            self.http.request(method.parse().unwrap(), format!("{}{path}", self.serving.url));
        request
            .header("x-arizuko-edge", self.authority.service(Daemon::Proxyd))
            .header("x-user-subject", subject)
            .header("x-user-act", format!("act:{subject}"))
            .header("x-forwarded-host", HOST)
            .header("x-forwarded-proto", "https")
            .header("cookie", format!("arizuko_dash={}", browser(subject)))
    }

    /// A request that did not come by the edge.
    pub fn bare(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.serving.url))
    }

    /// A page for `subject`: its status and its text.
    pub async fn get(&self, path: &str, subject: &str) -> (u16, String) {
        let answer = self.request("GET", path, subject).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The code of the forms of `subject`.
    pub async fn code(&self, subject: &str) -> String {
        let (_, page) = self.get("/dash/schedules", subject).await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Sends a form as a browser does from a page of `subject`'s: the status, and where it leads or what it says.
    pub async fn post(&self, path: &str, subject: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let code = self.code(subject).await;
        let mut all = vec![("csrf", code.as_str())];
        all.extend(fields);
        let request = self.request("POST", path, subject).header("sec-fetch-site", "same-origin");
        let request = request.header("origin", format!("https://{HOST}")).form(&all);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let place = answer.headers().get("location").map(|at| at.to_str().unwrap().to_owned());
        (status, place.unwrap_or(answer.text().await.unwrap()))
    }
}

/// The browser of each.
fn browser(subject: &str) -> String {
    let mut hex: String = subject.bytes().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(32);
    format!("{hex:0<32}")
}

/// The ids of the sessions that were ended. There is one, 7, of ann.
pub type Ended = Arc<Mutex<Vec<i64>>>;

async fn sessions(
    ended: Ended,
    _: kit::Caller,
    wanted: ListSessions,
) -> Result<SessionPage, kit::Failure> {
    let lasts = !ended.lock().unwrap().contains(&7) && wanted.subject.is_none_or(|s| s == ANN);
    let session = SessionRow {
        id: 7,
        subject: ANN.into(),
        kind: "browser".into(),
        rule: Some("oidc domain example.org".into()),
        begun_from: "192.0.2.7".into(),
        begun_at: Timestamp(0),
        used_at: Timestamp(0),
        ends_at: Timestamp(0),
    };
    Ok(SessionPage { sessions: lasts.then_some(session).into_iter().collect(), before: None })
}

async fn end_session(
    ended: Ended,
    _: kit::Caller,
    wanted: EndSession,
) -> Result<Nothing, kit::Failure> {
    ended.lock().unwrap().push(wanted.id);
    Ok(Nothing {})
}

async fn authd(authority: &TestAuthority, ended: &Ended) -> Serving {
    let dir = TempDir::new().unwrap();
    let rig = Rig::new(Daemon::Authd, dir.path()).authority(authority);
    let (context, _) = rig.build().await;
    let mut api = Api::new(&context);
    api.mount(USER_TOKEN, authority.clone(), user_token)
        .mount(LIST_SESSIONS, ended.clone(), sessions)
        .mount(END_SESSION, ended.clone(), end_session);
    let never = Router::new().route("/never", post(|| async {}));
    serve_router(api.into_router().merge(never)).await
}
