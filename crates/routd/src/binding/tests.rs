use super::*;
use proptest::prelude::*;

fn bound() -> Binding {
    Binding::parse("https://api.example.com/repos/", None).unwrap()
}

#[test]
fn a_secret_goes_where_it_is_bound_to_and_nowhere_else() {
    for url in [
        "https://api.example.com/repos",
        "https://api.example.com/repos/",
        "https://API.example.com:443/repos/a/b?page=2#x",
        "https://api.example.com/repos/../repos/a",
    ] {
        assert!(bound().admit(url).is_ok(), "{url}");
    }
    for url in [
        "http://api.example.com/repos/a",
        "http://api.example.com:443/repos/a",
        "https://api.example.com:8443/repos/a",
        "https://api.example.com/reposx",
        "https://api.example.com/",
        "https://api.example.com/repos/../user",
        "https://api.example.com/repos/%2e%2e/user",
        "https://api.example.com/repos/..%2fuser",
        "https://api.example.com/repos/.%2e.%2e/user",
        "https://api.example.com/repos\\..\\user",
        "https://api.example.com/repos//x",
        "https://api.example.com.evil.test/repos/a",
        "https://evil.test/https://api.example.com/repos/",
        "https://api.example.com@evil.test/repos/",
        "https://user:pw@api.example.com/repos/",
        "https://evil.test\\@api.example.com/repos/",
        "//api.example.com/repos/",
        "file:///etc/passwd",
        "",
    ] {
        assert!(bound().admit(url).is_err(), "{url}");
    }
}

#[test]
fn a_header_has_one_place_for_the_secret() {
    for (given, name, around) in [
        (None, "authorization", ("Bearer ", "")),
        (Some("X-Api-Key: {}"), "x-api-key", ("", "")),
        (Some("Authorization: token {}"), "authorization", ("token ", "")),
        (Some("Cookie: sid={}; a=b"), "cookie", ("sid=", "; a=b")),
    ] {
        let binding = Binding::parse("https://a.example/", given).unwrap();
        assert_eq!((binding.header(), binding.around()), (name, around));
        assert_eq!(Binding::parse("https://a.example/", Some(&binding.template())), Ok(binding));
    }
    for bad in [
        "",
        "X-Api-Key",
        "X: y",
        "Host: {}",
        "Content-Length: {}",
        "A b: {}",
        "X: {}{}",
        "X: a\n{}",
    ] {
        let refused = Binding::parse("https://a.example/", Some(bad));
        assert_eq!(refused, Err(BindingError::Header), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_admitted_begins_with_the_binding(url in "(https?://)?(api\\.example\\.com)?[a-z@:/.%?#\\\\]{0,30}") {
        if let Ok(url) = bound().admit(&url) {
            let text = url.as_str();
            let below = text.starts_with("https://api.example.com/repos/");
            let at = ["", "?", "#"].iter().any(|end| text.starts_with(&format!("https://api.example.com/repos{end}")));
            prop_assert!(below || at, "{}", text);
            prop_assert!(!text.contains("/.."));
        }
    }
}
