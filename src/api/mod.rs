//! The generated API: messages, clients and servers of `proto/strongroom/v1`, whose comments are its reference.
//!
//! [`Method`] has one variant for each RPC, so that tables over the whole surface (RPC -> action) are exhaustive
//! matches. Messages that hold a secret have a `Debug` that shows every field but the secret ones.

mod codec;

#[allow(clippy::all, reason = "generated; the protos' comments are carried over")]
mod generated {
    tonic::include_proto!("strongroom.v1");
    include!(concat!(env!("OUT_DIR"), "/redaction.rs"));
}

pub use codec::MessageCodec;
pub use generated::*;

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The encoded descriptor set of all protos: for reflection, and for tests that walk over every field.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret_field() {
        let canary = b"STAGE_canary".to_vec();
        let shown = [
            format!("{:?}", CreateSecretRequest { payload: canary.clone(), name: "a/b".to_owned(), ..Default::default() }),
            format!("{:?}", UpdateSecretRequest { payload: canary.clone(), name: "a/b".to_owned(), ..Default::default() }),
            format!("{:?}", RevealSecretResponse { payload: canary.clone(), ..Default::default() }),
            format!("{:?}", RevealedSecret { payload: canary.clone(), ..Default::default() }),
            format!("{:?}", UnsealRequest { passphrase: canary.clone(), share: canary.clone() }),
            format!("{:?}", TestSlotRequest { passphrase: canary.clone(), share: canary.clone() }),
            format!("{:?}", PresentSecretRequest { passphrase: canary.clone(), share: canary.clone(), ..Default::default() }),
            format!("{:?}", CarryOutProposalRequest { new_passphrase: canary.clone(), ..Default::default() }),
            format!(
                "{:?}",
                CarryOutProposalResponse { shares: vec![NewShare { text: canary.clone(), ..Default::default() }], ..Default::default() }
            ),
        ];
        let as_numbers = format!("{canary:?}");
        for text in shown {
            assert!(text.contains("(redacted)"), "{text}");
            assert!(!text.contains("canary") && !text.contains(as_numbers.trim_matches(['[', ']'])), "{text}");
        }
    }

    #[test]
    fn every_method_has_its_own_name_and_path() {
        let names: std::collections::BTreeSet<_> = Method::ALL.iter().map(|method| method.name()).collect();
        assert_eq!(names.len(), Method::ALL.len());
        assert_eq!(Method::RevealSecret.path(), "/strongroom.v1.SecretService/RevealSecret");
        assert!(Method::ALL.iter().all(|method| Method::of_path(method.path()) == Some(*method)));
        assert_eq!(Method::of_path("/grpc.health.v1.Health/Check"), None);
    }
}
