//! What a test needs of its machine. The tests of `audit` and `storage` include this file too.

/// Tells that a test is left out since the machine lacks this. Where `STRONGROOM_TEST_REQUIRE` names it, that is a failure:
/// a list with commas, e.g. `openssl,tmpfs`.
pub(crate) fn leave_out(test: &str, lacking: &str) {
    let required = std::env::var("STRONGROOM_TEST_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == lacking));
    assert!(!required, "{lacking} is required, and {test} cannot have it here");
    eprintln!("SKIPPED {test}: no {lacking} here");
}
