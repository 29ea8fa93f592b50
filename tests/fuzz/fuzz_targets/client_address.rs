//! See `fuzz::client_address`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::client_address::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::client_address::check);
}
