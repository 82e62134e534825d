//! Which kinds have been listed: each in one list, or in one for each of several namespaces.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use daemonplan::{Key, Kind, model::Text};

/// A list that is being read.
#[derive(Debug)]
pub(crate) struct Listing {
    /// When it was begun.
    pub(crate) began: Instant,
    /// The objects so far.
    pub(crate) keys: HashSet<Key>,
}

/// The lists that were read and are being read, each by its kind and its namespace; see the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Listings {
    namespaces: Vec<Text>,
    begun: HashMap<(Kind, Text), Listing>,
    done: HashSet<(Kind, Text)>,
}

impl Listings {
    /// Expects one list of each kind for each of these namespaces, or one for all if there are none.
    pub(crate) fn new(namespaces: &[Text]) -> Self {
        Self { namespaces: namespaces.to_vec(), ..Self::default() }
    }

    pub(crate) fn begin(&mut self, kind: Kind, namespace: &Text, began: Instant) {
        self.begun.insert((kind, namespace.clone()), Listing { began, keys: HashSet::new() });
    }

    pub(crate) fn add(&mut self, kind: Kind, namespace: &Text, key: Key) {
        if let Some(listing) = self.begun.get_mut(&(kind, namespace.clone())) {
            listing.keys.insert(key);
        }
    }

    /// Ends a list and returns it, if it was not forgotten meanwhile.
    pub(crate) fn end(&mut self, kind: Kind, namespace: &Text) -> Option<Listing> {
        self.done.insert((kind, namespace.clone()));
        self.begun.remove(&(kind, namespace.clone()))
    }

    pub(crate) fn forget(&mut self) {
        self.begun.clear();
        self.done.clear();
    }

    /// Returns the namespaces by which a kind is listed; an empty one stands for all.
    pub(crate) fn parts(&self, kind: Kind) -> Vec<Text> {
        if kind == Kind::Node || self.namespaces.is_empty() { vec![Text::default()] } else { self.namespaces.clone() }
    }

    /// Whether all lists of a kind were read.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.parts(kind).into_iter().all(|namespace| self.done.contains(&(kind, namespace)))
    }
}

/// Whether an object is in the list of its kind for this namespace.
pub(crate) fn is_in(kind: Kind, namespace: &Text, key: &Key) -> bool {
    let own = if kind == Kind::Namespace { &key.name } else { &key.namespace };
    namespace.is_empty() || namespace == own
}
