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

impl Piece {
    fn is_star(self) -> bool {
        !matches!(self, Self::Byte(_))
    }
}

/// Whether a star takes in the other's next piece.
fn takes(star: Option<Piece>, next: Option<Piece>) -> bool {
    match (star, next) {
        (Some(Piece::Anything), Some(_)) => true,
        (Some(Piece::WithinSegment), Some(next)) => next != Piece::Byte(b'/'),
        _ => false,
    }
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

    /// Whether everything that `other` matches, this one matches too. Where that takes more than comparing the two piece
    /// by piece, the answer is no.
    pub fn covers(&self, other: &Self) -> bool {
        let theirs = other.pieces();
        // As in `matches`, with the other's pieces for the text's bytes.
        let mut fits = vec![false; theirs.len() + 1];
        if let Some(first) = fits.first_mut() {
            *first = true;
        }
        for piece in self.pieces() {
            let mut before = false;
            let mut reached = false;
            for (at, cell) in fits.iter_mut().enumerate() {
                let their = at.checked_sub(1).and_then(|at| theirs.get(at)).copied();
                let here = *cell;
                reached = match piece {
                    Piece::Byte(_) => before && their == Some(piece),
                    Piece::WithinSegment => {
                        let stays = !matches!(their, Some(Piece::Byte(b'/') | Piece::Anything));
                        here || (reached && stays)
                    }
                    Piece::Anything => here || reached,
                };
                before = here;
                *cell = reached;
            }
        }
        fits.last().copied().unwrap_or(false)
    }

    /// Whether some text may match both. Never no where there is one.
    pub fn meets(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.pieces(), other.pieces());
        let width = theirs.len() + 1;
        // `next[j]`: the rest of ours from the next piece on may meet the rest of theirs from `j` on.
        let mut next = vec![false; width];
        for i in (0..=ours.len()).rev() {
            let our = ours.get(i).copied();
            let mut row = vec![false; width];
            for j in (0..width).rev() {
                let their = theirs.get(j).copied();
                let below = next.get(j).copied().unwrap_or(false);
                let right = row.get(j + 1).copied().unwrap_or(false);
                let diagonal = next.get(j + 1).copied().unwrap_or(false);
                let meet = match (our, their) {
                    (None, None) => true,
                    (Some(Piece::Byte(a)), Some(Piece::Byte(b))) => a == b && diagonal,
                    _ => {
                        let ours_ends = our.is_some_and(Piece::is_star) && below;
                        let ours_takes = takes(our, their) && right;
                        let theirs_ends = their.is_some_and(Piece::is_star) && right;
                        let theirs_takes = takes(their, our) && below;
                        ours_ends || ours_takes || theirs_ends || theirs_takes
                    }
                };
                if let Some(cell) = row.get_mut(j) {
                    *cell = meet;
                }
            }
            next = row;
        }
        next.first().copied().unwrap_or(false)
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
