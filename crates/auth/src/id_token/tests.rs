use super::*;
use crate::{PublicJwk, Signer};
use jsonwebtoken::EncodingKey;
use serde_json::json;

const NOW: i64 = 1_800_000_000;
const EXPECT: ExpectId<'_> =
    ExpectId { issuer: "https://id.example", client: "arizuko", nonce: "n-1" };

/// A provider with one key.
struct Provider {
    key: EncodingKey,
    jwk: PublicJwk,
}

impl Provider {
    fn new() -> Self {
        crate::install_crypto();
        let signer = Signer::generate().unwrap();
        let key = EncodingKey::from_ec_der(signer.to_pkcs8().unwrap().as_ref());
        Self { key, jwk: signer.public().clone() }
    }

    fn keys(&self) -> ProviderKeys {
        ProviderKeys::of(&json!({ "keys": [{"kty": "unheard-of"}, self.jwk] }))
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = jsonwebtoken::Header::new(Algorithm::ES256);
        header.kid = Some(self.jwk.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

fn good() -> Value {
    json!({
        "iss": "https://id.example", "sub": "248289761001", "aud": "arizuko", "nonce": "n-1",
        "iat": NOW, "exp": NOW + 300, "email": "ada@example.org",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.into(), value),
    };
    claims
}

#[test]
fn one_claim_that_is_wrong_is_enough() {
    let provider = Provider::new();
    let verify = |claims: &Value| provider.keys().verify(&provider.sign(claims), &EXPECT, NOW);
    let token = verify(&good()).unwrap();
    assert_eq!(token.subject, "248289761001");
    assert_eq!(token.claims["email"], "ada@example.org");
    for (name, value) in [
        ("aud", json!(["arizuko"])),
        ("azp", json!("arizuko")),
        ("exp", json!(NOW - 59)),
        ("iat", json!(NOW + 60)),
    ] {
        assert!(verify(&with(name, value.clone())).is_ok(), "{name} {value}");
    }
    let malformed = IdTokenError::Malformed;
    for (name, value, expected) in [
        ("iss", json!("https://id.example/"), IdTokenError::Issuer),
        ("iss", Value::Null, IdTokenError::Issuer),
        ("aud", json!("other"), IdTokenError::Audience),
        ("aud", json!(["arizuko", "other"]), IdTokenError::Audience),
        ("aud", Value::Null, malformed("it is for nobody")),
        ("azp", json!("other"), IdTokenError::Audience),
        ("exp", json!(NOW - 60), IdTokenError::Time),
        ("iat", json!(NOW + 61), IdTokenError::Time),
        ("nbf", json!(NOW + 61), IdTokenError::Time),
        ("exp", Value::Null, malformed("it does not say when it was made and ends")),
        ("exp", json!("soon"), malformed("it does not say when it was made and ends")),
        ("nonce", json!("n-2"), IdTokenError::Nonce),
        ("nonce", Value::Null, IdTokenError::Nonce),
        ("sub", json!(""), malformed("it names nobody")),
        ("sub", json!("a\nb"), malformed("it names nobody")),
        ("sub", json!("\u{202e}x"), malformed("it names nobody")),
        ("sub", json!(7), malformed("it names nobody")),
        ("sub", json!("x".repeat(256)), malformed("it names nobody")),
    ] {
        assert_eq!(verify(&with(name, value.clone())).unwrap_err(), expected, "{name} {value}");
    }
}

#[test]
fn only_a_key_that_the_provider_publishes_for_signing_counts() {
    let (provider, stranger) = (Provider::new(), Provider::new());
    let token = provider.sign(&good());
    let refused = |keys: &ProviderKeys, token: &str| keys.verify(token, &EXPECT, NOW).unwrap_err();
    assert_eq!(refused(&stranger.keys(), &token), IdTokenError::UnknownKey);
    let mut named_alike = stranger.jwk.clone();
    named_alike.kid.clone_from(&provider.jwk.kid);
    let keys = ProviderKeys::of(&json!({ "keys": [named_alike] }));
    assert_eq!(refused(&keys, &token), IdTokenError::Signature);
    let twice = ProviderKeys::of(&json!({ "keys": [provider.jwk, named_alike] }));
    assert!(matches!(refused(&twice, &token), IdTokenError::Malformed(_)));
    let mut for_encryption = provider.jwk.clone();
    for_encryption.purpose = "enc".into();
    assert!(ProviderKeys::of(&json!({ "keys": [for_encryption] })).is_empty());

    let (_, rest) = token.split_once('.').unwrap();
    let head = |alg: &str| {
        let header = json!({ "alg": alg, "kid": provider.jwk.kid }).to_string();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    };
    for alg in ["none", "HS256", "nonsense"] {
        assert_eq!(refused(&provider.keys(), &head(alg)), IdTokenError::Algorithm, "{alg}");
    }
    assert_eq!(refused(&provider.keys(), &head("RS256")), IdTokenError::UnknownKey);
    for text in ["", "a.b.c", "....", &"x".repeat(70_000)] {
        assert!(matches!(refused(&provider.keys(), text), IdTokenError::Malformed(_)));
    }
    assert!(ProviderKeys::of(&json!({ "keys": "none" })).is_empty());
    assert!(ProviderKeys::of(&json!([])).is_empty());
}
