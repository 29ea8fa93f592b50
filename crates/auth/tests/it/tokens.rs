//! A token's life: minted, shown, and each way to refuse it.

use std::collections::BTreeMap;

use auth::{
    Caller, Claims, Expect, Jwks, JwksError, KeyError, Kind, Principal, PublicJwk, Scopes, Signer,
    TokenError, Verifier, issuer, service_scopes,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proto::Daemon;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ROUTD: Expect<'static> = Expect { audience: "routd", kinds: &[Kind::Service] };

fn jwks(signers: &[&Signer]) -> Jwks {
    let keys = signers.iter().map(|signer| signer.public().clone()).collect();
    Jwks { keys, epochs: BTreeMap::new() }
}

fn verifier(signer: &Signer) -> Verifier {
    Verifier::new(issuer("demo"), &jwks(&[signer])).unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: issuer("demo"),
        sub: Principal::service(Daemon::Webd),
        aud: vec!["routd".to_owned()],
        typ: Kind::Service,
        scope: Scopes::from(service_scopes(Daemon::Webd)),
        iat: NOW,
        exp: NOW + 900,
        nbf: None,
        jti: "token-1".to_owned(),
        epoch: 0,
        folder: None,
        sid: None,
    }
}

/// Signs claims that [`Claims`] could not even say, with the real key.
fn sign_raw(signer: &Signer, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = signer.to_pkcs8().unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_der(key.as_ref());
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn header(signer: &Signer) -> Value {
    json!({"typ": "JWT", "alg": "ES256", "kid": signer.kid()})
}

#[test]
fn a_service_token_makes_a_caller_with_its_rights_and_no_others() {
    let signer = Signer::generate().unwrap();
    let folder = "acme/eng".parse().unwrap();
    let claims = Claims { folder: Some(folder), sid: Some("s-1".into()), ..claims() };
    let token = signer.sign(&claims).unwrap();

    let caller: Caller = verifier(&signer).verify(&token, &ROUTD, NOW).unwrap();
    assert!(caller.is_service(Daemon::Webd) && !caller.is_service(Daemon::Routd));
    assert!(caller.may("messages:write") && caller.may(auth::scopes::LINKS_RESOLVE));
    assert!(!caller.may("runs:write") && !caller.may("messages:*") && !caller.may("*:*"));
    assert!(!caller.is_operator());
    assert_eq!((caller.token_id(), caller.session()), ("token-1", Some("s-1")));
    assert_eq!((caller.subject().as_str(), caller.expires_at()), ("service:webd", NOW + 900));
    for (folder, reached) in [("acme/eng", true), ("acme/eng/web", true), ("acme/engine", false)] {
        assert_eq!(caller.reaches(&folder.parse().unwrap()), reached, "{folder}");
    }
    assert!(!caller.reaches(&"acme".parse().unwrap()));
}

#[test]
fn an_operator_holds_every_scope() {
    let signer = Signer::generate().unwrap();
    let claims = Claims {
        sub: Principal::local_operator(),
        typ: Kind::Operator,
        scope: [auth::FULL].into_iter().collect(),
        ..claims()
    };
    let token = signer.sign(&claims).unwrap();
    let expect = Expect { audience: "routd", kinds: &[Kind::Service, Kind::Operator] };
    let caller = verifier(&signer).verify(&token, &expect, NOW).unwrap();
    assert!(caller.is_operator() && auth::scopes::ALL.iter().all(|scope| caller.may(scope)));
    assert_eq!(caller.service(), None);
    // The same token where only services are good.
    assert_eq!(verifier(&signer).verify(&token, &ROUTD, NOW), Err(TokenError::Kind));
}

#[test]
fn a_token_is_good_from_its_beginning_to_its_end_and_a_little_around_it() {
    let signer = Signer::generate().unwrap();
    let verifier = verifier(&signer);
    let token = signer.sign(&claims()).unwrap();
    let at = |now| verifier.verify(&token, &ROUTD, now).map(|_| ());
    let later = signer.sign(&Claims { nbf: Some(NOW + 60), ..claims() }).unwrap();
    let earlier = signer.sign(&Claims { nbf: Some(NOW - 60), ..claims() }).unwrap();

    assert_eq!(at(NOW - 6), Err(TokenError::NotYet));
    assert_eq!(at(NOW - 5), Ok(()));
    assert_eq!(at(NOW + 904), Ok(()));
    assert_eq!(at(NOW + 905), Err(TokenError::Expired));
    assert_eq!(at(i64::MAX), Err(TokenError::Expired));
    assert_eq!(at(i64::MIN), Err(TokenError::NotYet));
    assert_eq!(verifier.verify(&later, &ROUTD, NOW + 54), Err(TokenError::NotYet));
    assert!(verifier.verify(&later, &ROUTD, NOW + 55).is_ok());
    // An earlier `nbf` does not make a token good before it was made.
    assert_eq!(verifier.verify(&earlier, &ROUTD, NOW - 30), Err(TokenError::NotYet));
}

#[test]
fn claims_that_are_missing_or_wrong_are_each_refused() {
    let signer = Signer::generate().unwrap();
    let verifier = verifier(&signer);
    let good = json!({
        "iss": "arizuko:demo", "sub": "service:webd", "aud": "routd", "typ": "service",
        "scope": "messages:write", "iat": NOW, "exp": NOW + 900, "jti": "1", "epoch": 0,
    });
    let verify = |claims: &Value| {
        verifier.verify(&sign_raw(&signer, &header(&signer), claims), &ROUTD, NOW).map(|_| ())
    };
    assert_eq!(verify(&good), Ok(()));

    for claim in ["iss", "sub", "aud", "typ", "iat", "exp", "jti"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(matches!(verify(&claims), Err(TokenError::Malformed { .. })), "no {claim}");
    }
    let wrong = [
        ("iss", json!("arizuko:other"), Some(TokenError::Issuer)),
        ("iss", json!(""), Some(TokenError::Issuer)),
        ("aud", json!("runed"), Some(TokenError::Audience)),
        ("aud", json!("routd "), Some(TokenError::Audience)),
        ("aud", json!(["runed", "webd"]), Some(TokenError::Audience)),
        ("aud", json!([]), Some(TokenError::Audience)),
        ("aud", json!(null), None),
        ("typ", json!("user"), Some(TokenError::Kind)),
        ("typ", json!("Service"), Some(TokenError::Kind)),
        ("typ", json!("secret"), Some(TokenError::Kind)),
        ("typ", json!("anonymous"), Some(TokenError::Kind)),
        ("typ", json!(""), Some(TokenError::Kind)),
        ("sub", json!("user:1"), None),
        ("sub", json!("webd"), None),
        ("sub", json!("service:*"), None),
        ("exp", json!("1900000000"), None),
        ("exp", json!(1.5e9), None),
        ("exp", json!(NOW - 900), Some(TokenError::Expired)),
        ("nbf", json!(NOW + 900), Some(TokenError::NotYet)),
        ("iat", json!(NOW + 900), Some(TokenError::NotYet)),
        ("jti", json!(""), None),
        ("scope", json!("*"), None),
        ("scope", json!(["messages:write"]), None),
        ("epoch", json!(-1), None),
        ("folder", json!("../etc"), None),
    ];
    for (claim, value, expected) in wrong {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        let refusal = verify(&claims).expect_err(claim);
        match expected {
            Some(expected) => assert_eq!(refusal, expected, "{claim} {value}"),
            None => assert!(matches!(refusal, TokenError::Malformed { .. }), "{claim} {value}"),
        }
    }
    let mut several = good;
    several["aud"] = json!(["runed", "routd"]);
    assert_eq!(verify(&several), Ok(()));
}

#[test]
fn only_es256_under_a_published_key_is_believed() {
    let signer = Signer::generate().unwrap();
    let verifier = verifier(&signer);
    let token = signer.sign(&claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (_, body) = message.split_once('.').unwrap();
    let with = |header: Value, signature: &str| {
        format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let kid = signer.kid();

    let none = with(json!({"alg": "none", "kid": kid}), "");
    let kept = with(json!({"alg": "none", "kid": kid}), signature);
    for token in [none, kept] {
        assert_eq!(verifier.verify(&token, &ROUTD, NOW), Err(TokenError::Algorithm));
    }
    // The public key, taken for a shared one: as the point, and as its coordinate's text.
    let jwk = signer.public();
    let mut point = vec![4];
    point.extend(URL_SAFE_NO_PAD.decode(&jwk.x).unwrap());
    point.extend(URL_SAFE_NO_PAD.decode(&jwk.y).unwrap());
    for shared in [point.as_slice(), jwk.x.as_bytes()] {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let key = jsonwebtoken::EncodingKey::from_secret(shared);
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert_eq!(verifier.verify(&token, &ROUTD, NOW), Err(TokenError::Algorithm));
        // And the same with a header that lies about it.
        let (_, rest) = token.split_once('.').unwrap();
        let lie = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": kid}).to_string());
        let refusal = verifier.verify(&format!("{lie}.{rest}"), &ROUTD, NOW);
        assert_eq!(refusal, Err(TokenError::Signature));
    }
    // A key in the header is not looked at.
    let own = Signer::generate().unwrap();
    let jwk = serde_json::to_value(own.public()).unwrap();
    let claims = serde_json::to_value(claims()).unwrap();
    let token = sign_raw(&own, &json!({"alg": "ES256", "kid": kid, "jwk": jwk}), &claims);
    assert_eq!(verifier.verify(&token, &ROUTD, NOW), Err(TokenError::Signature));

    let token = sign_raw(&signer, &json!({"alg": "ES256", "kid": kid, "crit": ["b64"]}), &claims);
    assert!(matches!(verifier.verify(&token, &ROUTD, NOW), Err(TokenError::Malformed { .. })));
    let token = sign_raw(&signer, &json!({"alg": "ES256"}), &claims);
    assert!(matches!(verifier.verify(&token, &ROUTD, NOW), Err(TokenError::Malformed { .. })));
}

#[test]
fn an_unknown_key_asks_for_a_newer_document_and_nothing_else_does() {
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let token = new.sign(&claims()).unwrap();
    let refusal = verifier(&old).verify(&token, &ROUTD, NOW).unwrap_err();
    assert_eq!(refusal, TokenError::UnknownKey { kid: new.kid().to_owned() });
    assert!(refusal.wants_new_keys());

    let both = Verifier::new(issuer("demo"), &jwks(&[&old, &new])).unwrap();
    assert!(both.verify(&token, &ROUTD, NOW).is_ok());
    assert!(both.verify(&old.sign(&claims()).unwrap(), &ROUTD, NOW).is_ok());

    // One key's signature under the other's name.
    let raw = serde_json::to_value(claims()).unwrap();
    let refusal = both.verify(&sign_raw(&old, &header(&new), &raw), &ROUTD, NOW).unwrap_err();
    assert_eq!(refusal, TokenError::Signature);
    assert!(!refusal.wants_new_keys());

    // A stranger's key id goes into logs as something harmless.
    let hostile = json!({"alg": "ES256", "kid": format!("a\n\u{1b}[31m{}", "x".repeat(500))});
    let Err(TokenError::UnknownKey { kid }) =
        both.verify(&sign_raw(&old, &hostile, &raw), &ROUTD, NOW)
    else {
        panic!("a key that is not there");
    };
    assert!(kid.len() <= 64 && kid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{kid}");
}

#[test]
fn a_token_that_was_touched_anywhere_is_refused() {
    let signer = Signer::generate().unwrap();
    let verifier = verifier(&signer);
    let token = signer.sign(&claims()).unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let touched = String::from_utf8(bytes).unwrap();
        assert!(verifier.verify(&touched, &ROUTD, NOW).is_err(), "byte {at}");
    }
    for cut in 0..token.len() {
        assert!(verifier.verify(&token[..cut], &ROUTD, NOW).is_err(), "cut at {cut}");
    }
    let long = format!("{token}{}", "A".repeat(9000));
    for text in ["", ".", "..", "a.b.c", "....", &format!("{token}."), &format!(" {token}"), &long]
    {
        assert!(verifier.verify(text, &ROUTD, NOW).is_err(), "{text:.20}");
    }
}

#[test]
fn an_epoch_ends_the_tokens_before_it() {
    let signer = Signer::generate().unwrap();
    let token = |epoch| signer.sign(&Claims { epoch, ..claims() }).unwrap();
    let verify = |epochs: &[(&str, u64)], token: &str| {
        let epochs = epochs.iter().map(|(subject, n)| ((*subject).to_owned(), *n)).collect();
        let document = Jwks { epochs, ..jwks(&[&signer]) };
        let verifier = Verifier::new(issuer("demo"), &document).unwrap();
        verifier.verify(token, &ROUTD, NOW).map(|_| ())
    };
    type Epochs<'a> = &'a [(&'a str, u64)];
    let cases: [(Epochs<'_>, u64, bool); 8] = [
        (&[], 0, true),
        (&[("service:webd", 1)], 0, false),
        (&[("service:webd", 1)], 1, true),
        (&[("service:webd", 1)], 2, true),
        (&[("service:routd", 1)], 0, true),
        (&[("service:*", 3)], 2, false),
        (&[("service:*", 3), ("service:webd", 1)], 2, false),
        (&[("user:*", 9), ("*", 9), ("service:web*", 9)], 0, true),
    ];
    for (epochs, epoch, good) in cases {
        let expected = if good { Ok(()) } else { Err(TokenError::Ended) };
        assert_eq!(verify(epochs, &token(epoch)), expected, "{epochs:?} {epoch}");
    }
    let document = Jwks { epochs: [("service:*".to_owned(), 3)].into(), ..jwks(&[&signer]) };
    assert_eq!(document.epoch(&Principal::service(Daemon::Webd)), 3);
}

#[test]
fn a_key_document_is_read_tolerantly_and_used_strictly() {
    let signer = Signer::generate().unwrap();
    let own = serde_json::to_value(signer.public()).unwrap();
    assert_eq!(own["kty"], "EC");
    assert!(own.get("d").is_none(), "no private part is published");
    let with = |keys: Value| {
        let document: Jwks = serde_json::from_value(json!({"keys": keys, "more": 1})).unwrap();
        Verifier::new(issuer("demo"), &document)
    };
    // Keys of a kind that this release does not know are left alone.
    let other = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "ed", "alg": "EdDSA", "use": "sig"});
    let verifier = with(json!([other, own])).unwrap();
    assert!(verifier.knows(signer.kid()) && !verifier.knows("ed"));
    assert!(verifier.verify(&signer.sign(&claims()).unwrap(), &ROUTD, NOW).is_ok());

    assert_eq!(with(json!([])).unwrap_err(), JwksError::NoKeys);
    assert_eq!(with(json!([other])).unwrap_err(), JwksError::NoKeys);
    let refused = with(json!([own, own])).unwrap_err();
    assert_eq!(refused, JwksError::SameId { kid: signer.kid().to_owned() });
    let short = PublicJwk { x: "AAAA".into(), ..signer.public().clone() };
    assert!(matches!(with(json!([short])), Err(JwksError::Broken { .. })));
    for (field, value) in [("alg", "HS256"), ("alg", ""), ("use", "enc"), ("crv", "P-384")] {
        let mut key = own.clone();
        key[field] = value.into();
        assert_eq!(with(json!([key])).unwrap_err(), JwksError::NoKeys, "{field}={value}");
    }
}

#[test]
fn claims_that_nobody_would_accept_are_not_signed() {
    let signer = Signer::generate().unwrap();
    let wrong = [
        Claims { typ: Kind::User, ..claims() },
        Claims { typ: Kind::Secret, ..claims() },
        Claims { exp: NOW, ..claims() },
        Claims { aud: Vec::new(), ..claims() },
        Claims { iss: String::new(), ..claims() },
        Claims { jti: String::new(), ..claims() },
    ];
    for claims in wrong {
        let signed = signer.sign(&claims);
        assert!(matches!(signed, Err(KeyError::Claims { .. })), "{claims:?}");
    }
}

#[test]
fn nobody_may_nothing_and_a_secret_is_no_token() {
    let nobody = Caller::anonymous();
    assert!(auth::scopes::ALL.iter().all(|scope| !nobody.may(scope)));
    assert!(nobody.service().is_none() && !nobody.is_operator());
    assert_eq!(nobody.kind(), Kind::Anonymous);

    let scopes = [auth::scopes::MESSAGES_WRITE].into_iter().collect();
    let adapter = Caller::by_secret(Principal::service(Daemon::Teled), scopes);
    assert!(adapter.may("messages:write") && !adapter.may("channels:write"));
    assert_eq!((adapter.kind(), adapter.service()), (Kind::Secret, Some(Daemon::Teled)));
}
