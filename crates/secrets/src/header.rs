//! A credential on its way into a header.

use zeroize::Zeroizing;

/// The value of an `Authorization` header that presents `credential` as a bearer (RFC 6750,
/// section 2.1), in a buffer that is wiped. Mark the header made from it sensitive.
#[must_use]
pub fn bearer_header(credential: &[u8]) -> Zeroizing<Vec<u8>> {
    // Of the right size at once: growing would leave a copy behind.
    let mut value = Zeroizing::new(Vec::with_capacity("Bearer ".len() + credential.len()));
    value.extend_from_slice(b"Bearer ");
    value.extend_from_slice(credential);
    value
}
