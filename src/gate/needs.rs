//! What each RPC needs: one exhaustive match over an enum that the build makes from the protos, so that a new RPC
//! without an action does not compile.

use crate::api::Method;
use crate::model::{Action, ActionSet};

/// Whether a call changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// One entry, after the operation and before the answer.
    Read,
    /// Two entries: the intent before the operation, and the outcome.
    Change,
}

/// What an RPC needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// One of these actions.
    pub any_of: ActionSet,
    /// Whether it changes anything.
    pub nature: Nature,
    /// Whether it works while the vault is sealed.
    pub while_sealed: bool,
    /// Whether it fails when it cannot be recorded. Only the two calls that a faulty audit log itself calls for, and by
    /// which no secret leaves, go on without.
    pub must_be_on_record: bool,
    /// Whether people alone may do it.
    pub people_only: bool,
}

impl Needs {
    /// The action to name to a caller who has none of them.
    #[must_use]
    pub fn wanted(&self) -> Action {
        self.any_of.iter().next().expect("every RPC of the table below needs at least one action")
    }
}

const fn any_of(actions: &[Action], nature: Nature) -> Needs {
    Needs { any_of: ActionSet::of(actions), nature, while_sealed: false, must_be_on_record: true, people_only: false }
}

/// What only people do: it decides what others may do or what keys there are.
const fn people(actions: &[Action]) -> Needs {
    Needs { people_only: true, ..any_of(actions, Nature::Change) }
}

/// The table.
#[must_use]
pub const fn needs(method: Method) -> Needs {
    use Method as M;
    use Nature::{Change, Read};
    match method {
        M::CreateSecret => any_of(&[Action::Create], Change),
        M::UpdateSecret | M::UpdateSecretMetadata | M::DisableSecret | M::EnableSecret => any_of(&[Action::Update], Change),
        M::RevealSecret | M::RevealBatch => any_of(&[Action::Reveal], Read),
        M::DescribeSecret | M::ListSecrets | M::ListSecretVersions | M::FindSecrets | M::WatchSecrets => any_of(&[Action::Describe], Read),
        M::DestroySecret | M::RestoreSecret | M::PurgeSecret => any_of(&[Action::Destroy], Change),
        // Who may do anything in a namespace may know that it exists.
        M::DescribeNamespace | M::ListNamespaces => any_of(Action::ALL, Read),
        M::CreateNamespace => people(&[Action::Administer]),
        M::CreateRole | M::UpdateRole | M::DeleteRole | M::CreateBinding | M::ConfirmBinding | M::DeleteBinding => {
            people(&[Action::Administer])
        }
        M::DescribeRole | M::ListRoles | M::ListBindings => any_of(&[Action::Administer, Action::Audit], Read),
        M::RotateKey | M::StartRewrap | M::PauseRewrap | M::ResumeRewrap => any_of(&[Action::Rotate], Change),
        M::ListKeys | M::ListRewraps | M::WatchRewrap | M::GetKeyStatement => any_of(&[Action::Rotate], Read),
        M::DisableKey | M::EnableKey | M::RetireKey | M::CancelKeyRetirement => people(&[Action::Rotate]),
        M::CreateProposal | M::CarryOutProposal => people(&[Action::Rotate]),
        M::ApproveProposal => people(&[Action::Approve]),
        M::WithdrawProposal => people(&[Action::Rotate, Action::Approve]),
        // Whoever is asked for a share may know what for.
        M::DescribeProposal | M::ListProposals | M::ListSlots => {
            any_of(&[Action::Rotate, Action::Approve, Action::Audit, Action::Operate], Read)
        }
        M::TestSlot | M::PresentSecret => people(&[Action::Operate, Action::Rotate]),
        M::ListAuditEntries => any_of(&[Action::Audit], Read),
        // Who takes a backup reads no value: it is encrypted to others.
        M::CreateBackup => any_of(&[Action::Operate], Change),
        M::ListBackups | M::ListRecoveryRecipients => any_of(&[Action::Operate, Action::Audit], Read),
        M::GetStatus => Needs { while_sealed: true, must_be_on_record: false, ..any_of(&[Action::Operate], Read) },
        M::Seal => Needs { while_sealed: true, must_be_on_record: false, ..any_of(&[Action::Operate], Change) },
        M::Unseal | M::ForgetShares => Needs { while_sealed: true, ..any_of(&[Action::Operate], Change) },
    }
}

/// Whether an operator gets through with it however much others ask for, and whatever holds them up.
#[must_use]
pub const fn goes_first(method: Method) -> bool {
    matches!(method, Method::GetStatus | Method::Seal | Method::Unseal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_leaves_by_reveal_alone() {
        let by_reveal: Vec<_> = Method::ALL.iter().filter(|method| needs(**method).any_of == ActionSet::of(&[Action::Reveal])).collect();
        assert_eq!(by_reveal, [&Method::RevealSecret, &Method::RevealBatch]);
    }

    #[test]
    fn only_status_and_seal_go_on_without_a_record() {
        let unrecorded: Vec<_> = Method::ALL.iter().filter(|method| !needs(**method).must_be_on_record).collect();
        assert_eq!(unrecorded, [&Method::GetStatus, &Method::Seal]);
    }
}
