//! Documents that are made by the program are what it makes.

use crate::harness::Suite;
use std::{fs, path::Path};

#[test]
fn the_reference_of_settings_is_the_programs_own() {
    let made = Suite::new().ok(&["settings", "--markdown"]);
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/reference/settings.md");
    let written = fs::read_to_string(&path).unwrap();
    let hint = "make it anew with `arizuko settings --markdown > docs/reference/settings.md`";
    assert_eq!(written.trim(), made.trim(), "{hint}");
}
