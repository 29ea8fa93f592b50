//! Lines of a stream, each of a bounded length.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line. The CLI writes the answers of its tools, pictures among them, as one line each.
const LONGEST: usize = 32 << 20;

/// Reads lines. A line that is too long is left out.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    skipping: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn of(from: R) -> Self {
        Self { from, line: Vec::new(), skipping: false }
    }

    /// The next line, without its end; `None` at the end of the stream. Whoever drops this future loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let piece = self.from.fill_buf().await?;
            if piece.is_empty() {
                let rest = std::mem::take(&mut self.line);
                return Ok((!rest.is_empty() && !self.skipping).then_some(rest));
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
            if self.line.len() + part.len() > LONGEST {
                self.skipping = true;
                self.line.clear();
            }
            if !self.skipping {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(piece.len(), |end| end + 1);
            self.from.consume(used);
            if end.is_some() {
                let skipped = std::mem::take(&mut self.skipping);
                let line = std::mem::take(&mut self.line);
                if !skipped {
                    return Ok(Some(line));
                }
            }
        }
    }
}
