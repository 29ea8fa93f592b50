//! A browser of the test's own: cookies, no redirects but those it is told to follow.

use crate::rig::Authd;
use reqwest::{RequestBuilder, StatusCode, header};
use std::{collections::BTreeMap, sync::Mutex};

/// The host under which people reach the edge.
pub const HOST: &str = "127.0.0.1:8090";

#[derive(Default)]
pub struct Browser {
    cookies: Mutex<BTreeMap<String, String>>,
}

/// A page, or a redirect.
pub struct Shown {
    pub status: StatusCode,
    pub location: Option<String>,
    pub html: String,
}

impl Browser {
    async fn send(&self, request: RequestBuilder) -> Shown {
        let jar = {
            let cookies = self.cookies.lock().unwrap();
            let pairs = cookies.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("; ")
        };
        let response = request.header(header::COOKIE, jar).send().await.unwrap();
        for set in response.headers().get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            match value {
                "" => cookies.remove(name),
                value => cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let text = |value: &header::HeaderValue| value.to_str().unwrap().to_owned();
        Shown {
            status: response.status(),
            location: response.headers().get(header::LOCATION).map(text),
            html: response.text().await.unwrap(),
        }
    }

    pub async fn get(&self, authd: &Authd, path: &str) -> Shown {
        self.send(authd.get(path)).await
    }

    pub async fn post(&self, authd: &Authd, path: &str, form: &str) -> Shown {
        let kind = "application/x-www-form-urlencoded";
        let request = authd.post(path).header(header::CONTENT_TYPE, kind);
        self.send(request.body(form.to_owned())).await
    }

    /// The session's cookie.
    pub fn session(&self) -> Option<String> {
        self.cookies.lock().unwrap().get("arizuko_session").cloned()
    }

    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap().clone()
    }

    pub fn set_cookies(&self, cookies: BTreeMap<String, String>) {
        *self.cookies.lock().unwrap() = cookies;
    }
}
