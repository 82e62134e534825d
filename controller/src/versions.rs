//! The `resourceVersion` of each pod that the watch shows, for preconditions.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use daemonplan::Key;

/// The last shown version of each pod, in a few bytes: by a hash of its name. Two pods with one hash share a version, so a
/// version may be wrong. It is only good for a precondition, which fails if it is wrong.
#[derive(Debug, Default)]
pub struct Versions {
    hasher: RandomState,
    by_name: HashMap<u64, u64>,
}

impl Versions {
    /// Records the version of a pod; versions that are no numbers are not kept.
    pub fn set(&mut self, pod: &Key, version: &str) {
        let name = self.hasher.hash_one(pod);
        match version.parse() {
            Ok(version) => drop(self.by_name.insert(name, version)),
            Err(_) => drop(self.by_name.remove(&name)),
        }
    }

    /// Forgets a pod.
    pub fn remove(&mut self, pod: &Key) {
        self.by_name.remove(&self.hasher.hash_one(pod));
    }

    /// Keeps only `pods`.
    pub fn retain(&mut self, pods: impl Iterator<Item = Key>) {
        let kept = pods.filter_map(|pod| self.by_name.get_key_value(&self.hasher.hash_one(&pod)));
        self.by_name = kept.map(|(name, version)| (*name, *version)).collect();
    }

    /// Returns the version of a pod.
    pub fn get(&self, pod: &Key) -> Option<String> {
        self.by_name.get(&self.hasher.hash_one(pod)).map(u64::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_shown_version_of_a_pod_is_known() {
        let (mut versions, [a, b]) = (Versions::default(), ["a", "b"].map(|name| Key::new("prod", name)));
        for (pod, version) in [(&a, "7"), (&b, "8"), (&a, "9")] {
            versions.set(pod, version);
        }
        assert_eq!((versions.get(&a).as_deref(), versions.get(&b).as_deref()), (Some("9"), Some("8")));
        versions.retain(std::iter::once(a.clone()));
        assert_eq!((versions.get(&a).as_deref(), versions.get(&b)), (Some("9"), None));
        versions.set(&a, "opaque");
        assert_eq!(versions.get(&a), None);
    }
}
