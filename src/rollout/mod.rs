//! All nodes of a rolling update: their counts, the candidates for replacement, the phase that the policy allows, and
//! the next steps.
//!
//! [`counts`] → [`candidates`] → [`older`], [`canaries`] → [`phase`] → [`steps`].

mod canaries;
pub(crate) mod candidates;
pub(crate) mod counts;
pub(crate) mod older;
pub(crate) mod phase;
pub(crate) mod steps;
