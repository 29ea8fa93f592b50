//! A token that somebody shows: whatever it is, only what was signed is believed.

use auth::{Claims, Expect, Jwks, Kind, Principal, Signer, Verifier, bearer, issuer};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::sync::LazyLock;

const NOW: i64 = 1_900_000_000;

static SIGNED: LazyLock<(Verifier, String)> = LazyLock::new(|| {
    auth::install_crypto();
    let signer = Signer::generate().expect("a key");
    let jwks = Jwks { keys: vec![signer.public().clone()], ..Jwks::default() };
    let verifier = Verifier::new(issuer("fuzz"), &jwks).expect("one key");
    let claims = Claims {
        iss: issuer("fuzz"),
        sub: Principal::service(proto::Daemon::Webd),
        aud: vec!["routd".into()],
        typ: Kind::Service,
        scope: "messages:write".parse().expect("a scope"),
        iat: NOW - 60,
        exp: NOW + 60,
        nbf: None,
        jti: "id".into(),
        epoch: 0,
        folder: None,
        sid: None,
    };
    (verifier, signer.sign(&claims).expect("a token"))
});

pub fn check(data: &[u8]) {
    let (verifier, good) = &*SIGNED;
    let text = crate::text(data);
    let expect = Expect { audience: "routd", kinds: &[Kind::Service, Kind::Operator, Kind::User] };
    assert!(verifier.verify(good, &expect, NOW).is_ok());
    let refused = |token: &str| {
        if token == good {
            return;
        }
        let error = verifier.verify(token, &expect, NOW).expect_err("nobody signed this");
        assert!(error.to_string().len() < 200, "{error}");
    };
    refused(&text);
    if let Some(credential) = bearer(data) {
        refused(credential);
    }
    // As one of the three parts, as it is and encoded, beside the right others.
    let parts: Vec<&str> = good.split('.').collect();
    let encoded = URL_SAFE_NO_PAD.encode(data);
    for part in [text.as_str(), encoded.as_str()] {
        refused(&format!("{part}.{}.{}", parts[1], parts[2]));
        refused(&format!("{}.{part}.{}", parts[0], parts[2]));
        refused(&format!("{}.{}.{part}", parts[0], parts[1]));
        refused(&format!("{good}{part}."));
    }
}
