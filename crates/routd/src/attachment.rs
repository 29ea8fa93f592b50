//! Names, kinds and places of files that come with messages. Pure.

use url::Url;

/// Bytes of a safe name.
const NAME_MAX: usize = 120;

/// A name that is one plain name of a directory, whatever somebody called the file.
pub(crate) fn safe_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = last.trim().chars().map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.len() <= NAME_MAX {
        return if name.is_empty() { "file".to_owned() } else { name.to_owned() };
    }
    // The end of a name says what the file is.
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if end.len() <= 16 => (stem, format!(".{end}")),
        _ => (name, String::new()),
    };
    let cut = stem.floor_char_boundary(NAME_MAX - end.len());
    format!("{}{end}", stem.get(..cut).unwrap_or_default())
}

/// Where an attachment that came with a message of an adapter is served: a path below the adapter's own address. `None`
/// where its `url` leads anywhere else, so that nobody has routd fetch from a host of their choice.
pub(crate) fn path_at(adapter: &str, url: &str) -> Option<String> {
    let base = Url::parse(adapter).ok()?;
    let plain = |c: char| !c.is_control() && c != '\\' && c != ' ';
    if !url.chars().all(plain) {
        return None;
    }
    let whole = match url.starts_with('/') {
        true => Url::parse(&format!("{}{url}", adapter.trim_end_matches('/'))).ok()?,
        false => Url::parse(url).ok()?,
    };
    let bare = whole.username().is_empty() && whole.password().is_none();
    if !bare || whole.fragment().is_some() || whole.origin() != base.origin() {
        return None;
    }
    // What leads up was taken up by now, so that what is left is where it leads.
    let below = whole.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let query = whole.query().map(|query| format!("?{query}")).unwrap_or_default();
    (below.len() > 1 && below.starts_with('/')).then(|| format!("{below}{query}"))
}

/// The media type of a file, by the end of its name. What is not known is bytes.
pub(crate) fn mime(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match end.as_deref().unwrap_or_default() {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        _ => "application/octet-stream",
    }
}

/// A file's name as `Content-Disposition: attachment` has it (RFC 6266, with the names of RFC 8187).
pub(crate) fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let byte = |byte: u8| match byte {
        b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let whole: String = name.bytes().map(byte).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{whole}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_fetched_but_from_the_adapter_itself() {
        let adapter = "http://127.0.0.1:8087";
        for (url, path) in [
            ("/files/42", Some("/files/42")),
            ("/files/a?b=c", Some("/files/a?b=c")),
            ("http://127.0.0.1:8087/files/42", Some("/files/42")),
            ("/files/../../etc/passwd", Some("/etc/passwd")),
            ("http://127.0.0.1:8088/files/42", None),
            ("https://127.0.0.1:8087/files/42", None),
            ("http://localhost:8087/files/42", None),
            ("http://169.254.169.254/latest/meta-data", None),
            ("http://127.0.0.1:8087@evil.test/files/42", None),
            ("http://u:p@127.0.0.1:8087/files/42", None),
            ("//evil.test/files/42", Some("//evil.test/files/42")),
            ("@evil.test/", None),
            ("/files\\@evil", None),
            ("/files/4 2", None),
            ("/", None),
            ("", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(path_at(adapter, url).as_deref(), path, "{url}");
        }
        let below = "http://adapters.test/teled";
        assert_eq!(path_at(below, "/files/1").as_deref(), Some("/files/1"));
        assert_eq!(
            path_at(below, "http://adapters.test/teled/files/1").as_deref(),
            Some("/files/1")
        );
        for outside in ["/../slakd/files/1", "http://adapters.test/slakd/files/1", "/%2e%2e/x"] {
            assert_eq!(path_at(below, outside), None, "{outside}");
        }
        // A whole path is appended to the address, so that a second host in it is a path there.
        assert_eq!(path_at(below, "http://adapters.test/teledx/1"), None);
    }

    #[test]
    fn a_header_has_the_name_for_old_and_new_readers() {
        assert_eq!(disposition("a.txt"), "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt");
        assert_eq!(
            disposition("Übung \"1\".pdf"),
            "attachment; filename=\"_bung__1_.pdf\"; filename*=UTF-8''%C3%9Cbung%20%221%22.pdf"
        );
        assert_eq!((mime("A.PDF"), mime("x")), ("application/pdf", "application/octet-stream"));
    }

    proptest! {
        #[test]
        fn a_safe_name_is_one_name_that_leads_nowhere(given in "(\\PC|/|\\.\\.|\\\\|\n|\u{0}){0,200}") {
            let name = safe_name(&given);
            prop_assert!((1..=NAME_MAX).contains(&name.len()), "{:?}", name);
            prop_assert!(!name.starts_with(['.', '-']), "{:?}", name);
            prop_assert!(!name.contains(['/', '\\', '\0', '\n', '"', '<', '&', ' ']), "{:?}", name);
            prop_assert_eq!(safe_name(&name), name, "it stays as it is");
            prop_assert!(http::HeaderValue::from_str(&disposition(&given)).is_ok());
        }

        #[test]
        fn whatever_an_address_says_it_leads_to_the_adapter(url in "(\\PC|/|\\.\\.|@|:|http://|//|evil\\.test|127\\.0\\.0\\.1:8087|\\?|#){0,12}") {
            let adapter = "http://127.0.0.1:8087";
            if let Some(path) = path_at(adapter, &url) {
                let whole = Url::parse(&format!("{adapter}{path}")).unwrap();
                prop_assert_eq!(whole.origin(), Url::parse(adapter).unwrap().origin());
            }
        }
    }
}
