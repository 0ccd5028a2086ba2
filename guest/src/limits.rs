//! The limits that `wit/engine.wit` states, in one place. A test reads them out of its text.

/// Texts that end an answer.
pub(crate) const MAX_STOPS: usize = 64;
/// Tokens whose log-probabilities are reported with each token.
pub(crate) const MAX_LOGPROBS: u32 = 1024;
/// Tokens proposed at a time, by lookup and by a draft model.
pub(crate) const MAX_PROPOSED: u32 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_states_these_limits() {
        let contract = include_str!("../../wit/engine.wit");
        let field = |name: &str| {
            let (before, _) = contract
                .split_once(&format!("        {name}: option<"))
                .unwrap();
            // Its documentation: the lines from the end of the field before it.
            before.rsplit(">,\n").next().unwrap().to_owned()
        };
        for (name, stated) in [
            ("stop", format!("At most {MAX_STOPS}, none empty")),
            (
                "logprobs",
                format!("(0 to {},{:03})", MAX_LOGPROBS / 1000, MAX_LOGPROBS % 1000),
            ),
            ("lookup", format!("(0 to {MAX_PROPOSED}; 0 is off)")),
        ] {
            let text = field(name).replace("\n        ///", "");
            assert!(
                text.contains(&stated),
                "{name}: expected `{stated}` in {text}"
            );
        }
    }
}
