//! `docs/CVES.md` claims nothing without a test.

use crate::helpers::workspace;

#[test]
fn each_row_names_a_test_that_exists() {
    let path = workspace().join("docs/CVES.md");
    let table = std::fs::read_to_string(path).expect("it is in the repository");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| fault ");
    let mut count = 0;
    for row in table.lines().filter(is_row) {
        let held_by = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let mut names = held_by.split('`').skip(1).step_by(2);
        let (Some(file), Some(test)) = (names.next(), names.next()) else {
            panic!("expected a file and a test: {row}")
        };
        let source = std::fs::read_to_string(workspace().join(file));
        let source = source.unwrap_or_else(|error| panic!("{file}: {error}: {row}"));
        // Attributes may stand between the two lines.
        let found = source.split("#[test]\n").skip(1).any(|after| {
            let lines = after.lines().map(str::trim_start);
            let mut lines = lines.skip_while(|line| line.starts_with("#["));
            lines
                .next()
                .is_some_and(|line| line.starts_with(&format!("fn {test}(")))
        });
        assert!(found, "{file} has no test `{test}`: {row}");
        count += 1;
    }
    assert!(count > 20, "{count} rows");
}
