//! Helpers that are independent of Kubernetes.

#[cfg(feature = "manifest")]
pub(crate) mod by_name;
pub(crate) mod distance;
pub(crate) mod duration;
pub(crate) mod fnv;
pub(crate) mod mru_cache;
pub(crate) mod shared_values;
pub(crate) mod slab;
