//! See `fuzz::auth_glob`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::auth_glob::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::auth_glob::check);
}
