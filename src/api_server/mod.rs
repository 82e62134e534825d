//! What the API server makes of a DaemonSet before anybody else sees it.
//!
//! A manifest in Git and the object in the cluster are written differently and mean the same: the API server fills in
//! defaults, writes quantities in its own way, and leaves out what it does not know. [`stored`] does the same, so that
//! both can be compared. [`validate`] tells what it refuses, and [`unknown_fields`] what it does not know.

#[cfg(feature = "manifest")]
mod apply;
mod schema;
mod stored;
mod validation;

#[cfg(feature = "manifest")]
pub(crate) use apply::apply;
pub use stored::stored;
#[cfg(feature = "manifest")]
pub(crate) use validation::decode_error;
pub(crate) use validation::resource_errors;
pub use validation::{FieldError, UnknownField, label_problems, unknown_fields, validate, validate_node};
