//! Cuts a message into pieces that a platform takes. Pure.
//!
//! What is cut is text and not markup, so that no piece has half a tag: each is written in the platform's markup
//! afterwards, with its styles and its code blocks opened and closed. A cut is made between blocks where that will do,
//! else between lines, sentences, words, or graphemes, in that order.

use crate::rich::{Block, Blocks, Kind, Span};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// Cuts `blocks` into pieces none of which is longer than `limit`, as `length` counts.
///
/// `length` counts what the platform counts. It must not be less than the number of characters that somebody reads,
/// and must grow with them.
///
/// A grapheme that is longer than the limit by itself is cut between its characters; a link whose address does not fit
/// becomes text.
#[must_use]
pub fn split(blocks: &[Block], limit: usize, length: impl Fn(&[Block]) -> usize) -> Vec<Blocks> {
    let mut pieces = vec![Blocks::new()];
    // Copied one by one, because what does not fit comes back in halves.
    let mut left: Vec<Block> = blocks.iter().rev().cloned().collect();
    while let Some(block) = left.pop() {
        let piece = match pieces.last_mut() {
            Some(piece) => piece,
            None => return pieces,
        };
        piece.push(block);
        if length(piece) <= limit {
            continue;
        }
        let Some(block) = piece.pop() else { continue };
        let alone = length(std::slice::from_ref(&block)) <= limit;
        if alone && !piece.is_empty() {
            pieces.push(Blocks::new());
            left.push(block);
            continue;
        }
        match cut(piece, &block, limit, &length) {
            Some((front, back)) => {
                piece.push(front);
                left.push(back);
                pieces.push(Blocks::new());
            }
            // Nothing of it fits beside what is there.
            None if !piece.is_empty() => {
                pieces.push(Blocks::new());
                left.push(block);
            }
            // Its markup alone is too long: its text goes without.
            None => match unstyled(&block) {
                Some(text) => left.push(text),
                // Not one character fits: there is no shorter piece.
                None => {
                    piece.push(block);
                    pieces.push(Blocks::new());
                }
            },
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The longest front of `block` that fits behind `piece`, and the rest of it.
fn cut(
    piece: &[Block],
    block: &Block,
    limit: usize,
    length: &impl Fn(&[Block]) -> usize,
) -> Option<(Block, Block)> {
    let text = body(block);
    let mut probe = piece.to_vec();
    let mut fits = |at: usize| {
        probe.truncate(piece.len());
        probe.extend(halves(block, at).map(|(front, _)| front));
        probe.len() > piece.len() && length(&probe) <= limit
    };
    // No more than `limit` characters can fit.
    let window = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
    // A cut leaves something on both sides.
    let ends = text[..window].char_indices().map(|(at, c)| at + c.len_utf8());
    let ends: Vec<usize> = ends.filter(|at| *at < text.len()).collect();
    let count = ends.partition_point(|at| fits(*at));
    let furthest = *ends.get(count.checked_sub(1)?)?;
    let is_code = matches!(block.kind, Kind::Code { .. });
    if !piece.is_empty() && (count < limit / 4 || is_code && !text[..furthest].contains('\n')) {
        // The next piece has more room, and the words stay together.
        return None;
    }
    let at = best(&text, furthest, is_code);
    // So does a grapheme that fits there.
    (piece.is_empty() || is_boundary(&text, at)).then(|| halves(block, at)).flatten()
}

/// Where to cut, no later than `furthest`.
fn best(text: &str, furthest: usize, is_code: bool) -> usize {
    let front = &text[..furthest];
    // What follows the last character that fits may be a place to cut too.
    let next = |c: char| text[furthest..].starts_with(c) && is_clean(text, furthest);
    if next('\n') {
        return furthest;
    }
    // A piece is not to be cut short by more than half for the sake of a better place.
    let half = furthest / 2;
    let found = |at: Option<usize>| at.filter(|at| is_clean(text, *at));
    let line = found(front.rfind('\n')).filter(|at| *at > half || is_code && *at > 0);
    if let Some(line) = line {
        return line;
    }
    if next(' ') && !is_code {
        return furthest;
    }
    let ends = [". ", "! ", "? ", "; "].iter().filter_map(|end| front.rfind(end)).max();
    let sentence = found(ends.map(|at| at + 1)).filter(|at| *at > half);
    let word = found(front.rfind([' ', '\n'])).filter(|at| *at > half && !is_code);
    sentence.or(word).unwrap_or_else(|| grapheme(text, furthest))
}

/// Whether what stands at `at` is a grapheme of its own, so that it may go.
fn is_clean(text: &str, at: usize) -> bool {
    is_boundary(text, at) && is_boundary(text, at + 1)
}

fn is_boundary(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0) == Ok(true)
}

/// The last end of a grapheme at or before `furthest`; `furthest` itself where the first grapheme is longer.
fn grapheme(text: &str, furthest: usize) -> usize {
    if is_boundary(text, furthest) {
        return furthest;
    }
    let start = text[..furthest].grapheme_indices(true).next_back().map(|(at, _)| at);
    start.filter(|at| *at > 0).unwrap_or(furthest)
}

/// The text in which a block can be cut.
fn body(block: &Block) -> String {
    match &block.kind {
        Kind::Code { text, .. } => text.clone(),
        Kind::Rule => String::new(),
        _ => block.spans().unwrap_or_default().iter().map(|span| span.text.as_str()).collect(),
    }
}

/// A block as two, cut in its text before the byte `at`. The one line's end or space at the cut goes.
fn halves(block: &Block, at: usize) -> Option<(Block, Block)> {
    let rest = |kind| Block { kind, quoted: block.quoted, apart: false };
    let front = |kind| Block { kind, ..block.clone() };
    Some(match &block.kind {
        Kind::Rule => return None,
        Kind::Code { lang, text } => {
            let (before, after) = text.split_at_checked(at)?;
            let after = after.strip_prefix('\n').unwrap_or(after);
            let code = |text: &str| Kind::Code { lang: lang.clone(), text: text.to_owned() };
            (front(code(before)), rest(code(after)))
        }
        Kind::Text(spans) => {
            let (before, after) = cut_spans(spans, at);
            (front(Kind::Text(before)), rest(Kind::Text(after)))
        }
        Kind::Heading(spans) => {
            let (before, after) = cut_spans(spans, at);
            (front(Kind::Heading(before)), rest(Kind::Heading(after)))
        }
        Kind::Item { marker, depth, spans } => {
            let (before, after) = cut_spans(spans, at);
            let item = |marker: &str, spans| {
                let (marker, depth) = (marker.to_owned(), *depth);
                Kind::Item { marker, depth, spans }
            };
            (front(item(marker, before)), rest(item("", after)))
        }
    })
}

fn cut_spans(spans: &[Span], at: usize) -> (Vec<Span>, Vec<Span>) {
    let (mut before, mut after, mut seen) = (Vec::new(), Vec::new(), 0);
    for span in spans {
        let here = at.saturating_sub(seen).min(span.text.len());
        let (front, back) = span.text.split_at_checked(here).unwrap_or((&span.text, ""));
        let with = |text: &str| Span { text: text.to_owned(), style: span.style.clone() };
        before.extend((!front.is_empty()).then(|| with(front)));
        after.extend((!back.is_empty()).then(|| with(back)));
        seen += span.text.len();
    }
    if let Some(first) = after.first_mut()
        // A space that carries a mark is no place between words.
        && let Some(" " | "\n") = first.text.graphemes(true).next()
        && let Some(rest) = first.text.strip_prefix([' ', '\n'])
    {
        first.text = rest.to_owned();
    }
    after.retain(|span| !span.text.is_empty());
    (before, after)
}

/// The same text without its styles; nothing where it has none.
fn unstyled(block: &Block) -> Option<Block> {
    let is_plain = |spans: &[Span]| spans.iter().all(|span| span.style.is_plain());
    if matches!(&block.kind, Kind::Text(spans) if is_plain(spans) && !block.quoted) {
        return None;
    }
    let span = Span { text: block.text(), ..Span::default() };
    Some(Block { kind: Kind::Text(vec![span]), quoted: false, apart: block.apart })
}

#[cfg(test)]
mod tests;
