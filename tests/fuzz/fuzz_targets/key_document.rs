//! See `fuzz::key_document`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::key_document::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::key_document::check);
}
