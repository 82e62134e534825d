//! Predicates over the [model](crate::model): selectors, selector expressions, node selector terms and tolerations.

mod expression;
mod labels;
mod node_terms;
mod tolerations;

pub use expression::{ExpressionError, SelectorExpression};
pub use node_terms::TermMismatch;
pub(crate) use node_terms::write_mismatch;
