//! x
mod action;
mod backoff;
mod cell;
mod event;
mod gc;
mod history;
#[cfg(feature = "yaml")]
pub mod manifest;
pub mod matching;
pub mod model;
mod ownership;
mod placement;
mod plan;
mod rollout;
mod settings;
mod snapshot;
mod template;
mod warning;

pub use action::{Action, Creation, Deletion, ObjectRef, Release, RevisionDeletion, RevisionUpdate};
pub use backoff::{Backoff, BackoffEntry, BackoffKey};
pub use event::{Event, EventType};
pub use gc::{Abandoned, abandoned};
pub use placement::{Placement, PlacementReason, SelectorSource, Verdict};
pub use plan::Plan;
pub use settings::Settings;
pub use snapshot::{Snapshot, plan};
pub use template::PodBlueprint;
pub use warning::Warning;
