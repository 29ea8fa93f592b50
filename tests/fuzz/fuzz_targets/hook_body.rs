//! See `fuzz::hook_body`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::hook_body::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::hook_body::check);
}
