//! What the fuzzer has found, and what it reached most of the code with: each input in `fuzz/corpus` again.

#[path = "../fuzz/src/targets/mod.rs"]
#[allow(unreachable_pub, reason = "the fuzzer has these files too")]
mod targets;

use crate::helpers::workspace;

#[test]
fn what_the_fuzzer_has_found_does_no_harm() {
    let mut count = 0;
    for (name, target) in targets::ALL {
        let folder = workspace().join("fuzz/corpus").join(name);
        let inputs = std::fs::read_dir(&folder);
        let inputs = inputs.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for input in inputs {
            let path = input.expect("a readable folder").path();
            let bytes = std::fs::read(&path).expect("a readable file");
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 10 * targets::ALL.len(), "{count} inputs");
}
