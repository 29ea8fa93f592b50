//! The `Authorization` header.

/// The credential in an `Authorization` header's value, where the scheme is `Bearer` (RFC 6750, section 2.1).
///
/// None for another scheme, an empty credential, or one with characters that RFC 6750 does not allow.
pub fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, credential) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let credential = credential.trim_matches(' ');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let good = scheme.eq_ignore_ascii_case("bearer")
        && !credential.is_empty()
        && credential.bytes().all(allowed);
    good.then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn only_a_bearer_credential_is_found() {
        let cases: [(&[u8], Option<&str>); 10] = [
            (b"Bearer abc.def-_~+/=", Some("abc.def-_~+/=")),
            (b"bearer abc", Some("abc")),
            (b"BEARER   abc ", Some("abc")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Basic abc", None),
            (b"Bearer a b", None),
            (b"Bearer a\"b", None),
            (b"Bearerabc", None),
            (b"Bearer \xff", None),
        ];
        for (header, expected) in cases {
            assert_eq!(bearer(header), expected, "{}", String::from_utf8_lossy(header));
        }
    }
}
