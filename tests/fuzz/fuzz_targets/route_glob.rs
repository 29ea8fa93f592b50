//! See `fuzz::route_glob`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::route_glob::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::route_glob::check);
}
