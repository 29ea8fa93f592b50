use super::*;
use proptest::prelude::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    let entries = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    entries.into_iter().map(|entry| (entry.name, entry.value.to_string())).collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(pairs(text), expected, "{text:?}");
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(parse(text).unwrap_err().to_string(), message, "{text:?}");
}

#[test]
fn plain_values() {
    check("", &[]);
    check("A=1", &[("A", "1")]);
    check("A=1\nB=2\n", &[("A", "1"), ("B", "2")]);
    check("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]);
    check("\u{feff}A=1\n", &[("A", "1")]);
    check("  A = 1  \n", &[("A", "1")]);
    check(
        "export A=1\nexport\tB=2\nexporter=3\nexport=4",
        &[("A", "1"), ("B", "2"), ("exporter", "3"), ("export", "4")],
    );
    check("A=\nB= \n", &[("A", ""), ("B", "")]);
    check("A=b=c==\n", &[("A", "b=c==")]);
    check("A=it's \"so\"\n", &[("A", "it's \"so\"")]);
}

#[test]
fn comments() {
    check(
        "# A=1\n\n   # x\nB=2 # y\nC=a#b\nD=#c\nE= # d\n",
        &[("B", "2"), ("C", "a#b"), ("D", "#c"), ("E", "")],
    );
}

#[test]
fn quoted_values() {
    check(r#"A="a b"  # c"#, &[("A", "a b")]);
    check(r"A='a \n $B'", &[("A", r"a \n $B")]);
    check(r#"A="l1\nl2\t\\ \" \$""#, &[("A", "l1\nl2\t\\ \" $")]);
    check(
        "A=\"-----BEGIN\nx # y\n-----END\n\"\nB=1",
        &[("A", "-----BEGIN\nx # y\n-----END\n"), ("B", "1")],
    );
    check("A=\"1\r\n2\"\r\nB=1\r\n", &[("A", "1\n2"), ("B", "1")]);
    check("A=\"\"\nB=''", &[("A", ""), ("B", "")]);
    check("A=\"#\"", &[("A", "#")]);
}

/// With as much room for each value as the file is long, this would be a hundred gigabytes.
#[test]
fn a_file_of_many_quoted_values_takes_no_more_room_than_they_need() {
    let text: String = (0..200_000).map(|n| format!("N{n}='v'\n")).collect();
    let entries = parse(&text).unwrap();
    assert_eq!(entries.len(), 200_000);
    let room: usize = entries.iter().map(|entry| entry.value.capacity()).sum();
    assert!(room < 16 * text.len(), "{room} bytes");
}

#[test]
fn what_cannot_be_understood_is_refused_by_line_and_without_the_value() {
    refused("A=1\nnonsense\n", "line 2: expected NAME=value");
    refused("A=1\n=2\n", "line 2: the name before the = is not one; use letters, digits and _");
    refused("1A=2", "line 1: the name before the = is not one; use letters, digits and _");
    refused("A B=2", "line 1: the name before the = is not one; use letters, digits and _");
    refused("A=1\n\nB=2\nA=3\n", "lines 1 and 4 both set A; remove one");
    refused("B=\"x\n\ny\"\nA=1\nA=1", "lines 4 and 5 both set A; remove one");
    refused("A=\"1\nB=2\n", "line 1: the \" that begins the value of A has no end");
    refused("A='1\nB='2'\n", "line 1: the ' that begins the value of A has no end");
    refused("A=\"1\\", "line 1: the \" that begins the value of A has no end");
    refused("A=\"1\"2", "line 1: there is text after the closing quote of A");
    refused("A=\"1\n\" 2", "line 2: there is text after the closing quote of A");
    let escape = "line 2: the value of A has a \\ before something other than n r t \\ \" $; write \\\\ for a \\, or use single quotes";
    refused("A=\"\n\\x\"", escape);
}

#[test]
fn writing_keeps_everything_else() {
    let text = "# head\nA=1 # one\n\nexport B=\"2\n2\"\r\n# tail\nC=3";
    assert_eq!(
        *set(text, "A", "x y").unwrap(),
        "# head\nA=\"x y\"\r\n\nexport B=\"2\n2\"\r\n# tail\nC=3"
    );
    let text = text.replace('\r', "");
    let set = |name, value| set(&text, name, value).unwrap().to_string();
    assert_eq!(set("A", "9"), "# head\nA=9\n\nexport B=\"2\n2\"\n# tail\nC=3");
    assert_eq!(set("B", "9"), "# head\nA=1 # one\n\nexport B=9\n# tail\nC=3");
    assert_eq!(set("C", "9"), "# head\nA=1 # one\n\nexport B=\"2\n2\"\n# tail\nC=9\n");
    assert_eq!(set("D", "9"), "# head\nA=1 # one\n\nexport B=\"2\n2\"\n# tail\nC=3\nD=9\n");
    let unset = |name| unset(&text, name).unwrap().to_string();
    assert_eq!(unset("B"), "# head\nA=1 # one\n\n# tail\nC=3");
    assert_eq!(unset("Z"), text);
    assert!(super::set("A=1\nA=2\n", "B", "3").is_err(), "what cannot be read is not written");
}

fn name() -> impl Strategy<Value = String> {
    "[A-Z_][A-Z0-9_]{0,8}"
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in any::<String>()) {
        // Whether it parses is no matter here.
        parse(&text).ok();
    }

    #[test]
    fn nothing_like_a_file_makes_it_panic(text in "([A-B ]{0,2}[=#'\"\\\\\r\nx$]{0,3}){0,12}") {
        if let Ok(entries) = parse(&text) {
            for entry in entries {
                prop_assert!(text.is_char_boundary(entry.span.start));
                prop_assert!(text.is_char_boundary(entry.span.end));
                prop_assert!(text[entry.span].contains(&entry.name));
            }
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_moves(
        base in proptest::collection::btree_map(name(), any::<String>(), 0..5),
        target in name(),
        value in any::<String>(),
    ) {
        let mut text = Zeroizing::new("# head\n".to_owned());
        for (name, value) in &base {
            text = set(&text, name, value).unwrap();
        }
        let expected: Vec<_> = base.clone().into_iter().collect();
        let mut read = pairs(&text);
        read.sort();
        prop_assert_eq!(&read, &expected);

        let changed = set(&text, &target, &value).unwrap();
        let mut with = base.clone();
        with.insert(target.clone(), value);
        let mut read = pairs(&changed);
        read.sort();
        prop_assert_eq!(read, with.into_iter().collect::<Vec<_>>());
        prop_assert!(changed.starts_with("# head\n"));

        let mut without = base;
        without.remove(&target);
        let mut read = pairs(&unset(&changed, &target).unwrap());
        read.sort();
        prop_assert_eq!(read, without.into_iter().collect::<Vec<_>>());
    }
}
