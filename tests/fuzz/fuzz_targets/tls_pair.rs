//! See `fuzz::tls_pair`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tls_pair::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::tls_pair::check);
}
