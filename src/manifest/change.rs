//! Manifests that change objects, and those that replace them.

use serde_json::Value;

use super::apply;
use crate::model::Text;

/// A change of a DaemonSet by a manifest.
///
/// ```
/// use daemonplan::manifest::{ManifestChange, Manifests};
/// let (mut manifests, mut changes) = (Manifests::default(), Manifests::default());
/// manifests.read("cluster.yaml", &b"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, uid: '7'}"[..])?;
/// changes.read("ds.yaml", &b"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}"[..])?;
/// let changed = manifests.with(changes);
/// let ManifestChange { merged, .. } = changed.change(changed.daemonsets().next().unwrap()).unwrap();
/// assert_eq!(merged["metadata"]["uid"], "7");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ManifestChange<'m> {
    /// The manifest as it was given.
    pub given: &'m Value,
    /// What the API server is asked to store: the manifest, merged with the live object.
    pub merged: &'m Value,
    /// The live object; `None` if there is none, or if it was not read from a manifest.
    pub before: Option<&'m Value>,
}

impl ManifestChange<'_> {
    /// Whether the manifest replaces the object, as one with a uid does, instead of being merged with it.
    pub fn replaces(&self) -> bool {
        apply::has_uid(self.given)
    }
}

/// What adding an object means for an object of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    New,
    /// The other one is no longer used.
    Replaces,
    /// One has a uid, the other has none, like a manifest that has yet to be applied: it is a change of the first.
    Changes,
}

/// Puts an object and the one of its name together. If only one of them has a uid, the other one is a change of it,
/// whatever their order.
pub(super) fn combine<T: Clone>(
    known: Option<&mut T>,
    object: T,
    uid: fn(&T) -> &Text,
    apply: impl FnOnce(&T, T) -> T,
) -> (T, Added) {
    match known {
        None => (object, Added::New),
        Some(known) => match (uid(known).is_empty(), uid(&object).is_empty()) {
            (false, true) => (apply(known, object), Added::Changes),
            (true, false) => (apply(&object, known.clone()), Added::Changes),
            _ => (object, Added::Replaces),
        },
    }
}

impl Added {
    pub(super) fn of(is_replaced: bool) -> Self {
        if is_replaced { Self::Replaces } else { Self::New }
    }
}
