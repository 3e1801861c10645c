//! Who may read a private key.

/// Whether the owner alone may read a file of this mode. A file of root's may also be read by a group, if this process is not
/// root: there is no other way in which a service's manager hands a key to a user that may not change it. A credential of systemd
/// shows the access list that names the user as bits of the group, and a secret of Kubernetes belongs to the pod's group.
#[must_use]
pub const fn is_private(mode: u32, owner: u32, this_user: u32) -> bool {
    let forbidden = if owner == 0 && this_user != 0 { 0o037 } else { 0o077 };
    mode & forbidden == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_what_root_hands_to_another_user_and_nothing_else() {
        const ROOT: u32 = 0;
        for mode in [0o100_400, 0o100_440, 0o100_600, 0o100_640] {
            assert!(is_private(mode, ROOT, 65_532), "{mode:o}");
            assert_eq!(is_private(mode, ROOT, ROOT), mode & 0o077 == 0, "{mode:o} of root's for root");
            assert_eq!(is_private(mode, 65_532, 65_532), mode & 0o077 == 0, "{mode:o} of one's own");
            assert_eq!(is_private(mode, 1_000, 65_532), mode & 0o077 == 0, "{mode:o} of another's");
        }
        for mode in [0o404, 0o444, 0o420, 0o460, 0o450, 0o660, 0o644] {
            assert!(!is_private(mode, ROOT, 65_532), "{mode:o}");
        }
    }
}
