//! One value per endpoint: its method, path, what the caller needs, and its types.
//!
//! A request is one type. Its fields that the path names (`/v1/routes/{id}`) travel in the path;
//! the others travel as the query of a `GET` or `DELETE` and as the JSON body of a `POST` or `PUT`.

use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// The HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads. No side effects.
    Get,
    /// Changes something.
    Post,
    /// Replaces something.
    Put,
    /// Ends something; a repeat answers alike.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Whether the request's fields travel as a JSON body.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// What a caller needs before the handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: health, keys, the OpenAPI document, and links that carry their own right.
    Nobody,
    /// A token that carries this scope.
    Scope(&'static str),
    /// A token that carries this scope, or the shared secret of this name as the bearer.
    ScopeOrSecret(&'static str, &'static str),
    /// The shared secret of this name as the bearer.
    Secret(&'static str),
    /// To be the process at the other end of a private socket.
    Socket,
}

/// The part of an endpoint that has no type parameters: for listing, documents and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// What the caller needs.
    pub needs: Needs,
    /// One line for the OpenAPI document.
    pub about: &'static str,
}

impl Route {
    /// A route that is served by hand (a page, a stream), listed so that documents and tests see it.
    pub const fn new(
        method: Method,
        path: &'static str,
        needs: Needs,
        about: &'static str,
    ) -> Self {
        Self { method, path, needs, about }
    }
}

/// An endpoint that takes `Req` and answers `Res`.
pub struct Endpoint<Req, Res> {
    /// Method, path, need and summary.
    pub route: Route,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> Clone for Endpoint<Req, Res> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req, Res> Copy for Endpoint<Req, Res> {}

impl<Req, Res> Endpoint<Req, Res> {
    const fn new(method: Method, path: &'static str, needs: Needs, about: &'static str) -> Self {
        Self { route: Route { method, path, needs, about }, types: PhantomData }
    }

    /// A `GET` endpoint.
    pub const fn get(path: &'static str, needs: Needs, about: &'static str) -> Self {
        Self::new(Method::Get, path, needs, about)
    }

    /// A `POST` endpoint.
    pub const fn post(path: &'static str, needs: Needs, about: &'static str) -> Self {
        Self::new(Method::Post, path, needs, about)
    }

    /// A `PUT` endpoint.
    pub const fn put(path: &'static str, needs: Needs, about: &'static str) -> Self {
        Self::new(Method::Put, path, needs, about)
    }

    /// A `DELETE` endpoint.
    pub const fn delete(path: &'static str, needs: Needs, about: &'static str) -> Self {
        Self::new(Method::Delete, path, needs, about)
    }
}

/// A request without fields, or an answer that says no more than "done".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Nothing {}

/// Puts `fields` named by `{braces}` into `path`, percent-encoded, and takes them out of `fields`.
///
/// Returns `None` when the path names a field that is not there or is not text or a number.
pub fn fill_path(
    path: &str,
    fields: &mut serde_json::Map<String, serde_json::Value>,
) -> Option<String> {
    let mut filled = String::with_capacity(path.len() + 16);
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            filled.push('/');
        }
        match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            None => filled.push_str(segment),
            Some(name) => match fields.remove(name)? {
                serde_json::Value::String(text) if !text.is_empty() => encode(&text, &mut filled),
                serde_json::Value::Number(number) => filled.push_str(&number.to_string()),
                _ => return None,
            },
        }
    }
    Some(filled)
}

/// RFC 3986 percent-encoding of everything that is not unreserved.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_named_by_the_path_travel_in_it_and_nowhere_else() {
        let mut fields = serde_json::json!({"id": "a/b c", "limit": 3});
        let fields = fields.as_object_mut().unwrap();
        assert_eq!(fill_path("/v1/runs/{id}/log", fields).unwrap(), "/v1/runs/a%2Fb%20c/log");
        assert_eq!(fields.len(), 1, "`id` must not travel twice: {fields:?}");
        assert_eq!(fill_path("/v1/runs/{id}", fields), None, "a missing field is an error");
        let mut empty = serde_json::json!({"id": ""});
        assert_eq!(fill_path("/v1/runs/{id}", empty.as_object_mut().unwrap()), None);
    }
}
