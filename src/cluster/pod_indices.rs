//! A small set of pods.

use std::mem;

use crate::node::claimed_pod::PodIndex;

/// The pods on one node, mostly one.
#[derive(Clone, Debug, Default)]
pub(super) enum PodIndices {
    #[default]
    None,
    One(PodIndex),
    // The box keeps the enum small: every node and DaemonSet has a set.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<PodIndex>>),
}

impl PodIndices {
    pub(super) fn iter(&self) -> impl Iterator<Item = &PodIndex> {
        match self {
            Self::None => [].iter(),
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }

    pub(super) fn insert(&mut self, index: PodIndex) {
        *self = match mem::take(self) {
            Self::None => Self::One(index),
            Self::One(one) => Self::Many(Box::new(vec![one, index])),
            Self::Many(mut many) => {
                many.push(index);
                Self::Many(many)
            }
        };
    }

    /// Removes an index that is in the set.
    pub(super) fn remove(&mut self, index: PodIndex) {
        *self = match mem::take(self) {
            Self::Many(mut many) => {
                many.retain(|other| *other != index);
                match many.as_slice() {
                    [one] => Self::One(*one),
                    _ => Self::Many(many),
                }
            }
            Self::One(_) | Self::None => Self::None,
        };
    }
}
