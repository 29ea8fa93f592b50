//! A certificate and its key in PEM: any text, and a good pair with something written over it.

use crate::under::tls::TLS_PAIR;
use secrets::{Malformed, Name, Secret, Values};
use std::sync::{Arc, LazyLock};

const CERT: Name = Name::literal("PROXYD_TLS_CERT");
const KEY: Name = Name::literal("PROXYD_TLS_KEY");

static GOOD: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    [made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes()]
});

pub fn check(data: &[u8]) {
    let [cert, key] = &*GOOD;
    assert_eq!(read(cert, key), Some(Ok(())));
    read(data, key);
    read(cert, data);
    read(data, data);
    let [one, two, over @ ..] = data else { return };
    let at = usize::from(u16::from_be_bytes([*one, *two]));
    read(&written_over(cert, at, over), key);
    read(cert, &written_over(key, at, over));
}

fn read(cert: &[u8], key: &[u8]) -> Option<Result<(), Malformed>> {
    // What begins with a slash is a path, and this reads no files.
    if cert.starts_with(b"/") || key.starts_with(b"/") {
        return None;
    }
    let (cert, key) = (Secret::new(cert.to_vec()).ok()?, Secret::new(key.to_vec()).ok()?);
    let (cert, key) = (Arc::new(cert), Arc::new(key));
    let result = (TLS_PAIR.parse)(&Values::new([(&CERT, &cert), (&KEY, &key)])).map(drop);
    if let Err(reason) = &result {
        assert!(reason.to_string().len() < 120, "{reason}");
    }
    Some(result)
}

/// `good`, with `over` in the place of what stands from `at` on.
fn written_over(good: &[u8], at: usize, over: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = at % bytes.len();
    let end = (at + over.len()).min(bytes.len());
    bytes.splice(at..end, over.iter().copied());
    bytes
}
