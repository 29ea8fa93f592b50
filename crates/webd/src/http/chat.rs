//! The chat page, and what is said through it.

use super::{App, Shared, content_type, failure, is_cross_site, refuse_body, wants_html};
use crate::{
    guest,
    links::{Opened, Token},
    page::ChatPage,
    story::Story,
    visitor::{self, Visitor, Writer},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use kit::Failure;
use proto::{
    Code, Opaque, Topic,
    routd::{FeedQuery, LinkKind, MessageAck, NewMessage},
};
use serde::{Deserialize, Serialize};

/// Most bytes of one message. The page's script knows a little less.
const CONTENT_MAX: usize = 65_536;
/// Events that a page begins with.
const HISTORY: u32 = 200;

#[derive(Debug, Default, Deserialize)]
pub struct PageQuery {
    #[serde(default)]
    topic: String,
}

/// What is said: as JSON by programs and the page's script, as a form by a page without one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saying {
    pub(super) content: String,
    #[serde(default)]
    pub(super) topic: Option<String>,
    /// The sender's own id of the message: a repeat is the same message.
    #[serde(default)]
    pub(super) id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Accepted {
    id: Opaque,
}

/// Who is asking, and the cookie to give where it is somebody new.
struct Visit {
    writer: Writer,
    cookie: Option<HeaderValue>,
}

/// `GET /chat/new`: a chat of the guest's own. Nothing is kept of it until something is said there.
pub async fn begin(State(app): Shared, headers: HeaderMap) -> Response {
    if !app.guests {
        return app.unknown(wants_html(&headers));
    }
    let place = format!("/chat/{}/", guest::new_token());
    let Ok(mut place) = HeaderValue::try_from(place) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    place.set_sensitive(true);
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// `GET /chat/{token}`: relative addresses on the page need the slash.
pub async fn bare(Path(token): Path<String>, RawQuery(query): RawQuery) -> Response {
    // Only characters of a token go into the header; anything else is no link anyway.
    let Some(token) = Token::shown(&token, LinkKind::Chat) else {
        return Failure::not_found(super::UNKNOWN_LINK).into_response();
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::permanent(&format!("{}/{query}", token.path())).into_response()
}

/// `GET /chat/{token}/`
pub async fn page(
    State(app): Shared,
    Path(token): Path<String>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    let (token, link) = match app.open(LinkKind::Chat, &token, &headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let visit = app.visit(&token, &headers).await;
    let shown = Shown { topic: &query.topic, draft: "", refusal: None };
    let page = app.chat_page(&link, &visit, &shown).await;
    visit.answer(page)
}

/// `POST /chat/{token}`
pub async fn say(
    State(app): Shared,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let by_form = content_type(&headers)
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if is_cross_site(&headers) {
        let detail = "a page of another site may not write here in your name";
        return Failure::forbidden(detail).into_response();
    }
    let (token, link) = match app.open(LinkKind::Chat, &token, &headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let visit = app.visit(&token, &headers).await;
    let read = if by_form { read_form } else { read_json };
    let saying = body.map_err(refuse_body).and_then(|body| read(&body));
    let answer = match saying {
        Err(refusal) => refusal.into_response(),
        Ok(saying) => {
            let topic = saying.topic.clone().unwrap_or_default();
            match app.say(&link, &visit.writer, &saying).await {
                Ok(_) if by_form && wants_html(&headers) => back_to_page(&token, &topic),
                Ok(ack) => (StatusCode::ACCEPTED, Json(Accepted { id: ack.id })).into_response(),
                Err(refusal) if by_form && wants_html(&headers) => {
                    let detail = refusal.problem().detail.clone();
                    let shown =
                        Shown { topic: &topic, draft: &saying.content, refusal: Some(&detail) };
                    let page = app.chat_page(&link, &visit, &shown).await;
                    (refusal.status(), page).into_response()
                }
                Err(refusal) => refusal.into_response(),
            }
        }
    };
    visit.answer(answer)
}

/// What a page shows besides the conversation.
struct Shown<'a> {
    topic: &'a str,
    draft: &'a str,
    refusal: Option<&'a str>,
}

impl App {
    /// Who is asking: who is logged in at the edge, else the visitor of this browser.
    async fn visit(&self, token: &Token, headers: &HeaderMap) -> Visit {
        let edge = self.gate.verify_edge(headers).await;
        if let Some(subject) = edge.as_ref().and_then(|edge| edge.subject.as_deref()) {
            return Visit { writer: Writer::subject(subject), cookie: None };
        }
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        match Visitor::from_cookies(cookies) {
            Some(visitor) => Visit { writer: Writer::visitor(&visitor), cookie: None },
            None => {
                let visitor = Visitor::new();
                let https = edge.is_some_and(|edge| edge.https);
                let cookie = HeaderValue::try_from(visitor.set_cookie(&token.path(), https)).ok();
                let cookie = cookie.map(|mut value| {
                    value.set_sensitive(true);
                    value
                });
                Visit { writer: Writer::visitor(&visitor), cookie }
            }
        }
    }

    async fn chat_page(&self, link: &Opened, visit: &Visit, shown: &Shown<'_>) -> Response {
        let query = FeedQuery {
            chat_jid: link.chat_jid.clone(),
            after: None,
            limit: Some(HISTORY),
            wait_seconds: 0,
        };
        let feed = match self.routd.feed(&query).await {
            Ok(feed) => feed,
            Err(error) => return self.away(&error, true),
        };
        let page = ChatPage {
            assistant: &self.assistant,
            story: &Story::new(feed, shown.topic, &self.assistant),
            topic: shown.topic,
            me: &visit.writer.sender,
            form_id: &visitor::random_id(),
            refusal: shown.refusal,
            draft: shown.draft,
            assets: &self.assets.paths,
        };
        Html(page.html()).into_response()
    }

    /// Delivers what somebody says: answers once routd has committed it.
    pub(super) async fn say(
        &self,
        link: &Opened,
        writer: &Writer,
        saying: &Saying,
    ) -> Result<MessageAck, Failure> {
        let content = saying.content.trim();
        if content.is_empty() {
            return Err(Failure::bad_request("`content` is empty; there is nothing to send"));
        }
        if content.len() > CONTENT_MAX {
            let detail = "`content` has more than 65,536 bytes; send it in parts";
            return Err(Failure::new(Code::TooLarge, detail));
        }
        let id = saying.id.clone().unwrap_or_else(visitor::random_id);
        let id = writer.message_id(&id).ok_or_else(|| {
            Failure::bad_request("`id` has 1 to 128 printable characters and no spaces")
        })?;
        let topic: Option<Topic> = saying
            .topic
            .as_deref()
            .filter(|topic| !topic.is_empty())
            .map(|topic| topic.parse().map_err(|error| Failure::bad_request(format!("{error}"))))
            .transpose()?;
        let message = NewMessage {
            id,
            chat_jid: link.chat_jid.clone(),
            sender: writer.sender.clone(),
            sender_name: Some(writer.name.clone()),
            content: content.replace('\0', "\u{FFFD}"),
            timestamp: None,
            topic,
            verb: None,
            reply_to: None,
            is_group: false,
            attachments: Vec::new(),
        };
        let ack = self.routd.deliver(&message).await.map_err(|error| failure(&error))?;
        self.count(LinkKind::Chat);
        Ok(ack)
    }
}

impl Visit {
    fn answer(self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        if response.status() != StatusCode::NOT_FOUND {
            response.headers_mut().extend(self.cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        }
        response
    }
}

/// Leads a browser without a script back to the page, so that loading it again sends nothing.
fn back_to_page(token: &Token, topic: &str) -> Response {
    let mut path = format!("{}/", token.path());
    if !topic.is_empty() {
        let mut query = form_urlencoded::Serializer::new(String::new());
        path = format!("{path}?{}", query.append_pair("topic", topic).finish());
    }
    Redirect::to(&format!("{path}#end")).into_response()
}

fn read_json(body: &[u8]) -> Result<Saying, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        let detail = format!(
            "the body is not what this takes, at {place}; send {{\"content\": \"…\"}}, with `id` and `topic` if you like"
        );
        Failure::bad_request(detail)
    })
}

fn read_form(body: &[u8]) -> Result<Saying, Failure> {
    let mut saying = Saying { content: String::new(), topic: None, id: None };
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            // A form sends every line break as two characters.
            "content" => saying.content = value.replace("\r\n", "\n"),
            "topic" => saying.topic = Some(value.into_owned()),
            "id" => saying.id = Some(value.into_owned()),
            _ => return Err(Failure::bad_request("the form has a field that this does not take")),
        }
    }
    Ok(saying)
}
