//! One node: the claimed pods on it, what to create and delete there, and what it adds to the totals.

pub(crate) mod claimed_pod;
pub(crate) mod decision;
pub(crate) mod health;
pub(crate) mod pod_state;
pub(crate) mod policy;
