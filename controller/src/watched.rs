//! Deserializes the API server's JSON into the planner's types, dropping fields that it does not need.

use std::{borrow::Cow, fmt};

use daemonplan::model::{ControllerRevision, DaemonSet, Namespace, Node, Pod};
use kube::{
    Api, Client, Resource,
    core::{DynamicResourceScope, ObjectMeta},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A watched object: the metadata that the watch needs, and the planner's object.
///
/// An invalid object does not fail the whole list or watch.
#[derive(Clone, Debug)]
pub struct Watched<T> {
    meta: ObjectMeta,
    /// The object, or the reason why it is invalid.
    pub object: Result<T, String>,
}

/// A kind of object that the controller watches.
pub trait Watch: daemonplan::model::Resource + Clone + std::fmt::Debug + Send + 'static {
    /// The kind in manifests, and the plural in paths.
    const NAMES: (&'static str, &'static str);
    /// The API group; the version is always `v1`.
    const GROUP: &'static str;
    /// Whether the kind is namespaced.
    const NAMESPACED: bool;
}

macro_rules! watch {
    ($($object:ident, $plural:literal, $group:literal, $namespaced:literal;)+) => {$(
        impl Watch for $object {
            const NAMES: (&'static str, &'static str) = (stringify!($object), $plural);
            const GROUP: &'static str = $group;
            const NAMESPACED: bool = $namespaced;
        }
    )+};
}

watch! {
    DaemonSet, "daemonsets", "apps", true;
    ControllerRevision, "controllerrevisions", "apps", true;
    Pod, "pods", "", true;
    Node, "nodes", "", false;
    Namespace, "namespaces", "", false;
}

/// Returns the API of a kind, for one namespace or all.
pub fn api<T: Watch>(client: &Client, namespace: Option<&str>) -> Api<Watched<T>> {
    match namespace {
        Some(namespace) if T::NAMESPACED => Api::namespaced_with(client.clone(), namespace, &()),
        _ => Api::all_with(client.clone(), &()),
    }
}

impl<T> Watched<T> {
    /// Returns `metadata.namespace`, empty for a cluster-scoped object, and `metadata.name`.
    pub fn key(&self) -> daemonplan::Key {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        daemonplan::Key::new(text(&self.meta.namespace), text(&self.meta.name))
    }

    /// Returns `metadata.resourceVersion`.
    pub fn version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Identity { name, namespace, version } = Identity::of(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self {
            meta: ObjectMeta { name, namespace, resource_version: version, ..ObjectMeta::default() },
            object: serde_json::from_str(json.get()).map_err(|error| error.to_string()),
        })
    }
}

/// The part of an object's metadata that the watch needs.
#[derive(Debug, Default)]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    version: Option<String>,
}

impl Identity {
    /// Reads an object up to its `resourceVersion`, which the API server writes near the beginning, after the names.
    fn of(json: &str) -> serde_json::Result<Self> {
        let mut found = Self::default();
        match (Fields { found: &mut found, inside: false }).deserialize(&mut serde_json::Deserializer::from_str(json)) {
            // The error is how the reader stops.
            Err(error) if found.version.is_none() => Err(error),
            _ => Ok(found),
        }
    }
}

/// Looks for the fields of an [`Identity`] in an object, or `inside` its metadata.
struct Fields<'a> {
    found: &'a mut Identity,
    inside: bool,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { found, inside } = self;
        while let Some(field) = map.next_key::<Cow<'_, str>>()? {
            match (inside, &*field) {
                (false, "metadata") => map.next_value_seed(Fields { found, inside: true })?,
                (true, "name") => found.name = map.next_value()?,
                (true, "namespace") => found.namespace = map.next_value()?,
                (true, "resourceVersion") => found.version = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            // All objects have a name. Those without a namespace are read to the end of their metadata.
            if found.name.is_some() && found.version.is_some() && (found.namespace.is_some() || !inside) {
                return Err(serde::de::Error::custom("found"));
            }
        }
        Ok(())
    }
}

impl<T: Watch> Resource for Watched<T> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::NAMES.0.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        T::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::NAMES.1.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;

    use super::*;

    #[test]
    fn a_watch_event_is_deserialized() {
        let line = r#"{"type":"ADDED","object":{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","resourceVersion":"17",
            "managedFields":[{}]},"spec":{"podCIDR":"10.0.0.0/24","taints":[{"key":"a","effect":"NoSchedule"}]}}}"#;
        let WatchEvent::Added(watched) = serde_json::from_str::<WatchEvent<Watched<Node>>>(line).unwrap() else {
            panic!("expected an ADDED event");
        };
        assert_eq!((watched.version(), &*watched.key().name), ("17", "n1"));
        assert_eq!(watched.object.unwrap().taints.len(), 1);
    }

    #[test]
    fn an_invalid_object_does_not_fail_the_rest_of_the_list() {
        let list = r#"{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[
            {"metadata":{"name":"n1","resourceVersion":"7"},"spec":{"taints":"none"}},
            {"metadata":{"name":"n2","resourceVersion":"8"}}]}"#;
        let list: kube::core::ObjectList<Watched<Node>> = serde_json::from_str(list).unwrap();
        let [bad, good] = <[_; 2]>::try_from(list.items).unwrap();
        assert_eq!(&*bad.key().name, "n1");
        assert!(bad.object.unwrap_err().starts_with("invalid type: string \"none\""));
        assert_eq!(&*good.object.unwrap().name, "n2");
    }

    #[test]
    fn url_paths_match_the_api() {
        assert_eq!(Watched::<DaemonSet>::url_path(&(), Some("prod")), "/apis/apps/v1/namespaces/prod/daemonsets");
        assert_eq!(Watched::<Node>::url_path(&(), None), "/api/v1/nodes");
    }
}
