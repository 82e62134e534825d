//! Helpers that are independent of Kubernetes.

pub(crate) mod duration;
pub(crate) mod fnv;
pub(crate) mod interner;
pub(crate) mod mru_cache;
pub(crate) mod slab;
