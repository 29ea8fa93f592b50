//! Files, streamed both ways: an agent's from routd, a platform's to routd. None is ever whole in memory.

use crate::{OpenFile, Routd, Trouble};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use proto::{Jid, routd::Attachment};
use std::time::Duration;

/// How long a piece of a file may take.
const GOES_ON: Duration = Duration::from_secs(30);

/// The files that agents send, as routd has them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    routd: Routd,
}

impl Files {
    pub(crate) const fn new(routd: Routd) -> Self {
        Self { routd }
    }

    /// Opens a file that an agent sent in this chat. It ends with an error when it turns out to have more than `limit`
    /// bytes.
    ///
    /// # Errors
    /// routd does not have it any more (permanent), or cannot be asked now.
    pub async fn open(
        &self,
        file: &Attachment,
        chat: &Jid,
        limit: u64,
    ) -> Result<OpenFile, Trouble> {
        if file.size.is_some_and(|size| size > limit) {
            return Err(too_large(limit));
        }
        let path = file.url.as_deref().filter(|url| is_path(url)).ok_or_else(|| {
            Trouble::Permanent(format!("the file {} is at no path of routd's", file.filename))
        })?;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("chat_jid", chat.as_str())
            .finish();
        let fetched = self.routd.peer().fetch(&format!("{path}?{query}")).await;
        let fetched = fetched.map_err(|error| match error.status() {
            Some(404 | 410) => Trouble::Permanent(format!("the file {} is gone", file.filename)),
            _ => Trouble::Transient(kit::chain(&error)),
        })?;
        let size = fetched.length();
        if size.is_some_and(|size| size > limit) {
            return Err(too_large(limit));
        }
        let broken =
            |error| Trouble::Transient(format!("a file breaks off: {}", kit::chain(&error)));
        let content = fetched.into_pieces().map_err(broken).boxed();
        Ok(OpenFile { mime: Some(file.mime.clone()), size, content: capped(content, limit) })
    }
}

/// Whether it is one path on routd, so that nobody is led elsewhere.
fn is_path(url: &str) -> bool {
    url.starts_with("/v1/files/")
        && !url.contains("..")
        && !url.contains(|c: char| c.is_control() || c.is_whitespace() || "?#\\@".contains(c))
}

/// A stream that ends with an error instead of its byte after `limit`, and when it stands still.
pub fn capped(
    stream: BoxStream<'static, Result<Bytes, Trouble>>,
    limit: u64,
) -> BoxStream<'static, Result<Bytes, Trouble>> {
    let next = move |(mut stream, left): (BoxStream<'static, Result<Bytes, Trouble>>, u64)| async move {
        let chunk = match tokio::time::timeout(GOES_ON, stream.next()).await {
            Ok(chunk) => chunk?,
            Err(_) => Err(Trouble::Transient("the file does not go on".into())),
        };
        let counted = chunk.and_then(|chunk| {
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            let left = left.checked_sub(length).ok_or_else(|| too_large(limit))?;
            Ok((chunk, left))
        });
        match counted {
            Ok((chunk, left)) => Some((Ok(chunk), (stream, left))),
            // Nothing comes after an error.
            Err(trouble) => Some((Err(trouble), (futures::stream::empty().boxed(), 0))),
        }
    };
    futures::stream::unfold((stream, limit), next).boxed()
}

fn too_large(limit: u64) -> Trouble {
    Trouble::Permanent(format!("a file has more than the {limit} bytes that are taken here"))
}

/// A file of the platform's, as routd gets it: never something that a browser would run.
pub(crate) fn answer(file: OpenFile) -> Response {
    let mut headers = HeaderMap::new();
    let mime = file.mime.and_then(|mime| HeaderValue::from_str(&mime).ok());
    let mime = mime.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, mime);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Some(size) = file.size {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    (headers, Body::from_stream(file.content)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_routds_files_are_fetched() {
        assert!(is_path("/v1/files/abc"));
        for url in ["http://127.0.0.1/v1/files/a", "//x/v1/files/a", "/v1/files/../secrets"]
            .into_iter()
            .chain(["/v1/files/a?x=1", "/v1/files/a b", "/v1/secrets", "/v1/files/a#b"])
        {
            assert!(!is_path(url), "{url}");
        }
    }

    #[tokio::test]
    async fn a_file_ends_with_an_error_instead_of_the_byte_after_the_limit() {
        let chunks = || futures::stream::iter([Ok(Bytes::from("abc")), Ok(Bytes::from("de"))]);
        let whole: Result<Vec<Bytes>, Trouble> = capped(chunks().boxed(), 5).try_collect().await;
        assert_eq!(whole.unwrap().concat(), b"abcde");
        let mut cut = capped(chunks().boxed(), 4);
        assert_eq!(cut.next().await.unwrap().unwrap(), "abc");
        assert!(matches!(cut.next().await, Some(Err(Trouble::Permanent(_)))));
        assert!(cut.next().await.is_none());
    }
}
