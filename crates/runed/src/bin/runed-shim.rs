//! The launcher that runed's own tests give to the process backend: it answers `shim` and `sandbox` and nothing else.
//! In the product these are words of `arizuko`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((word, rest)) if word == "shim" => runed::shim_main(rest),
        Some((word, rest)) if word == "sandbox" => runed::sandbox_main(rest),
        _ => ExitCode::from(64),
    }
}
