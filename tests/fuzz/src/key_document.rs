//! The key document that authd publishes, as another daemon reads it; and a provider's, as authd does.

use auth::{Expect, ExpectId, Jwks, Kind, ProviderKeys, Verifier};

pub fn check(data: &[u8]) {
    if let Ok(document) = serde_json::from_slice(data) {
        let keys = ProviderKeys::of(&document);
        let expect = ExpectId { issuer: "https://id.example", client: "fuzz", nonce: "n" };
        assert!(keys.verify("a.b.c", &expect, 0).is_err());
    }
    let Ok(jwks) = serde_json::from_slice::<Jwks>(data) else { return };
    let json = serde_json::to_string(&jwks).expect("it is JSON");
    assert_eq!(serde_json::from_str::<Jwks>(&json).expect("what it writes"), jwks);
    if let Ok(verifier) = Verifier::new("arizuko:fuzz", &jwks) {
        assert!(jwks.keys.iter().any(|key| verifier.knows(&key.kid)));
        let expect = Expect { audience: "routd", kinds: &[Kind::Service] };
        assert!(verifier.verify("a.b.c", &expect, 0).is_err());
    }
}
