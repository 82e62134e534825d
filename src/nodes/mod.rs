//! The nodes of a cluster, by name: as a snapshot lists them, or as a cluster keeps them.

mod index;
mod table;

use crate::model::Node;

pub(crate) use index::NodeIndex;
pub(crate) use table::{NodeTable, Slot};

/// The nodes that a plan is about.
#[derive(Debug)]
pub(crate) enum Nodes<'a> {
    Listed(NodeIndex<'a>),
    Kept(&'a NodeTable),
}

impl<'a> Nodes<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        match self {
            Self::Listed(index) => index.get(&name.into()),
            Self::Kept(table) => table.get(&name.into()),
        }
    }

    pub(crate) fn all(&self) -> Vec<&'a Node> {
        match self {
            Self::Listed(index) => index.all().to_vec(),
            Self::Kept(table) => table.iter().collect(),
        }
    }
}
