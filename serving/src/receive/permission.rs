//! Who may write to a group: identities that its file names, and nobody else.

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::{Error, Result};

/// Who may write to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(pub Vec<Identity>);

impl Permission {
    /// Checks that `identity` may write to `group`.
    ///
    /// # Errors
    ///
    /// `Refused`: it may not, with what was presented and what would allow it.
    pub fn require(&self, identity: &Identity, group: &str) -> Result<()> {
        if self.0.contains(identity) {
            return Ok(());
        }
        let context = format!("{identity} may not write to group {group}");
        Err(Error::refused(context).with_hint(allowing(identity, group)))
    }
}

/// What would allow it.
fn allowing(identity: &Identity, group: &str) -> String {
    format!("on the receiver, add \"{identity}\" to allow in /etc/mtctl/groups.d/{group}.toml")
}

/// The refusal of a group that is not served, or does not exist: who may not write to a group is
/// not told which groups there are.
pub(super) fn unknown(identity: &Identity, group: &str) -> Error {
    let context = format!("{identity} may not write to group {group}");
    Error::refused(context).with_hint(allowing(identity, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_write_who_is_not_named_and_the_refusal_says_what_would_allow_it() {
        let named = Identity::Uri("spiffe://example.org/db".to_owned());
        let other = Identity::Dns("spiffe://example.org/db".to_owned());
        let permission = Permission(vec![named.clone()]);
        permission.require(&named, "web").unwrap();
        for (permission, identity) in [(permission, other), (Permission::default(), named)] {
            let refused = permission.require(&identity, "web").unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Refused);
            let hint = refused.hint().unwrap();
            assert!(
                hint.contains(&format!("\"{identity}\"")) && hint.contains("web.toml"),
                "{hint}"
            );
            let unknown = unknown(&identity, "web");
            assert_eq!((unknown.to_string(), unknown.hint()), (refused.to_string(), Some(hint)));
        }
    }
}
