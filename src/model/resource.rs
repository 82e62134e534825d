use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use crate::model::{ControllerRevision, DaemonSet, Interner, Namespace, Node, Pod, Text};

/// One of the five kinds of objects that planning depends on: [`DaemonSet`], [`Node`], [`Pod`], [`Namespace`] and
/// [`ControllerRevision`].
///
/// ```
/// use daemonplan::{Key, Kind, Resource, model::{Node, Pod}};
/// assert_eq!((Pod::KIND, Node::KIND), (Kind::Pod, Kind::Node));
/// assert_eq!(Pod::new("prod", "agent-x2k").key(), Key::new("prod", "agent-x2k"));
/// ```
pub trait Resource: sealed::Sealed + Into<Object> + DeserializeOwned {
    /// The kind.
    const KIND: Kind;

    /// What identifies an object among those of its kind: its name for nodes and namespaces, otherwise its [`Key`].
    type Id;

    /// Returns what identifies the object with this key, for code that is generic over the kinds.
    fn id_of(key: Key) -> Self::Id;

    /// Returns what identifies the object.
    fn id(&self) -> Self::Id;

    /// Returns the namespace and the name of what an id identifies.
    fn key_of(id: Self::Id) -> Key;

    /// Returns the namespace and the name of the object.
    fn key(&self) -> Key {
        Self::key_of(self.id())
    }

    /// Reads an object from any type that serialises as Kubernetes' JSON: those of every version of the crate
    /// k8s-openapi, kube's `DynamicObject`, or an embedder's own.
    ///
    /// A type that does not know a field of a template has lost it, and a template that has lost a field is another
    /// template, which the next plan rolls out. Read DaemonSets and ControllerRevisions from the API server's JSON, or
    /// with types that keep all fields.
    ///
    /// # Errors
    /// If it says that it is of another kind or API group, or if a field is missing or has the wrong type.
    ///
    /// ```
    /// use daemonplan::{Resource, model::Node};
    /// let dynamic = serde_json::json!({"kind": "Node", "metadata": {"name": "node-7"}});
    /// assert_eq!(Node::from_serializable(&dynamic)?, Node::new("node-7"));
    /// let nameless = Node::from_serializable(&serde_json::json!({})).unwrap_err();
    /// assert_eq!(nameless.to_string(), "Node: metadata.name: expected a name, found none");
    /// # Ok::<(), daemonplan::model::ConversionError>(())
    /// ```
    fn from_serializable(object: &impl Serialize) -> Result<Self, ConversionError> {
        let read = serde_json::to_value(object).and_then(serde_json::from_value);
        read.map_err(|source| ConversionError { kind: Self::KIND, source })
    }
}

/// The error for an object that cannot be read from another type's JSON.
///
/// ```
/// use daemonplan::{Kind, Resource, model::Node};
/// assert_eq!(Node::from_serializable(&7).unwrap_err().kind, Kind::Node);
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {source}")]
#[non_exhaustive]
pub struct ConversionError {
    /// The kind of the object.
    pub kind: Kind,
    /// The underlying error: what was expected and what was found.
    pub source: serde_json::Error,
}

/// An object of any of the five kinds, for streams that mix them. From JSON it is read by its `kind`.
///
/// ```
/// use daemonplan::{Cluster, Kind, Object, Settings, model::Namespace};
/// let mut cluster = Cluster::new(Settings::default());
/// cluster.apply(Object::from(Namespace::new("prod")));
/// let object: Object = serde_json::from_str(r#"{"kind": "Node", "metadata": {"name": "node-7"}}"#)?;
/// assert_eq!(object.kind(), Kind::Node);
/// cluster.apply(object);
/// assert!(serde_json::from_str::<Object>(r#"{"kind": "Service", "metadata": {"name": "web"}}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Object {
    /// A DaemonSet.
    DaemonSet(DaemonSet),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A namespace.
    Namespace(Namespace),
    /// A revision of a DaemonSet.
    ControllerRevision(ControllerRevision),
}

/// The kind of a [`Resource`].
///
/// ```
/// use daemonplan::Kind;
/// assert_eq!("ControllerRevision".parse(), Ok(Kind::ControllerRevision));
/// assert_eq!(Kind::ControllerRevision.to_string(), "ControllerRevision");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// A DaemonSet.
    DaemonSet,
    /// A node.
    Node,
    /// A pod.
    Pod,
    /// A namespace.
    Namespace,
    /// A revision of a DaemonSet.
    ControllerRevision,
}

/// The error for a text that is not a [`Kind`].
///
/// ```
/// use daemonplan::{Kind, model::UnknownKind};
/// assert_eq!("Deployment".parse::<Kind>(), Err(UnknownKind));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected DaemonSet, Node, Pod, Namespace or ControllerRevision")]
pub struct UnknownKind;

/// The namespace and the name of an object. For nodes and namespaces the namespace is empty.
///
/// ```
/// use daemonplan::Key;
/// assert_eq!(Key::new("prod", "agent").to_string(), "prod/agent");
/// assert_eq!(Key::cluster_wide("node-7").to_string(), "node-7");
/// assert_eq!(Key::from(("prod", "agent")).namespace, "prod");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
}

/// A reference to the object of an action. The uid is a precondition, so that recreated objects do not match.
///
/// ```
/// use daemonplan::{ObjectRef, model::Pod};
/// let mut pod = Pod::new("prod", "agent-x2k");
/// pod.uid = "42".into();
/// let ObjectRef { name, uid, .. } = ObjectRef::from(&pod); // delete `name` with the precondition `uid`
/// assert_eq!((&*name, &*uid), ("agent-x2k", "42"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `metadata.namespace`; empty for nodes and namespaces.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.uid`.
    pub uid: Text,
}

mod sealed {
    pub trait Sealed {
        /// Shares memory with equal parts of objects that `interner` has seen.
        fn share(&mut self, interner: &mut super::Interner);
    }
}

macro_rules! resources {
    ($($kind:ident: $id:ty = |$object:ident| $value:expr, $id_of:expr, $key_of:expr, $share:expr;)+) => {
        $(
            impl sealed::Sealed for $kind {
                fn share(&mut self, interner: &mut Interner) {
                    let share: fn(&mut Interner, &mut Self) = $share;
                    share(interner, self);
                }
            }

            impl Resource for $kind {
                const KIND: Kind = Kind::$kind;
                type Id = $id;

                fn id_of(key: Key) -> $id {
                    let id_of: fn(Key) -> $id = $id_of;
                    id_of(key)
                }

                fn key_of(id: $id) -> Key {
                    let key_of: fn($id) -> Key = $key_of;
                    key_of(id)
                }

                fn id(&self) -> $id {
                    let $object = self;
                    $value
                }
            }

            impl From<$kind> for Object {
                fn from(object: $kind) -> Self {
                    Self::$kind(object)
                }
            }

            impl From<&$kind> for Object {
                fn from(object: &$kind) -> Self {
                    Self::$kind(object.clone())
                }
            }

            impl From<&$kind> for ObjectRef {
                fn from(object: &$kind) -> Self {
                    let Key { namespace, name } = object.key();
                    Self { namespace, name, uid: object.uid.clone() }
                }
            }
        )+

        impl Object {
            /// Returns the kind of the object.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// Returns the namespace and the name of the object.
            pub fn key(&self) -> Key {
                match self {
                    $(Self::$kind(object) => object.key(),)+
                }
            }
        }

        impl<'de> Deserialize<'de> for Object {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let json = Value::deserialize(deserializer)?;
                let found = json.get("kind").and_then(Value::as_str).unwrap_or_default();
                let Ok(kind) = found.parse::<Kind>() else {
                    return Err(D::Error::custom(format_args!("kind: {UnknownKind}, found {found:?}")));
                };
                match kind {
                    $(Kind::$kind => serde_json::from_value(json).map(Self::$kind),)+
                }
                .map_err(|source| D::Error::custom(ConversionError { kind, source }))
            }
        }

        impl Serialize for Object {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(object) => object.serialize(serializer),)+
                }
            }
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$kind => stringify!($kind),)+
                })
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text {
                    $(stringify!($kind) => Ok(Self::$kind),)+
                    _ => Err(UnknownKind),
                }
            }
        }
    };
}

resources! {
    DaemonSet: Key = |daemonset| Key::new(&daemonset.namespace, &daemonset.name), |key| key, |id| id, |_, _| ();
    Node: Text = |node| node.name.clone(), |key| key.name, |name| Key::cluster_wide(name), Interner::share_node;
    Pod: Key = |pod| Key::new(&pod.namespace, &pod.name), |key| key, |id| id, Interner::share_pod;
    Namespace: Text = |namespace| namespace.name.clone(), |key| key.name, |name| Key::cluster_wide(name), |_, _| ();
    ControllerRevision: Key = |revision| Key::new(&revision.namespace, &revision.name), |key| key, |id| id, |_, _| ();
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::DaemonSet, Self::Node, Self::Pod, Self::Namespace, Self::ControllerRevision];

    /// The version of the API in which objects are written.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::DaemonSet | Self::ControllerRevision => "apps/v1",
            Self::Node | Self::Pod | Self::Namespace => "v1",
        }
    }
}

/// The field `apiVersion` of a kind. Any version of the kind's API group is read, and none, as in lists.
pub(super) struct ApiVersion<R>(PhantomData<R>);

/// The field `kind` of a kind. No other kind is read, but none may be given, as in lists.
pub(super) struct KindName<R>(PhantomData<R>);

impl<R> Default for ApiVersion<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R> Default for KindName<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Resource> Serialize for ApiVersion<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(R::KIND.api_version())
    }
}

impl<R: Resource> Serialize for KindName<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&R::KIND)
    }
}

impl<'de, R: Resource> Deserialize<'de> for ApiVersion<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Option::<Text>::deserialize(deserializer)?.unwrap_or_default();
        let expected = R::KIND.api_version();
        if found.is_empty() || api_group(&found) == api_group(expected) {
            return Ok(Self::default());
        }
        Err(D::Error::custom(format_args!("expected a {} of {expected}, found one of {found}", R::KIND)))
    }
}

impl<'de, R: Resource> Deserialize<'de> for KindName<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Option::<Text>::deserialize(deserializer)?.unwrap_or_default();
        if found.is_empty() || found.parse() == Ok(R::KIND) {
            return Ok(Self::default());
        }
        Err(D::Error::custom(format_args!("expected kind {}, found {found}", R::KIND)))
    }
}

/// The API group of an `apiVersion`; empty for the core group.
pub(crate) fn api_group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

impl Interner {
    /// Lets `object` share memory with the equal parts of objects that were shared before.
    pub fn share<R: Resource>(&mut self, object: &mut R) {
        sealed::Sealed::share(object, self);
    }
}

impl Key {
    /// Returns the key of an object in a namespace.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the key of a node or a namespace.
    pub fn cluster_wide(name: impl Into<Text>) -> Self {
        Self::new("", name)
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl From<&ObjectRef> for Key {
    fn from(object: &ObjectRef) -> Self {
        Self { namespace: object.namespace.clone(), name: object.name.clone() }
    }
}

/// The key of an object in a namespace: namespace and name.
impl<N: Into<Text>, M: Into<Text>> From<(N, M)> for Key {
    fn from((namespace, name): (N, M)) -> Self {
        Self::new(namespace, name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.namespace, &self.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.namespace, &self.name)
    }
}

/// Writes `namespace/name`, or the name alone for objects without a namespace.
fn write_name(f: &mut fmt::Formatter<'_>, namespace: &str, name: &str) -> fmt::Result {
    if namespace.is_empty() { f.pad(name) } else { f.pad(&format!("{namespace}/{name}")) }
}
