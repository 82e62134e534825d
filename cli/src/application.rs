//! What kubectl apply makes of a changed manifest.

use daemonplan::{
    manifest::ManifestChange,
    model::{DaemonSet, well_known::LAST_APPLIED_ANNOTATION},
};
use serde_json::Value;

use super::output::{daemonset_name, note};

/// The first port of a container that has several protocols, before a change or with it, but not the same number of them.
fn port_that_merges(change: &Value, before: &Value) -> Option<u64> {
    fn containers(manifest: &Value) -> impl Iterator<Item = &Value> {
        manifest.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten()
    }
    let ports = |container: &Value| -> Vec<u64> {
        let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        ports.filter_map(|port| port.get("containerPort")?.as_u64()).collect()
    };
    containers(change).find_map(|container| {
        let live = containers(before).find(|live| live.get("name") == container.get("name"))?;
        let has_changed = live.get("ports") != container.get("ports");
        let (live, ports) = (ports(live), ports(container));
        let count = |ports: &[u64], port: u64| ports.iter().filter(|other| **other == port).count();
        live.iter().copied().find(|port| {
            let (was, is) = (count(&live, *port), count(&ports, *port));
            is > was || (was > 1 && is != was && has_changed)
        })
    })
}

/// Says where kubectl apply does something else with a change of a DaemonSet, which may remove fields, than what answers rest on.
pub(super) fn note_of_application(
    daemonset: &DaemonSet,
    change: &ManifestChange<'_>,
    before: &Value,
    has_removed: bool,
) {
    let name = daemonset_name(daemonset);
    let replaces = change.replaces();
    let verb = if replaces { "replace" } else { "apply" };
    if has_removed && !replaces && daemonset.annotations.get(LAST_APPLIED_ANNOTATION).is_none() {
        note(format_args!(
            "{name}: what was applied before is unknown, as the annotation {LAST_APPLIED_ANNOTATION} is missing: fields that the \
             manifest lacks count as removed, as they are by Helm and by server-side apply; kubectl apply, without the \
             annotation, keeps them"
        ));
    }
    if let Some(port) = port_that_merges(change.given, before).filter(|_| !replaces) {
        note(format_args!(
            "{name}: port {port} is given for several protocols: kubectl apply merges ports by their number alone, so one \
             of them is lost or changed instead of the other; kubectl apply --server-side tells them apart"
        ));
    }
    let version = |manifest: &Value| manifest.pointer("/metadata/resourceVersion")?.as_str()?.parse::<u64>().ok();
    if let Some((change, latest)) = version(change.given).zip(version(before))
        && change < latest
    {
        note(format_args!(
            "--with: {name} has the resourceVersion {change}, of an older state than {latest}: kubectl {verb} fails \
             with a conflict; leave the field out"
        ));
    }
}
