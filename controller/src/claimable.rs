//! What pods and revisions have in common for their DaemonSet.

use daemonplan::model::{ControllerRef, ControllerRevision, Labels, Pod, Text};
use serde::de::DeserializeOwned;

/// An object that a DaemonSet can adopt or release.
pub(crate) trait Claimable: DeserializeOwned {
    fn uid(&self) -> &Text;
    fn labels(&self) -> &Labels;
    fn controller(&self) -> Option<&ControllerRef>;
    fn is_being_deleted(&self) -> bool;
}

macro_rules! claimable {
    ($($object:ident)+) => {$(
        impl Claimable for $object {
            fn uid(&self) -> &Text {
                &self.uid
            }

            fn labels(&self) -> &Labels {
                &self.labels
            }

            fn controller(&self) -> Option<&ControllerRef> {
                self.controller.as_deref()
            }

            fn is_being_deleted(&self) -> bool {
                self.deleted.is_some()
            }
        }
    )+};
}

claimable! { Pod ControllerRevision }
