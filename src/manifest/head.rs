//! What an object is and whose, before it is read as a whole.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use crate::{
    manifest::Scope,
    model::{Kind, Text},
};

/// The type of an object, according to its first fields.
#[derive(Default)]
pub(super) struct Head {
    pub(super) api_version: Option<Text>,
    pub(super) kind: Option<Text>,
    pub(super) has_items: bool,
    extent: Extent,
}

/// The part of an object that is searched for its type.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Extent {
    /// The fields before `items`, because the items of a list may not fit into memory.
    #[default]
    BeforeItems,
    /// The whole object.
    Whole,
}

/// The identity and the owners of an object.
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) metadata: Option<HeaderMetadata>,
}

/// The metadata of a list.
#[derive(Deserialize)]
pub(super) struct ListMetadata {
    /// The token for the next part of a long list; there is none after the last part.
    pub(super) r#continue: Option<Text>,
}

/// The metadata of an object, parsed leniently: its errors are reported when the object itself is parsed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeaderMetadata {
    #[serde(default, deserialize_with = "if_readable")]
    name: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) namespace: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    uid: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    kind: Option<String>,
    name: Option<Text>,
    controller: Option<bool>,
}

fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl Head {
    pub(super) fn of(json: &[u8], extent: Extent) -> serde_json::Result<Self> {
        let mut head = Self { extent, ..Self::default() };
        match serde_json::Deserializer::from_slice(json).deserialize_map(&mut head) {
            // Parsing stopped early because the head is complete.
            Err(_) if head.is_complete() => Ok(head),
            result => result.map(|()| head),
        }
    }

    fn is_complete(&self) -> bool {
        (self.api_version.is_some() && self.kind.is_some()) || (self.has_items && self.extent == Extent::BeforeItems)
    }
}

impl<'de> Visitor<'de> for &mut Head {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a list of objects")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Field {
            ApiVersion,
            Kind,
            Items,
            #[serde(other)]
            Other,
        }
        while !self.is_complete() {
            match fields.next_key()? {
                None => break,
                Some(Field::ApiVersion) => self.api_version = fields.next_value()?,
                Some(Field::Kind) => self.kind = fields.next_value()?,
                Some(Field::Items) if self.extent == Extent::BeforeItems => self.has_items = true,
                Some(Field::Items | Field::Other) => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl Header {
    pub(super) fn has_uid(&self) -> bool {
        self.metadata.as_ref().and_then(|metadata| metadata.uid.as_ref()).is_some_and(|uid| !uid.is_empty())
    }

    pub(super) fn describe(&self, kind: impl fmt::Display) -> String {
        let metadata = self.metadata.as_ref();
        let name = metadata.and_then(|m| m.name.as_deref());
        match (metadata.and_then(|m| m.namespace.as_deref()), name) {
            (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
            (Some(namespace), None) => format!("{kind} without a name in {namespace}"),
            (None, name) => format!("{kind} {}", name.unwrap_or("without a name")),
        }
    }

    /// Returns the DaemonSets that cannot be planned if this object cannot be read.
    pub(super) fn scope(&self, kind: Kind, default: Option<&Text>) -> Scope {
        let Some(metadata) = &self.metadata else { return Scope::Everything };
        let namespace = metadata.namespace.as_ref().or(default).cloned().unwrap_or_else(|| "default".into());
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        match (kind, owner) {
            (Kind::DaemonSet, _) => match &metadata.name {
                Some(name) => Scope::DaemonSet(namespace, name.clone()),
                None => Scope::Nothing,
            },
            (Kind::Namespace, _) => metadata.name.clone().map_or(Scope::Nothing, Scope::Namespace),
            (Kind::Pod | Kind::ControllerRevision, None) => Scope::Namespace(namespace),
            (Kind::Pod | Kind::ControllerRevision, Some(owner)) => match (owner.kind.as_deref(), &owner.name) {
                (Some("DaemonSet"), Some(name)) => Scope::DaemonSet(namespace, name.clone()),
                _ => Scope::Nothing,
            },
            (Kind::Node, _) => Scope::Everything,
        }
    }
}
