//! Reads the objects that only the scheduler and admission look at.

use std::io::Read;

use serde_json::Value;

use super::{
    Manifests, Scope,
    error::plain,
    head::Header,
    reader::{Sink, integers, names_no_namespace, shortened},
    source::{Fault, Source},
};
use crate::{
    model::{Namespace, Pod, Text},
    scheduling::{ClusterState, ObjectVisitor, SchedulingObject, SchedulingObjects, visit},
};

impl Manifests {
    /// Returns the objects that only the scheduler and admission look at.
    pub fn scheduling_objects(&self) -> &SchedulingObjects {
        &self.scheduling
    }

    /// Returns what the default scheduler knows of these objects.
    ///
    /// ```
    /// use daemonplan::{manifest::Manifests, scheduling::SchedulingVerdict};
    /// let text = "
    /// kind: Node
    /// metadata: {name: a}
    /// status: {allocatable: {cpu: 1, pods: 110}}
    /// ---
    /// kind: Pod
    /// metadata: {name: agent, namespace: prod}
    /// spec: {containers: [{name: main, resources: {requests: {cpu: 2}}}]}
    /// ";
    /// let mut manifests = Manifests::default();
    /// manifests.read("cluster.yaml", text.as_bytes())?;
    /// let state = manifests.cluster_state();
    /// let feasibility = state.feasibility(manifests.pod("prod", "agent").unwrap());
    /// assert_eq!(feasibility.verdict, SchedulingVerdict::Unschedulable);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cluster_state(&self) -> ClusterState<'_> {
        ClusterState::new(self.nodes(), self.pods(), self.namespaces(), &self.scheduling)
    }

    /// Declares that these are all objects that only the scheduler and admission look at.
    ///
    /// ```
    /// use daemonplan::manifest::Manifests;
    /// let mut manifests = Manifests::default();
    /// manifests.add_all_scheduling_objects();
    /// assert!(manifests.scheduling_objects().is_complete);
    /// ```
    pub fn add_all_scheduling_objects(&mut self) {
        self.scheduling.is_complete = true;
    }

    /// Declares that the pods of other namespaces are not known: what they take from nodes is then not known, either.
    ///
    /// ```
    /// use daemonplan::manifest::Manifests;
    /// let mut manifests = Manifests::default();
    /// manifests.set_only_namespace_of_pods("prod");
    /// assert_eq!(manifests.scheduling_objects().only_namespace_of_pods.as_deref(), Some("prod"));
    /// ```
    pub fn set_only_namespace_of_pods(&mut self, namespace: impl Into<Text>) {
        self.scheduling.only_namespace_of_pods = Some(namespace.into());
    }

    /// Iterates over all pods, by namespace.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.contents_by_namespace().flat_map(|contents| &contents.pods.items)
    }

    /// Returns the pod of this name; `None` if it was not read.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods().find(|pod| pod.namespace == *namespace && pod.name == *name)
    }

    fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.contents_by_namespace().filter_map(|contents| contents.namespace.as_ref())
    }
}

/// Reads an object of a kind that is known from its first fields.
struct FactReader<'r, 'm, 't, R> {
    sink: &'r mut Sink<'m>,
    text: &'t mut Source<R>,
}

impl<R: Read> ObjectVisitor for FactReader<'_, '_, '_, R> {
    type Output = Result<(), Fault>;

    fn visit<T: SchedulingObject>(self) -> Result<(), Fault> {
        self.sink.add_fact::<T>(self.text.raw_value()?);
        self.text.skip_value()
    }
}

impl Sink<'_> {
    /// Reads an object if only the scheduler and admission look at its kind.
    pub(super) fn fact(&mut self, kind: &str, group: &str, text: &mut Source<impl Read>) -> Option<Result<(), Fault>> {
        // Events have two groups with the same meaning.
        let group = if kind == "Event" && group == "events.k8s.io" { "" } else { group };
        visit(kind, group, FactReader { sink: self, text })
    }

    /// Adds an object. If it cannot be read, no plan depends on it.
    fn add_fact<T: SchedulingObject>(&mut self, json: &[u8]) {
        let read = serde_json::from_slice::<T>(json).or_else(|_| {
            let value = serde_json::from_slice::<Value>(json).map_err(|error| (None, plain(&error)))?;
            serde_path_to_error::deserialize::<_, T>(integers(value)).map_err(|error| {
                let path = error.path().to_string();
                ((path != ".").then(|| shortened(path)), plain(&error.into_inner()))
            })
        });
        match read {
            Ok(mut object) => {
                let default = self.manifests.default_namespace().filter(|_| names_no_namespace(json)).cloned();
                if let (Some(namespace), Some(default)) = (object.namespace_mut(), default) {
                    *namespace = default;
                }
                self.manifests.scheduling.add(object);
            }
            Err((field, problem)) => {
                let header = serde_json::from_slice::<Header>(json).ok();
                self.place.object = header.map(|header| shortened(header.describe(T::KIND)));
                self.place.field = field;
                self.report(Scope::Nothing, problem);
                (self.place.object, self.place.field) = (None, None);
            }
        }
    }
}
