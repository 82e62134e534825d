//! Selector matching: does it match, and if not, which requirement does not hold?
//!
//! | what | against | does it match | what does not hold |
//! |---|---|---|---|
//! | [`LabelSelector`](crate::model::LabelSelector): `matchLabels`, `matchExpressions` | labels | `matches` | `mismatch` |
//! | [`SelectorExpression`]: text such as `role=worker,!gpu` | labels | `matches` | `mismatch` |
//! | [`NodeSelector`](crate::model::NodeSelector): terms of a node affinity | a node | `matches` | `mismatches` |
//! | [`Toleration`](crate::model::Toleration) | a taint | `tolerates` | [`untolerated`] |
//!
//! ```
//! use daemonplan::{model::Labels, selector::SelectorExpression};
//! let selector: SelectorExpression = "role=worker,zone in (a,b)".parse()?;
//! let labels = Labels::from([("role", "worker"), ("zone", "c")]);
//! assert!(!selector.matches(&labels));
//! assert_eq!(selector.mismatch(&labels).unwrap().to_string(), "zone in (a,b) is required, found zone=c");
//! # Ok::<(), daemonplan::selector::ExpressionError>(())
//! ```

mod expression;
mod labels;
mod node_terms;
mod per_node;
mod tolerations;

pub use expression::{ExpressionError, SelectorExpression};
pub use labels::LabelMismatch;
pub use node_terms::TermMismatch;
pub(crate) use node_terms::write_mismatch;
pub use per_node::PerNode;
pub use tolerations::untolerated;
