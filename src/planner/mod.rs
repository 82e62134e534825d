//! From the input to a plan: decides for every node, adds the decisions up, and turns the totals into actions.

pub(crate) mod claimed_pods;
mod condition;
mod new_pods;
mod owned_snapshot;
pub(crate) mod reconcile;
mod snapshot;
pub(crate) mod totals;

pub use owned_snapshot::OwnedSnapshot;
pub use snapshot::{Snapshot, plan};
