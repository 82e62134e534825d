//! All nodes of a rolling update: how many there are of each kind, which of them an update may replace, how far the policy
//! lets it go, and what it does next.
//!
//! [`counts`] → [`candidates`] → [`phase`] → [`steps`].

pub(crate) mod candidates;
pub(crate) mod counts;
pub(crate) mod phase;
pub(crate) mod steps;
