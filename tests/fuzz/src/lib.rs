//! What must hold of every parser that reads outside input, whatever the input is.
//!
//! Each module has one `check(data)`, which panics when something does not hold, and one program in `fuzz_targets/`:
//! under `cargo fuzz` a target, and otherwise a program that runs the check on each file that it is given.
//!
//! Most of these parsers are private to their crate. Their files are modules here as they stand (`under`), so that
//! nothing is made public for the sake of a test.
#![allow(missing_docs, reason = "a tool of ours alone")]

pub mod auth_glob;
pub mod client_address;
pub mod dotenv;
pub mod edge_path;
pub mod hook_body;
pub mod key_document;
pub mod markdown;
pub mod names;
pub mod route_glob;
pub mod route_rule;
pub mod secret;
pub mod tls_pair;
pub mod token;
pub mod wire;

/// The modules of the crates that are looked at.
#[allow(dead_code, unused_imports, unreachable_pub, reason = "they are taken whole, and used in part")]
mod under;

/// Runs a check on each file that the command line names.
pub fn replay(check: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        let data = std::fs::read(&path).expect("the file can be read");
        check(&data);
        println!("{}: nothing was found", path.display());
    }
}

/// The input as text, as far as it is text.
fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// Two texts: before and after the first line break.
fn two(data: &[u8]) -> (String, String) {
    let text = text(data);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    (one.to_owned(), other.to_owned())
}
