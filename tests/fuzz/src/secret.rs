//! What may be the value of a secret, and what follows it in a file.

use secrets::{SECRET_BYTES_MAX, Secret, bearer_header, files::drop_newline};

pub fn check(data: &[u8]) {
    let mut bytes = data.to_vec();
    drop_newline(&mut bytes);
    assert!(data.len() - bytes.len() <= 2 && data.starts_with(&bytes));
    let may_be = !bytes.is_empty() && bytes.len() <= SECRET_BYTES_MAX && !bytes.contains(&0);
    match Secret::new(bytes.clone()) {
        Ok(secret) => {
            assert!(may_be);
            assert_eq!(secret.expose(), bytes);
            assert_eq!(secret.text().is_ok(), std::str::from_utf8(&bytes).is_ok());
            assert!(secret.matches(&bytes) && !secret.matches(&[]));
            assert_eq!(format!("{secret:?}"), "Secret(..)");
        }
        Err(reason) => {
            assert!(!may_be);
            assert!(reason.to_string().len() < 64, "{reason}");
        }
    }
    let header = bearer_header(&bytes);
    match auth::bearer(&header) {
        Some(credential) => assert_eq!(credential.as_bytes(), bytes.trim_ascii_matches()),
        None => assert!(bytes.is_empty() || bytes.iter().any(|byte| !is_credential(*byte))),
    }
    let _any_header_is_read = auth::bearer(data);
}

fn is_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

trait Trim {
    fn trim_ascii_matches(&self) -> &[u8];
}

impl Trim for Vec<u8> {
    /// Without the spaces around it.
    fn trim_ascii_matches(&self) -> &[u8] {
        let begin = self.iter().position(|byte| *byte != b' ').unwrap_or(self.len());
        let end = self.iter().rposition(|byte| *byte != b' ').map_or(begin, |at| at + 1);
        &self[begin..end]
    }
}
