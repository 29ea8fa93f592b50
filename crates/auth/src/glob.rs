//! Globs over paths of folders.

use std::fmt;
use std::str::FromStr;

/// `*` stands for any text without `/`, `**` for any text at all; everything else stands for itself.
///
/// So `acme/*` is `acme/eng` and not `acme/eng/web`; `acme/**` is both, and not `acme` itself; `**` is every folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

/// The text is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no pattern: write 1 to 576 visible characters, with `*` or `**` for what may vary"
)]
pub struct GlobError {
    /// What was given.
    pub text: String,
}

/// In bytes. Matching takes time in proportion to the pattern's length times the text's.
const LONGEST: usize = 576;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    WithinSegment,
    Anything,
}

impl Glob {
    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        // `fits[n]`: the pieces so far fit the first `n` bytes. One row at a time, so no pattern can be slow.
        let text = text.as_bytes();
        let mut fits = vec![false; text.len() + 1];
        if let Some(first) = fits.first_mut() {
            *first = true;
        }
        for piece in self.pieces() {
            let mut before = false;
            let mut reached = false;
            for (at, cell) in fits.iter_mut().enumerate() {
                let byte = at.checked_sub(1).and_then(|at| text.get(at)).copied();
                let here = *cell;
                reached = match piece {
                    Piece::Byte(wanted) => before && byte == Some(wanted),
                    Piece::WithinSegment => here || (reached && byte != Some(b'/')),
                    Piece::Anything => here || reached,
                };
                before = here;
                *cell = reached;
            }
        }
        fits.last().copied().unwrap_or(false)
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            match (byte, pieces.last()) {
                (b'*', Some(Piece::WithinSegment | Piece::Anything)) => {
                    pieces.pop();
                    pieces.push(Piece::Anything);
                }
                (b'*', _) => pieces.push(Piece::WithinSegment),
                (byte, _) => pieces.push(Piece::Byte(byte)),
            }
        }
        pieces
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let visible = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if visible && !text.is_empty() && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(GlobError { text: text.to_owned() })
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
