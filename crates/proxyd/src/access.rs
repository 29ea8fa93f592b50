//! The access log: one line a request, when its answer has ended.

use crate::path;
use http::{Method, StatusCode};
use std::{error::Error, net::IpAddr};
use tokio::time::Instant;

/// A request that is being answered. Its line is written when this is dropped, so that a client
/// that goes away has one too. Holds no query, no cookie and no capability.
#[derive(Debug)]
pub struct Entry {
    began: Instant,
    method: Method,
    path: String,
    request_id: String,
    client: IpAddr,
    https: bool,
    status: StatusCode,
    bytes: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client went away before the answer's end.
    Left,
    /// The answer was sent whole.
    Whole,
    /// The daemon broke off.
    Broken,
}

impl Entry {
    /// A request that begins to be answered.
    pub fn new(method: &Method, path: &str, request_id: &str, client: IpAddr, https: bool) -> Self {
        Self {
            began: Instant::now(),
            method: method.clone(),
            path: path::masked(path),
            request_id: request_id.to_owned(),
            client,
            https,
            // What the line shows when the client leaves before there is an answer; the number is
            // nginx's.
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            bytes: 0,
            end: End::Left,
        }
    }

    /// The answer has this status.
    pub fn answers(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// So many bytes of it were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// It was sent whole.
    pub fn ended(&mut self) {
        if self.end == End::Left {
            self.end = End::Whole;
        }
    }

    /// The daemon broke off.
    pub fn broke(&mut self, fault: &dyn Error) {
        self.end = End::Broken;
        let (fault, request_id) = (kit::chain(fault), &self.request_id);
        tracing::warn!(request_id, fault, "an answer broke off");
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let end = match self.end {
            End::Left => "left",
            End::Whole => "whole",
            End::Broken => "broken",
        };
        tracing::info!(
            target: "proxyd.access",
            method = %self.method,
            path = self.path,
            status = self.status.as_u16(),
            bytes = self.bytes,
            duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id = self.request_id,
            client = %self.client,
            https = self.https,
            end,
            "request",
        );
    }
}
