//! What AWS answers that is not good, told by its code. Pure. What else stands there goes no further.

/// What a refusal is about, as far as its code is one that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such secret, or no version with that label.
    NotFound,
    Denied,
    /// The secret cannot be opened or sealed under its key.
    Key,
    /// The credentials are not, or no longer, believed.
    Credentials(&'static str),
    Skewed,
    Deleted,
    Exists,
    /// The request is wrong, also because what it names is not so any more.
    Request(&'static str),
    Throttled,
    Quota,
    Elsewhere(u16),
    NotInService,
    Status(u16),
    Garbled,
}

/// Codes of every service by which credentials are refused.
const CREDENTIALS: [&str; 15] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "TokenRefreshRequired",
    "AuthFailure",
    "NotAuthorized",
];

/// Codes of every service that ask for fewer calls.
const THROTTLED: [&str; 12] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "PriorRequestNotComplete",
    "SlowDown",
];

/// What the code of an answer is about. `message` is looked at for whether a secret is deleted, which has no code of its
/// own.
pub(crate) fn refusal(code: Option<&str>, message: &str, status: u16) -> Refusal {
    if (300..400).contains(&status) {
        return Refusal::Elsewhere(status);
    }
    let code = code.unwrap_or_default();
    let known = |codes: &[&'static str]| codes.iter().find(|known| **known == code).copied();
    if let Some(code) = known(&CREDENTIALS) {
        return Refusal::Credentials(code);
    }
    if known(&THROTTLED).is_some() || status == 429 {
        return Refusal::Throttled;
    }
    match code {
        "ResourceNotFoundException" => Refusal::NotFound,
        "AccessDenied" | "AccessDeniedException" | "NotAuthorizedException" => Refusal::Denied,
        "DecryptionFailure" | "EncryptionFailure" => Refusal::Key,
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => Refusal::Skewed,
        "InvalidRequestException" if says_deleted(message) => Refusal::Deleted,
        "InvalidRequestException" => Refusal::Request("InvalidRequestException"),
        "InvalidParameterException" => Refusal::Request("InvalidParameterException"),
        "ValidationException" => Refusal::Request("ValidationException"),
        "ResourceExistsException" => Refusal::Exists,
        "LimitExceededException" => Refusal::Quota,
        "InternalServiceError" | "InternalServiceErrorException" | "InternalFailure" => {
            Refusal::Status(500)
        }
        _ => match status {
            // Not "there is no such secret": that has a code, and an address that is wrong has none.
            401 | 403 => Refusal::Denied,
            200..300 => Refusal::Garbled,
            503 => Refusal::NotInService,
            status => Refusal::Status(status),
        },
    }
}

fn says_deleted(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["marked for deletion", "marked deleted", "scheduled for deletion"]
        .iter()
        .any(|words| message.contains(words))
}

/// A code that may be shown: one of the words of AWS, and not of whoever answered in its place.
pub(crate) fn known(code: Option<&str>) -> Option<&'static str> {
    const IDENTITY: [&str; 8] = [
        "AccessDenied",
        "AccessDeniedException",
        "IDPRejectedClaim",
        "IDPCommunicationError",
        "InvalidIdentityToken",
        "MalformedPolicyDocument",
        "RegionDisabledException",
        "ValidationError",
    ];
    let code = code?;
    IDENTITY.iter().chain(&CREDENTIALS).chain(&THROTTLED).find(|known| **known == code).copied()
}

/// The code in a body of XML, which some gates of AWS answer in front of a service that speaks JSON.
pub(crate) fn code_in_xml(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.').then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_code_and_otherwise_by_its_status() {
        let gone =
            "You can't perform this operation on the secret because it was marked for deletion.";
        for (code, message, status, expected) in [
            ("ResourceNotFoundException", "", 400, Refusal::NotFound),
            ("", "", 404, Refusal::Status(404)),
            ("AccessDeniedException", "", 400, Refusal::Denied),
            ("", "", 403, Refusal::Denied),
            ("ExpiredTokenException", "", 400, Refusal::Credentials("ExpiredTokenException")),
            ("ThrottlingException", "", 400, Refusal::Throttled),
            ("", "", 429, Refusal::Throttled),
            ("InvalidRequestException", gone, 400, Refusal::Deleted),
            ("InvalidRequestException", "other", 400, Refusal::Request("InvalidRequestException")),
            ("DecryptionFailure", "", 400, Refusal::Key),
            ("Hunter2Exception", "", 400, Refusal::Status(400)),
            ("", "", 307, Refusal::Elsewhere(307)),
            ("", "", 503, Refusal::NotInService),
            ("", "", 200, Refusal::Garbled),
        ] {
            assert_eq!(refusal(Some(code), message, status), expected, "{code} {status}");
        }
    }

    #[test]
    fn a_code_is_found_in_xml_and_nothing_else_of_it() {
        let body = b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>x</Message></Error></ErrorResponse>";
        assert_eq!(code_in_xml(body), Some("InvalidClientTokenId"));
        assert_eq!(code_in_xml(b"<Code>a value</Code>"), None);
        assert_eq!(code_in_xml(b"{}"), None);
        assert_eq!(code_in_xml(b"\xff<Code>"), None);
    }
}
