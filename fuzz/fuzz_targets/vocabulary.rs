#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gust_fuzz::run("vocabulary", data));
