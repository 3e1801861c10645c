//! Errors in words.

use std::error::Error;

/// An error and its causes in one line, for logs and for people. No error of ours repeats a value.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn the_cause_of_the_cause_is_told() {
        let error = Layer("no vault", Some(Box::new(Layer("no store", Some(Box::new(Layer("no disk", None)))))));
        assert_eq!(with_causes(&error), "no vault: no store: no disk");
        assert_eq!(with_causes(&Layer("alone", None)), "alone");
    }
}
