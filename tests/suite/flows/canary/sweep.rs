//! The search for pieces of secrets: pure. What is found is told by where it is, never by what it says.

use aho_corasick::AhoCorasick;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};
use std::{collections::HashMap, fmt};

/// Bytes of the shortest piece that counts.
pub(super) const PIECE: usize = 12;

/// Bytes that may lie between two hits of one copy: what a piece takes in the longest of the forms.
const ONE_COPY: usize = 64;

/// What a URL may hold as it is, beside letters and digits (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What even a sparing writer encodes.
const SPARING: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A secret that is nowhere else: its name, for people, and its bytes.
#[derive(Clone, Debug)]
pub(in crate::flows) struct Canary {
    pub(in crate::flows) name: String,
    pub(in crate::flows) bytes: Vec<u8>,
}

/// How a piece is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::flows) enum Form {
    Plain,
    /// Last byte first, as libraries hold large numbers.
    Reversed,
    Hex,
    Base64,
    Url,
    /// With `\"` and `\\`, as in JSON and in Rust's `Debug`.
    Escaped,
    /// Numbers with commas, as `Debug` shows a vector.
    Numbers,
}

/// One piece, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flows) struct Found {
    /// The name of the canary.
    pub(super) name: String,
    /// Which of its bytes the first hit begins with.
    pub(super) piece: usize,
    /// How it is written.
    pub(super) form: Form,
    /// Where in what was searched.
    pub(super) offset: usize,
    /// How many windows of [`PIECE`] bytes are there in a row: one for a bare piece.
    pub(super) windows: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.windows - 1 + PIECE;
        let Self { name, piece, form, offset, .. } = self;
        write!(f, "{bytes} bytes of {name} from its byte {piece} ({form:?}) at byte {offset}")
    }
}

struct Needle {
    canary: usize,
    piece: usize,
    form: Form,
}

/// A search for every piece of some canaries, in every form.
pub(in crate::flows) struct Sweep {
    names: Vec<String>,
    needles: Vec<Needle>,
    search: AhoCorasick,
}

impl Sweep {
    /// A search for these.
    pub(in crate::flows) fn new(canaries: &[Canary]) -> Self {
        let mut texts: HashMap<Vec<u8>, Needle> = HashMap::new();
        for (canary, Canary { name, bytes }) in canaries.iter().enumerate() {
            assert!(bytes.len() >= PIECE, "{name} is too short to be looked for");
            for (piece, window) in bytes.windows(PIECE).enumerate() {
                for (form, text) in forms(window) {
                    texts.entry(text).or_insert(Needle { canary, piece, form });
                }
            }
        }
        let (texts, needles): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
        let search = AhoCorasick::new(&texts).unwrap();
        Self { names: canaries.iter().map(|canary| canary.name.clone()).collect(), needles, search }
    }

    /// Every copy of a piece, in the order of their places. Pieces that lie beside each other are
    /// one copy.
    pub(in crate::flows) fn copies(&self, bytes: &[u8]) -> Vec<Found> {
        let mut copies: Vec<Found> = Vec::new();
        // Where the last hit of each canary in each form was, and which copy it belongs to.
        let mut last: HashMap<(usize, Form), (usize, usize)> = HashMap::new();
        for hit in self.search.find_overlapping_iter(bytes) {
            let Needle { canary, piece, form } = self.needles[hit.pattern().as_usize()];
            match last.get_mut(&(canary, form)) {
                Some((at, copy)) if hit.start() - *at <= ONE_COPY => {
                    copies[*copy].windows += usize::from(hit.start() > *at);
                    *at = hit.start();
                }
                _ => {
                    last.insert((canary, form), (hit.start(), copies.len()));
                    let (name, offset) = (self.names[canary].clone(), hit.start());
                    copies.push(Found { name, piece, form, offset, windows: 1 });
                }
            }
        }
        copies
    }
}

/// A piece, in every form.
fn forms(piece: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![
        (Form::Plain, piece.to_vec()),
        (Form::Reversed, piece.iter().rev().copied().collect()),
        (Form::Hex, hex::encode(piece).into_bytes()),
        (Form::Hex, hex::encode_upper(piece).into_bytes()),
        (Form::Escaped, escaped(piece)),
    ];
    for separator in [", ", ","] {
        let numbers: Vec<_> = piece.iter().map(u8::to_string).collect();
        forms.push((Form::Numbers, numbers.join(separator).into_bytes()));
    }
    for before in 0..3 {
        forms.push((Form::Base64, base64(&STANDARD_NO_PAD, piece, before)));
        forms.push((Form::Base64, base64(&URL_SAFE_NO_PAD, piece, before)));
    }
    let every_byte: String = piece.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut urls = vec![every_byte];
    for set in [NON_ALPHANUMERIC, RESERVED, SPARING] {
        let url = percent_encode(piece, set).to_string();
        urls.push(url.replace("%20", "+"));
        urls.push(url);
    }
    for url in urls {
        forms.push((Form::Url, lowered(&url)));
        forms.push((Form::Url, url.into_bytes()));
    }
    forms
}

/// The characters that say nothing but the piece, where `before` bytes come before it in a group of three.
fn base64(engine: &impl Engine, piece: &[u8], before: usize) -> Vec<u8> {
    let text = engine.encode([&[0; 3][..before], piece].concat());
    let (first, end) = ((8 * before).div_ceil(6), 8 * (before + piece.len()) / 6);
    text.as_bytes()[first..end].to_vec()
}

fn escaped(piece: &[u8]) -> Vec<u8> {
    let each = piece.iter().flat_map(|byte| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    each.collect()
}

/// The same URL encoding with lowercase digits; everything else as it is.
fn lowered(url: &str) -> Vec<u8> {
    let mut digits = 0;
    let each = url.bytes().map(|byte| {
        let lowered = if digits > 0 { byte.to_ascii_lowercase() } else { byte };
        digits = if byte == b'%' { 2 } else { digits.max(1) - 1 };
        lowered
    });
    each.collect()
}

#[test]
fn a_piece_is_found_in_every_form_and_at_every_place() {
    let secret = br#"k9+/=Zx~Qw3"r\T Yu&IoP%Lm-Nb_v.C"#;
    assert_eq!(secret.len(), 32);
    let sweep = Sweep::new(&[Canary { name: "IT".into(), bytes: secret.to_vec() }]);
    let url = |set: &'static AsciiSet, piece: &[u8]| percent_encode(piece, set).to_string();
    for piece in secret.windows(PIECE) {
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "1", "12", "123"] {
                let around = [before.as_bytes(), piece, after.as_bytes()].concat();
                let text = String::from_utf8(around.clone()).unwrap();
                let planted = [
                    text.clone(),
                    hex::encode(&around),
                    hex::encode_upper(&around),
                    STANDARD_NO_PAD.encode(&around),
                    URL_SAFE_NO_PAD.encode(&around),
                    url(NON_ALPHANUMERIC, &around),
                    url(RESERVED, &around),
                    url(RESERVED, &around).replace("%20", "+"),
                    String::from_utf8(lowered(&url(NON_ALPHANUMERIC, &around))).unwrap(),
                    serde_json::to_string(&text).unwrap(),
                    format!("{text:?}"),
                    format!("{around:?}"),
                    serde_json::to_string(&around).unwrap(),
                ];
                for (index, planted) in planted.iter().enumerate() {
                    let found = sweep.copies(planted.as_bytes());
                    assert!(!found.is_empty(), "form {index}: {planted}");
                    for found in found {
                        assert!(!found.to_string().contains(&text), "it is shown: {found}");
                    }
                }
                let eleven = &around[before.len()..around.len() - after.len() - 1];
                assert_eq!(sweep.copies(eleven), [], "a shorter piece is none");
            }
        }
    }
    assert_eq!(sweep.copies(&b"nothing of it is in here ".repeat(1000)), []);
}

#[test]
fn copies_are_counted_and_said_where_they_are() {
    let canary = |fill: u8| (0..32).map(|at| fill ^ (at * 7)).collect::<Vec<u8>>();
    let (one, other) = (canary(0x41), canary(0xC2));
    let name = |name: &str, bytes: &Vec<u8>| Canary { name: name.into(), bytes: bytes.clone() };
    let sweep = Sweep::new(&[name("ONE", &one), name("OTHER", &other)]);
    let gap = vec![0; 100];
    let reversed: Vec<u8> = other.iter().rev().copied().collect();
    let memory: [&[u8]; 8] = [&gap, &one, &gap, &other[20..], &gap, &one, &reversed, &gap];
    let said: Vec<String> =
        sweep.copies(&memory.concat()).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "32 bytes of ONE from its byte 0 (Plain) at byte 100",
            "12 bytes of OTHER from its byte 20 (Plain) at byte 232",
            "32 bytes of ONE from its byte 0 (Plain) at byte 344",
            "32 bytes of OTHER from its byte 20 (Reversed) at byte 376",
        ]
    );
}
