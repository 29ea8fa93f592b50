//! Just enough of HTTP/1.1 to be a server that can also misbehave: one request a connection.

use serde_json::Value;
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bytes of a request that are read. routd's longest message fits.
const REQUEST_MAX: usize = 1 << 20;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// The `Idempotency-Key`, or nothing.
    pub key: String,
    /// The body.
    pub body: Value,
}

/// Reads one request.
///
/// # Errors
/// The connection broke, or what came is no request.
pub async fn read(stream: &mut TcpStream) -> io::Result<Request> {
    let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    loop {
        if let Some(request) = parse(&bytes).map_err(bad)? {
            return Ok(request);
        }
        if bytes.len() > REQUEST_MAX {
            return Err(bad("a request that is too large"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The request in `bytes`, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Request>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| "a head that is no text")?;
    let header = |name: &str| {
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or("a request without Content-Length")?;
    let Some(body) = rest.get(4..).and_then(|body| body.get(..length)) else { return Ok(None) };
    let body = serde_json::from_slice(body).map_err(|_| "a body that is no JSON")?;
    Ok(Some(Request { key: header("idempotency-key").unwrap_or_default(), body }))
}

/// Answers, and closes.
///
/// # Errors
/// The connection broke.
pub async fn answer(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &Value,
) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let whole =
            b"POST /send HTTP/1.1\r\nIdempotency-Key: o1\r\nContent-Length: 8\r\n\r\n{\"a\": 1}";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).unwrap().is_none(), "at {cut}");
        }
        let request = parse(whole).unwrap().unwrap();
        assert_eq!((request.key.as_str(), &request.body["a"]), ("o1", &Value::from(1)));
        assert!(parse(b"POST / HTTP/1.1\r\n\r\n").is_err());
    }
}
