//! What the plugins for volumes refuse, a second time: slow, and on Kubernetes' JSON as it is.

#![allow(unreachable_pub)] // tests have no public API

use daemonplan::model::Quantity;
use serde_json::{Value, json};

use super::reference_scheduler::{Facts, label, list, live, matches, matches_node, name, namespace, node_of, text};

type Refusals = Vec<(&'static str, String)>;

/// The plugins that refuse a node for a pod because of its volumes, each with a reason. All objects of storage are known.
pub fn refusals(facts: &Facts, pod: &Value, target: &Value) -> Refusals {
    let mut found = Vec::new();
    let mut add = |plugin, reason: Option<String>| found.extend(reason.map(|reason| (plugin, reason)));
    add("VolumeRestrictions", restrictions(facts, pod, target));
    add("NodeVolumeLimits", limits(facts, pod, target));
    match binding(facts, pod, target) {
        Ok(reasons) => reasons.into_iter().for_each(|reason| add("VolumeBinding", Some(reason))),
        Err(reason) => add("VolumeBinding", Some(reason)),
    }
    add("VolumeZone", zone(facts, pod, target));
    found
}

fn of_kind<'f>(facts: &'f Facts, kind: &'static str) -> impl Iterator<Item = &'f Value> {
    facts.storage.iter().filter(move |object| object["kind"] == kind)
}

fn by_name<'f>(facts: &'f Facts, kind: &'static str, wanted: &str) -> Option<&'f Value> {
    of_kind(facts, kind).find(|object| name(object) == wanted)
}

fn claim_of<'f>(facts: &'f Facts, pod: &Value, wanted: &str) -> Option<&'f Value> {
    of_kind(facts, "PersistentVolumeClaim").find(|claim| name(claim) == wanted && namespace(claim) == namespace(pod))
}

/// The names of a pod's claims, and whether each is one of an ephemeral volume.
fn claims(pod: &Value) -> Vec<(String, bool)> {
    let volumes = list(&pod["spec"]["volumes"]).into_iter();
    let claims = volumes.filter_map(|volume| match volume["persistentVolumeClaim"]["claimName"].as_str() {
        Some(claim) => Some((claim.to_owned(), false)),
        None if volume["ephemeral"].is_object() => Some((format!("{}-{}", name(pod), text(volume, "name")), true)),
        None => None,
    });
    claims.collect()
}

fn not_found(claim: &str) -> String {
    format!("persistentvolumeclaim {claim:?} not found")
}

fn has_mode(object: &Value, mode: &str) -> bool {
    list(&object["spec"]["accessModes"]).iter().any(|own| *own == mode)
}

fn restrictions(facts: &Facts, pod: &Value, target: &Value) -> Option<String> {
    let named: Vec<_> = claims(pod).into_iter().filter(|(_, is_ephemeral)| !is_ephemeral).collect();
    if let Some((missing, _)) = named.iter().find(|(claim, _)| claim_of(facts, pod, claim).is_none()) {
        return Some(not_found(missing));
    }
    let disks = |pod: &Value| -> Vec<(String, bool)> {
        let volumes = list(&pod["spec"]["volumes"]).into_iter();
        let disks = volumes.filter_map(|volume| {
            let disk = &volume["gcePersistentDisk"];
            Some((disk["pdName"].as_str()?.to_owned(), disk["readOnly"] == true))
        });
        disks.collect()
    };
    let own = disks(pod);
    for other in live(facts).into_iter().filter(|other| node_of(other) == name(target)) {
        if disks(other)
            .iter()
            .any(|(disk, is_read)| own.iter().any(|(mine, read)| mine == disk && !(*read && *is_read)))
        {
            return Some("node(s) had no available disk".into());
        }
    }
    let is_single = |claim: &String| has_mode(claim_of(facts, pod, claim).unwrap(), "ReadWriteOncePod");
    let is_used = |claim: &String| {
        let mut others = live(facts).into_iter().filter(|other| namespace(other) == namespace(pod));
        others.any(|other| claims(other).iter().any(|(used, _)| used == claim))
    };
    named.iter().any(|(claim, _)| is_single(claim) && is_used(claim)).then(|| {
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod".into()
    })
}

/// The volumes of a pod that a driver attaches, with that driver.
fn attached(facts: &Facts, pod: &Value, is_new: bool) -> Result<Vec<(String, String)>, String> {
    let mut volumes = Vec::new();
    for (claim, is_ephemeral) in claims(pod) {
        let key = format!("{}/{claim}", namespace(pod));
        let Some(own) = claim_of(facts, pod, &claim) else {
            if is_new {
                return Err(format!("looking up PVC {key}: {}", not_found(&claim)));
            }
            continue;
        };
        if is_ephemeral && !is_owned(own, pod) {
            let pod = format!("{}/{}", namespace(pod), name(pod));
            return Err(format!("PVC {key} was not created for pod {pod} (pod is not owner)"));
        }
        if let Some(volume) = by_name(facts, "PersistentVolume", text(&own["spec"], "volumeName")) {
            volumes.extend(of_csi(volume));
        } else {
            let class = by_name(facts, "StorageClass", text(&own["spec"], "storageClassName"));
            volumes.extend(class.map(|class| (text(class, "provisioner").to_owned(), key)));
        }
    }
    Ok(volumes)
}

/// The driver of a volume and its name for that.
fn of_csi(volume: &Value) -> Option<(String, String)> {
    let csi = &volume["spec"]["csi"];
    Some((csi["driver"].as_str()?.to_owned(), text(csi, "volumeHandle").to_owned()))
}

fn is_owned(claim: &Value, pod: &Value) -> bool {
    let uid = text(&pod["metadata"], "uid");
    !uid.is_empty() && list(&claim["metadata"]["ownerReferences"]).iter().any(|owner| text(owner, "uid") == uid)
}

fn limits(facts: &Facts, pod: &Value, target: &Value) -> Option<String> {
    let mut new = match attached(facts, pod, true) {
        Ok(new) => new,
        Err(reason) => return Some(reason),
    };
    new.sort();
    new.dedup();
    let node = by_name(facts, "CSINode", name(target));
    let drivers = node.map(|node| list(&node["spec"]["drivers"])).unwrap_or_default();
    if new.is_empty() || drivers.is_empty() {
        return None;
    }
    let mut used = Vec::new();
    for other in live(facts).into_iter().filter(|other| node_of(other) == name(target)) {
        match attached(facts, other, false) {
            Ok(volumes) => used.extend(volumes),
            Err(reason) => return Some(reason),
        }
    }
    new.retain(|volume| !used.contains(volume));
    for attachment in of_kind(facts, "VolumeAttachment").filter(|own| text(&own["spec"], "nodeName") == name(target)) {
        let volume = by_name(facts, "PersistentVolume", text(&attachment["spec"]["source"], "persistentVolumeName"));
        used.extend(volume.and_then(of_csi));
    }
    used.sort();
    used.dedup();
    let exceeds = |driver: &&Value| {
        let count =
            |volumes: &[(String, String)]| volumes.iter().filter(|(own, _)| own == text(driver, "name")).count();
        let limit = usize::try_from(driver["allocatable"]["count"].as_u64().unwrap()).unwrap();
        count(&new) > 0 && count(&new) + count(&used) > limit
    };
    drivers.iter().any(exceeds).then(|| "node(s) exceed max volume count".into())
}

fn storage(amount: &Value) -> Quantity {
    amount["storage"].as_str().map(|text| text.parse().unwrap()).unwrap_or_default()
}

fn reaches(volume: &Value, target: &Value) -> bool {
    let required = &volume["spec"]["nodeAffinity"]["required"];
    required.is_null() || list(&required["nodeSelectorTerms"]).iter().any(|term| matches_node(term, target))
}

fn binding(facts: &Facts, pod: &Value, target: &Value) -> Result<Vec<String>, String> {
    let mut own = Vec::new();
    for (claim, is_ephemeral) in claims(pod) {
        let Some(found) = claim_of(facts, pod, &claim) else {
            let waits =
                format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {claim:?}");
            return Err(if is_ephemeral { waits } else { not_found(&claim) });
        };
        if found["status"]["phase"] == "Lost" {
            let volume = text(&found["spec"], "volumeName");
            return Err(format!("persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if !found["metadata"]["deletionTimestamp"].is_null() {
            return Err(format!("persistentvolumeclaim {claim:?} is being deleted"));
        }
        if is_ephemeral && !is_owned(found, pod) {
            let (namespace, pod) = (namespace(pod), name(pod));
            return Err(format!(
                "PVC {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)"
            ));
        }
        own.push(found);
    }
    let is_bound = |claim: &Value| {
        !claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"].is_null()
            && !text(&claim["spec"], "volumeName").is_empty()
    };
    let class = |claim: &Value| by_name(facts, "StorageClass", text(&claim["spec"], "storageClassName"));
    let waits = |claim: &Value| {
        text(&claim["spec"], "volumeName").is_empty()
            && class(claim).is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer")
    };
    if own.iter().any(|claim| !is_bound(claim) && !waits(claim)) {
        return Err("pod has unbound immediate PersistentVolumeClaims".into());
    }
    let (bound, mut delayed): (Vec<_>, Vec<_>) = own.into_iter().partition(|claim| is_bound(claim));
    let (mut unreachable, mut missing) = (None, None);
    for claim in bound {
        match by_name(facts, "PersistentVolume", text(&claim["spec"], "volumeName")) {
            Some(volume) if reaches(volume, target) => continue,
            Some(_) => unreachable = Some("node(s) didn't match PersistentVolume's node affinity".to_owned()),
            None => {
                missing = Some("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)".to_owned());
            }
        }
        break;
    }
    delayed.sort_by_key(|claim| storage(&claim["spec"]["resources"]["requests"]));
    let mut taken = Vec::new();
    let mut to_make = Vec::new();
    let mut unserved = None;
    for claim in delayed {
        match claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].as_str() {
            Some(selected) if selected == name(target) => to_make.push(claim),
            Some(_) => unserved = Some("node(s) didn't find available persistent volumes to bind"),
            None => match find_volume(facts, claim, target, &taken) {
                Some(volume) => taken.push(name(volume)),
                None => to_make.push(claim),
            },
        }
    }
    for claim in to_make {
        unserved = unserved.or_else(|| cannot_make(facts, claim, class(claim).unwrap(), target));
    }
    Ok(unreachable.into_iter().chain(unserved.map(str::to_owned)).chain(missing).collect())
}

fn find_volume<'f>(facts: &'f Facts, claim: &Value, target: &Value, taken: &[&str]) -> Option<&'f Value> {
    let (spec, request) = (&claim["spec"], storage(&claim["spec"]["resources"]["requests"]));
    let mut volumes: Vec<_> = of_kind(facts, "PersistentVolume")
        .filter(|volume| {
            text(&volume["spec"], "storageClassName") == text(spec, "storageClassName")
                && text(&volume["spec"], "volumeMode") == text(spec, "volumeMode")
                && storage(&volume["spec"]["capacity"]) >= request
                && volume["metadata"]["deletionTimestamp"].is_null()
                && !taken.contains(&name(volume))
        })
        .collect();
    let is_kept = |volume: &&&Value| {
        let of = &volume["spec"]["claimRef"];
        let uid = text(of, "uid");
        text(of, "name") == name(claim)
            && text(of, "namespace") == namespace(claim)
            && (uid.is_empty() || uid == text(&claim["metadata"], "uid"))
    };
    volumes.sort_by_key(|volume| (storage(&volume["spec"]["capacity"]), name(volume)));
    let mut kept: Vec<_> = volumes.iter().filter(is_kept).collect();
    kept.sort_by_key(|volume| name(volume));
    if let Some(kept) = kept.first() {
        return reaches(kept, target).then_some(**kept);
    }
    let modes = list(&spec["accessModes"]);
    volumes.into_iter().find(|volume| {
        volume["spec"]["claimRef"].is_null()
            && volume["status"]["phase"] == "Available"
            && (spec["selector"].is_null() || matches(&spec["selector"], &volume["metadata"]["labels"]))
            && reaches(volume, target)
            && modes.iter().all(|mode| has_mode(volume, mode.as_str().unwrap()))
    })
}

fn cannot_make(facts: &Facts, claim: &Value, class: &Value, target: &Value) -> Option<&'static str> {
    let provisioner = text(class, "provisioner");
    let topologies = list(&class["allowedTopologies"]);
    let allows = |term: &&Value| {
        let labels = list(&term["matchLabelExpressions"]);
        let is_one =
            |own: &&Value| list(&own["values"]).iter().any(|value| value.as_str() == label(target, text(own, "key")));
        !labels.is_empty() && labels.iter().all(is_one)
    };
    if provisioner == "kubernetes.io/no-provisioner" || !topologies.is_empty() && !topologies.iter().any(allows) {
        return Some("node(s) didn't find available persistent volumes to bind");
    }
    let driver = by_name(facts, "CSIDriver", provisioner)?;
    let request = &claim["spec"]["resources"]["requests"];
    if driver["spec"]["storageCapacity"] != true || request["storage"].is_null() {
        return None;
    }
    let is_enough = |own: &Value| {
        let amount = if own["maximumVolumeSize"].is_null() { &own["capacity"] } else { &own["maximumVolumeSize"] };
        let is_there = matches(&own["nodeTopology"], &target["metadata"]["labels"]);
        text(own, "storageClassName") == name(class)
            && is_there
            && storage(&json!({"storage": amount})).value() >= storage(request).value()
    };
    let has_enough = of_kind(facts, "CSIStorageCapacity").any(is_enough);
    (!has_enough).then_some("node(s) did not have enough free storage")
}

fn zone(facts: &Facts, pod: &Value, target: &Value) -> Option<String> {
    const KEYS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];
    let mut wanted = Vec::new();
    for (claim, _) in claims(pod).into_iter().filter(|(_, is_ephemeral)| !is_ephemeral) {
        let Some(own) = claim_of(facts, pod, &claim) else { return Some(not_found(&claim)) };
        let (volume, class) = (text(&own["spec"], "volumeName"), text(&own["spec"], "storageClassName"));
        if volume.is_empty() {
            if class.is_empty() {
                return Some("PersistentVolumeClaim had no pv name and storageClass name".into());
            }
            match by_name(facts, "StorageClass", class) {
                None => return Some(format!("storageclass.storage.k8s.io {class:?} not found")),
                Some(class) if class["volumeBindingMode"] == "WaitForFirstConsumer" => continue,
                Some(_) => return Some("PersistentVolume had no name".into()),
            }
        }
        let Some(found) = by_name(facts, "PersistentVolume", volume) else {
            return Some(format!("persistentvolume {volume:?} not found"));
        };
        wanted.extend(KEYS.into_iter().filter_map(|key| Some((key, label(found, key)?))));
    }
    let is_labelled = KEYS.iter().any(|key| label(target, key).is_some());
    let fits =
        |(key, zones): &(&str, &str)| label(target, key).is_some_and(|own| zones.split("__").any(|zone| zone == own));
    (is_labelled && !wanted.iter().all(fits)).then(|| "node(s) had no available volume zone".into())
}
