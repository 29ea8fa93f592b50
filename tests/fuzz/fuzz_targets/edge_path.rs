//! See `fuzz::edge_path`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::edge_path::check(data));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::edge_path::check);
}
