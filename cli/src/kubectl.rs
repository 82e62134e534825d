//! Reads the cluster with kubectl.

use std::{
    fmt,
    io::{self, Read},
    process::{Command, Stdio},
};

use clap::Args;
use daemonplan::{Kind, manifest::Manifests};

use super::{
    Failure, input,
    output::{escape_control, note},
};

/// The flags for kubectl.
#[derive(Clone, Debug, Args)]
pub(super) struct KubectlArgs {
    /// The kubeconfig file of the cluster to read, without -f
    #[arg(long, value_name = "FILE", conflicts_with = "filename")]
    kubeconfig: Option<String>,

    /// The kubeconfig context of the cluster to read, without -f
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    context: Option<String>,
}

/// The resources that only the scheduler and admission look at.
const SCHEDULING_RESOURCES: [&str; 12] = [
    "persistentvolumes",
    "persistentvolumeclaims",
    "storageclasses.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "poddisruptionbudgets.policy",
    "priorityclasses.scheduling.k8s.io",
    "runtimeclasses.node.k8s.io",
    "limitranges",
    "resourcequotas",
];

/// Kubernetes' word for objects of a kind.
fn resource(kind: Kind) -> &'static str {
    match kind {
        Kind::DaemonSet => "daemonsets",
        Kind::Node => "nodes",
        Kind::Pod => "pods",
        Kind::Namespace => "namespaces",
        _ => "controllerrevisions",
    }
}

/// What is not known without a kind.
fn cost(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "where pods should run",
        Kind::Pod => "which pods run",
        Kind::Namespace => "the node selectors of namespaces",
        _ => "which pods are up to date",
    }
}

impl KubectlArgs {
    /// Reads the objects of these kinds, of one namespace or of all. A kind that may not be read is not known.
    pub(super) fn read(
        &self,
        manifests: &mut Manifests,
        kinds: &[Kind],
        namespace: Option<&str>,
    ) -> Result<(), Failure> {
        let Some(namespace) = namespace else {
            return self.get_all(manifests, kinds, &["--all-namespaces"]);
        };
        let (namespaced, others): (Vec<_>, Vec<_>) =
            kinds.iter().copied().partition(|kind| !matches!(kind, Kind::Node | Kind::Namespace));
        for kind in others {
            if kind == Kind::Namespace {
                self.get(manifests, &[kind], &["namespace", namespace])?;
            } else {
                self.get_all(manifests, &[kind], &[])?;
            }
        }
        self.get_all(manifests, &namespaced, &["--namespace", namespace])
    }

    /// Reads the same, and what the scheduler looks at: pods and namespaces of the whole cluster, because pods share the
    /// nodes, and the objects of storage and admission.
    pub(super) fn read_for_scheduling(
        &self,
        manifests: &mut Manifests,
        kinds: &[Kind],
        namespace: Option<&str>,
    ) -> Result<(), Failure> {
        match namespace {
            None => self.read(manifests, kinds, None)?,
            Some(namespace) => {
                let wide = [Kind::Node, Kind::Pod, Kind::Namespace];
                let (wide, narrow): (Vec<_>, Vec<_>) = kinds.iter().copied().partition(|kind| wide.contains(kind));
                if !narrow.is_empty() {
                    self.get_all(manifests, &narrow, &["--namespace", namespace])?;
                }
                let names: Vec<_> = wide.iter().copied().map(resource).collect();
                let forbidden = self.get(manifests, &wide, &[&names.join(","), "--all-namespaces"])?;
                if forbidden.contains(&Kind::Pod) {
                    self.get_all(manifests, &[Kind::Pod], &["--namespace", namespace])?;
                    manifests.set_only_namespace_of_pods(namespace);
                }
                if forbidden.contains(&Kind::Namespace) {
                    self.get(manifests, &[Kind::Namespace], &["namespace", namespace])?;
                }
            }
        }
        self.read_scheduling_objects(manifests, namespace);
        Ok(())
    }

    /// Reads the objects that only the scheduler and admission look at, and the Events about DaemonSets. What may not be read is
    /// not known.
    fn read_scheduling_objects(&self, manifests: &mut Manifests, namespace: Option<&str>) {
        let resources = SCHEDULING_RESOURCES.join(",");
        match self.get(manifests, &[], &[&resources, "--all-namespaces"]) {
            Ok(_) => manifests.add_all_scheduling_objects(),
            Err(Failure(problem)) => {
                note(format_args!("storage, priorities, quotas and limits are not all known: {problem}"));
                if let Some(namespace) = namespace {
                    let of_namespace = ["limitranges,resourcequotas", "--namespace", namespace];
                    if let Err(Failure(problem)) = self.get(manifests, &[], &of_namespace) {
                        note(format_args!("quotas and limits are not known: {problem}"));
                    }
                }
            }
        }
        let scope = namespace.map_or(vec!["--all-namespaces"], |namespace| vec!["--namespace", namespace]);
        let events = [&["events", "--field-selector", "involvedObject.kind=DaemonSet"], scope.as_slice()].concat();
        if let Err(Failure(problem)) = self.get(manifests, &[], &events) {
            note(format_args!("Events are not known: {problem}"));
        }
        // Other clusters than OpenShift do not have the resource.
        if let Err(Failure(problem)) = self.get(manifests, &[], &["schedulers.config.openshift.io"])
            && !problem.contains("doesn't have a resource type")
        {
            note(format_args!("the default node selector of projects is not known: {problem}"));
        }
    }

    fn get_all(&self, manifests: &mut Manifests, kinds: &[Kind], scope: &[&str]) -> Result<(), Failure> {
        let resources: Vec<_> = kinds.iter().copied().map(resource).collect();
        let forbidden = self.get(manifests, kinds, &[&[&*resources.join(",")], scope].concat())?;
        // kubectl may leave out kinds because of others.
        for kind in kinds.iter().filter(|kind| !forbidden.is_empty() && !forbidden.contains(kind)) {
            if !manifests.objects().any(|object| object.kind() == *kind) {
                self.get(manifests, &[*kind], &[&[resource(*kind)], scope].concat())?;
            }
        }
        Ok(())
    }

    fn flags(&self) -> impl Iterator<Item = &str> {
        let flags = [("--kubeconfig", &self.kubeconfig), ("--context", &self.context)];
        flags.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?])).flatten()
    }

    /// Returns the namespace of the kubeconfig context, to which kubectl applies manifests without one; `None` if it sets none.
    pub(super) fn namespace(&self) -> Option<String> {
        let mut command = Command::new("kubectl");
        let command =
            command.args(["config", "view", "--minify", "--output", "jsonpath={..namespace}"]).args(self.flags());
        let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
        let namespace = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (!namespace.is_empty() && namespace.chars().all(is_name)).then_some(namespace)
    }

    /// Runs `kubectl get`. Returns the kinds that may not be read.
    fn get(&self, manifests: &mut Manifests, kinds: &[Kind], args: &[&str]) -> Result<Vec<Kind>, Failure> {
        let mut all = vec!["get"];
        all.extend(self.flags());
        all.extend(args.iter().chain(&["--output", "json"]));
        let shown = format!("kubectl {}", all.join(" "));
        note(format_args!("running {shown}"));
        let fail = |error: &dyn fmt::Display| Failure(format!("{shown}: {error}; use -f to read files"));
        let mut command = Command::new("kubectl");
        let command = command.args(&all).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure(
                "kubectl not found: install it to read a cluster, or use -f to read files (-f - for standard input)"
                    .into(),
            ),
            _ => fail(&error),
        })?;
        // kubectl writes few errors: they fit into the pipe.
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let documents = manifests.documents();
        if let Some(output) = output {
            input::read_one(manifests, "kubectl", output, None).map_err(|error| fail(&error))?;
        }
        let mut text = String::new();
        errors.map(|mut errors| errors.read_to_string(&mut text)).transpose().map_err(|error| fail(&error))?;
        let status = child.wait().map_err(|error| fail(&error))?;
        let forbidden: Vec<_> = kinds.iter().copied().filter(|kind| is_forbidden(&text, *kind)).collect();
        if !status.success() && (forbidden.is_empty() || forbidden.contains(&Kind::DaemonSet)) {
            // Before its error, kubectl logs each of its attempts to find the API groups.
            let is_log = |line: &&str| {
                line.starts_with(['E', 'W', 'I'])
                    && line.get(1..5).is_some_and(|day| day.bytes().all(|byte| byte.is_ascii_digit()))
            };
            let text: Vec<_> = text.lines().filter(|line| !line.trim().is_empty() && !is_log(line)).collect();
            let text = text.join("; ");
            let text = if text.is_empty() { String::new() } else { format!("{}: ", escape_control(&text)) };
            let rules: Vec<_> = forbidden.iter().copied().map(rule).collect();
            let rules = if rules.is_empty() { String::new() } else { format!("; {}", rules.join("; ")) };
            return Err(fail(&format_args!("{text}{status}{rules}")));
        }
        if forbidden.is_empty() && manifests.documents() == documents {
            return Err(fail(&"it printed nothing"));
        }
        for kind in kinds {
            if forbidden.contains(kind) {
                note(format_args!(
                    "kubectl may not list {}, so it is unknown {}; {}",
                    resource(*kind),
                    cost(*kind),
                    rule(*kind)
                ));
            } else {
                manifests.add_all_of(*kind);
            }
        }
        Ok(forbidden)
    }
}

fn is_forbidden(errors: &str, kind: Kind) -> bool {
    errors.lines().filter(|line| line.contains("(Forbidden)")).any(|line| {
        let quoted = format!("resource \"{}\"", resource(kind));
        line.contains(&quoted) || line.contains(&format!(" {}", resource(kind)))
    })
}

/// The rule of a role that is missing.
fn rule(kind: Kind) -> String {
    let group = if matches!(kind, Kind::DaemonSet | Kind::ControllerRevision) { "apps" } else { "" };
    format!("the missing RBAC rule: {{apiGroups: [\"{group}\"], resources: [{}], verbs: [get, list]}}", resource(kind))
}
