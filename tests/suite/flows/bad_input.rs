//! What is done with bad input: one clear error, and nothing lost. `docs/bad-input.md` is the table; it is held to the
//! tests here.

mod databases;
mod disks;
mod http;
mod names;
mod secrets;
mod start;
mod wire;

use std::{fs, path::Path};

/// The functions of a source file that are tests.
fn tests_of(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            continue;
        }
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = name.and_then(|rest| rest.split('(').next())
            && is_test
        {
            found.push(name);
        }
        // Between the mark and the function there may be a comment.
        is_test &= line.is_empty() || line.starts_with("//");
    }
    found
}

#[test]
fn every_row_of_the_table_names_a_test_and_every_test_here_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = fs::read_to_string(root.join("docs/bad-input.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).collect();
    let mut named = Vec::new();
    for row in rows.iter().filter(|row| !row.starts_with("| what ") && !row.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "three cells: {row}");
        // `path` `test`, or `path` `test` `test`.
        let quoted: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        let (path, tests) = quoted.split_first().unwrap_or_else(|| panic!("no test: {row}"));
        assert!(!tests.is_empty(), "no test: {row}");
        let source = fs::read_to_string(root.join(path));
        let source = source.unwrap_or_else(|error| panic!("{path}: {error}: {row}"));
        let known = tests_of(&source);
        for test in tests {
            assert!(known.contains(test), "{path} has no test `{test}`: {row}");
            named.push((*test).to_owned());
        }
    }
    assert!(named.len() > 40, "the table is not read whole: {named:?}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/flows/bad_input");
    for file in fs::read_dir(here).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        for test in tests_of(&source) {
            assert!(named.iter().any(|name| name == test), "`{test}` has no row in the table");
        }
    }
}
