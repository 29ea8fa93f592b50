//! Whatever somebody shows as a token: only what was signed is believed.

use auth::{
    Claims, Expect, Jwks, Kind, Principal, Scope, Scopes, Signer, Verifier, bearer, issuer,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use std::sync::LazyLock;

const NOW: i64 = 1_900_000_000;
const EXPECT: Expect<'static> =
    Expect { audience: "routd", kinds: &[Kind::Service, Kind::Operator, Kind::User] };

static SIGNED: LazyLock<(Verifier, String)> = LazyLock::new(|| {
    auth::install_crypto();
    let signer = Signer::generate().unwrap();
    let jwks = Jwks { keys: vec![signer.public().clone()], ..Jwks::default() };
    let verifier = Verifier::new(issuer("test"), &jwks).unwrap();
    let claims = Claims {
        iss: issuer("test"),
        sub: Principal::service(proto::Daemon::Webd),
        aud: vec!["routd".into()],
        typ: Kind::Service,
        scope: "messages:write".parse().unwrap(),
        iat: NOW - 60,
        exp: NOW + 60,
        nbf: None,
        jti: "id".into(),
        epoch: 0,
        folder: None,
        sid: None,
    };
    let token = signer.sign(&claims).unwrap();
    (verifier, token)
});

fn is_refused(token: &str) -> bool {
    let (verifier, good) = &*SIGNED;
    token == good || verifier.verify(token, &EXPECT, NOW).is_err()
}

proptest! {
    #[test]
    fn nothing_but_what_was_signed_is_believed(text in any::<String>(), like in "[a-zA-Z0-9_.=-]{0,80}") {
        let (verifier, good) = &*SIGNED;
        prop_assert!(verifier.verify(good, &EXPECT, NOW).is_ok());
        let parts: Vec<&str> = good.split('.').collect();
        for part in [text.clone(), like, URL_SAFE_NO_PAD.encode(&text)] {
            let shown = [
                part.clone(),
                format!("{part}.{}.{}", parts[1], parts[2]),
                format!("{}.{part}.{}", parts[0], parts[2]),
                format!("{}.{}.{part}", parts[0], parts[1]),
                format!("{good}.{part}"),
            ];
            prop_assert!(shown.iter().all(|token| is_refused(token)), "{:?}", shown);
        }
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(at in any::<proptest::sample::Index>(), to in "[a-zA-Z0-9_.-]") {
        let good = &SIGNED.1;
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &to);
        // The last character of a part has bits that base64 does not use: they must be zero.
        prop_assert!(is_refused(&changed), "{} at {}", to, at);
    }

    #[test]
    fn no_header_makes_a_credential_that_is_none(header in proptest::collection::vec(any::<u8>(), 0..60)) {
        let header = [b"Bearer ".as_slice(), &header].concat();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if let Some(credential) = bearer(&header) {
            prop_assert!(!credential.is_empty() && credential.bytes().all(allowed));
        }
    }

    #[test]
    fn a_key_document_is_used_or_refused(
        kty in "(EC|RSA|)", crv in "(P-256|P-384)", x in "[A-Za-z0-9_=-]{0,48}", kid in "\\PC{0,8}"
    ) {
        let key = serde_json::json!({
            "kty": kty, "crv": crv, "x": x, "y": x, "kid": kid, "alg": "ES256", "use": "sig",
        });
        let jwks: Jwks = serde_json::from_value(serde_json::json!({ "keys": [key] })).unwrap();
        if let Ok(verifier) = Verifier::new("arizuko:test", &jwks) {
            prop_assert!(verifier.verify("a.b.c", &EXPECT, NOW).is_err());
        }
    }

    #[test]
    fn a_providers_key_document_is_used_or_left_out_and_nobody_signs_with_it(
        kty in "(EC|RSA|OKP|oct|)", crv in "(P-256|P-384|Ed25519)", x in "[A-Za-z0-9_=-]{0,48}",
        alg in "(ES256|RS256|HS256|none)", body in any::<String>(),
    ) {
        let key = serde_json::json!({
            "kty": kty, "crv": crv, "x": x, "y": x, "n": x, "e": "AQAB", "k": x, "kid": "k",
        });
        let keys = auth::ProviderKeys::of(&serde_json::json!({ "keys": [key, body] }));
        let expect = auth::ExpectId { issuer: "https://id.example", client: "c", nonce: "n" };
        let header = serde_json::json!({ "alg": alg, "kid": "k" }).to_string();
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.{}", encoded(&header), encoded(&body), encoded(&x));
        prop_assert!(keys.verify(&token, &expect, NOW).is_err());
    }

    #[test]
    fn scopes_are_written_as_they_are_read(text in "([a-z]{1,4}|:|\\*| ){0,12}") {
        if let Ok(scopes) = text.parse::<Scopes>() {
            let written = scopes.to_string();
            prop_assert_eq!(written.parse::<Scopes>().unwrap().to_string(), written);
        }
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.as_str(), text);
        }
    }
}
