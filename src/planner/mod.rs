//! From the input to a plan: all nodes are decided for, added up, and turned into actions.

pub(crate) mod claimed_pods;
mod owned_snapshot;
pub(crate) mod reconcile;
mod snapshot;
pub(crate) mod totals;

pub use owned_snapshot::OwnedSnapshot;
pub use snapshot::{Snapshot, plan};
