//! What a method is given, in any of the three forms that the Bot API takes, and what it answers.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Multipart},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// Bytes of a request.
const BODY_MAX: usize = 64 << 20;

/// The fields of a call, and its files by the names of their parts.
pub(super) struct Request {
    fields: Map<String, Value>,
    pub(super) files: Vec<(String, String, String, Bytes)>,
}

/// What a method answers.
pub(super) struct Answer(u16, Value);

impl Answer {
    pub(super) fn done(result: Value) -> Self {
        Self(200, json!({ "ok": true, "result": result }))
    }

    pub(super) fn refused(code: u16, text: impl Into<String>) -> Self {
        Self::refused_with(code, text, Value::Null)
    }

    pub(super) fn refused_with(code: u16, text: impl Into<String>, parameters: Value) -> Self {
        let mut body = json!({ "ok": false, "error_code": code, "description": text.into() });
        if !parameters.is_null() {
            body["parameters"] = parameters;
        }
        Self(code, body)
    }

    pub(super) fn bad(text: &str) -> Self {
        Self::refused(400, format!("Bad Request: {text}"))
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let status = StatusCode::from_u16(answer.0).unwrap();
        (status, Json(answer.1)).into_response()
    }
}

/// An answer of something that stands in front of Telegram.
pub(super) fn garbage(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, "<html>a gateway</html>").into_response()
}

/// Half an answer: the connection ends before what was promised.
pub(super) fn broken_off() -> Response {
    let pieces = [Ok(Bytes::from("{\"ok\":")), Err(std::io::Error::other("broken off"))];
    Response::new(Body::from_stream(futures::stream::iter(pieces)))
}

impl Request {
    pub(super) async fn read(request: axum::extract::Request) -> Result<Self, Answer> {
        let unread = |_| Answer::bad("the request cannot be read");
        let (query, kind) = {
            let kind = request.headers().get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
            (request.uri().query().unwrap_or_default().to_owned(), kind)
        };
        let mut read = Self { fields: Map::new(), files: Vec::new() };
        read.pairs(query.as_bytes());
        // To its end, also behind the last part: a connection with something unread on it is closed.
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_MAX).await.map_err(|_| unread(()))?;
        if kind.starts_with("multipart/form-data") {
            let request = axum::extract::Request::from_parts(parts, body.into());
            let mut form = Multipart::from_request(request, &()).await.map_err(|_| unread(()))?;
            while let Some(part) = form.next_field().await.map_err(|_| unread(()))? {
                let name = part.name().unwrap_or_default().to_owned();
                let mime = part.content_type().unwrap_or("application/octet-stream").to_owned();
                match part.file_name().map(str::to_owned) {
                    Some(file) => {
                        let content = part.bytes().await.map_err(|_| unread(()))?;
                        read.files.push((name, file, mime, content));
                    }
                    None => {
                        let text = part.text().await.map_err(|_| unread(()))?;
                        read.fields.insert(name, text.into());
                    }
                }
            }
            return Ok(read);
        }
        if kind.starts_with("application/json") && !body.is_empty() {
            match serde_json::from_slice(&body) {
                Ok(Value::Object(fields)) => read.fields.extend(fields),
                _ => return Err(Answer::bad("object expected as request")),
            }
        } else {
            read.pairs(&body);
        }
        Ok(read)
    }

    fn pairs(&mut self, text: &[u8]) {
        let pairs = form_urlencoded::parse(text);
        self.fields
            .extend(pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())));
    }

    pub(super) fn shown(&self) -> Value {
        self.fields.clone().into()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// A field that is an object or an array: as such, or as text.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        match self.fields.get(name)? {
            Value::String(text) => serde_json::from_str(text).ok(),
            Value::Null => None,
            other => Some(other.clone()),
        }
    }

    /// The file of a part, or the one that `attach://` names.
    pub(super) fn file(&self, name: &str) -> Option<&(String, String, String, Bytes)> {
        let attached =
            self.text(name).and_then(|text| text.strip_prefix("attach://").map(str::to_owned));
        let part = attached.unwrap_or_else(|| name.to_owned());
        self.files.iter().find(|(known, ..)| *known == part)
    }
}
