//! The plugins for volumes agree with the second implementation.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    reference_scheduler::{Facts, blockers},
    scheduling::{Read, clusters, pod, set},
};

const CLASSES: [&str; 4] = ["wait", "now", "", "missing"];

fn sizes() -> impl Strategy<Value = &'static str> {
    select(vec!["1Gi", "2Gi", "2048Mi", "3Gi"])
}

fn modes() -> impl Strategy<Value = Vec<&'static str>> {
    select(vec![vec!["ReadWriteOnce"], vec!["ReadWriteOncePod"], vec!["ReadWriteOnce", "ReadOnlyMany"]])
}

/// Volumes for pods: claims, ephemeral ones, and disks that pods cannot share.
fn volumes() -> impl Strategy<Value = Vec<Value>> {
    let claim = prop_oneof![9 => 0..3_usize, 1 => 3..5_usize]
        .prop_map(|number| json!({"persistentVolumeClaim": {"claimName": format!("claim-{number}")}}));
    let disk = (select(vec!["disk-a", "disk-b"]), any::<bool>())
        .prop_map(|(name, read_only)| json!({"gcePersistentDisk": {"pdName": name, "readOnly": read_only}}));
    let volume = prop_oneof![6 => claim, 1 => disk, 1 => Just(json!({"name": "scratch", "ephemeral": {}}))];
    vec(volume, 0..3)
}

/// Claims of the names `claim-0` to `claim-3` in both namespaces, and those of ephemeral volumes of the pod.
fn claims() -> impl Strategy<Value = Vec<Value>> {
    let place = (select(vec!["default", "shop"]), select(CLASSES.to_vec()), modes(), option::of(sizes()));
    let state = (0..8, option::weighted(0.2, select(vec!["node-0", "node-1"])), option::weighted(0.2, Just("x")));
    let claim = (place, state, 0..4_usize).prop_map(
        |((namespace, class, modes, size), (state, selected, selector), volume)| {
            let mut claim = json!({
                "kind": "PersistentVolumeClaim", "metadata": {"namespace": namespace, "annotations": {}},
                "spec": {"storageClassName": class, "accessModes": modes, "resources": {"requests": {}}},
                "status": {"phase": "Pending"},
            });
            set(&mut claim["spec"]["resources"]["requests"], "storage", size);
            if state < 4 {
                claim["spec"]["volumeName"] = json!(format!("volume-{volume}"));
                claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
            } else {
                set(&mut claim["metadata"]["annotations"], "volume.kubernetes.io/selected-node", selected);
                set(&mut claim["spec"], "selector", selector.map(|disk| json!({"matchLabels": {"disk": disk}})));
            }
            match state {
                5 => claim["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z"),
                6 => claim["status"]["phase"] = json!("Lost"),
                _ => {}
            }
            claim
        },
    );
    (vec(claim, 5..9), option::of(select(vec!["pending", "other"]))).prop_map(|(mut claims, owner)| {
        for (number, claim) in claims.iter_mut().enumerate() {
            claim["metadata"]["name"] = json!(format!("claim-{}", number / 2));
            claim["metadata"]["uid"] = json!(format!("uid-{}", number / 2));
            claim["metadata"]["namespace"] = json!(if number % 2 == 0 { "default" } else { "shop" });
        }
        if let Some(owner) = owner {
            let mut claim = claims[0].clone();
            claim["metadata"]["name"] = json!("pending-scratch");
            claim["metadata"]["ownerReferences"] =
                json!([{"kind": "Pod", "name": "pending", "uid": format!("uid-{owner}"), "controller": true}]);
            claims.push(claim);
        }
        claims
    })
}

fn persistent_volumes() -> impl Strategy<Value = Vec<Value>> {
    let kind = (select(CLASSES[..3].to_vec()), sizes(), modes(), select(vec!["Available", "Bound"]));
    let rules = (
        option::weighted(0.3, select(vec!["a", "b"])),
        option::weighted(0.3, select(vec!["a", "b", "a__b"])),
        option::weighted(0.3, (0..4_usize, select(vec!["", "uid-0", "uid-1"]))),
        option::of(select(vec!["csi-a", "csi-b"])),
        prop::bool::weighted(0.1),
    );
    let volume = (kind, rules).prop_map(|((class, size, modes, phase), (zone, label, claim, driver, is_going))| {
        let mut volume = json!({
            "kind": "PersistentVolume", "metadata": {"labels": {"disk": if size == "1Gi" { "x" } else { "y" }}},
            "spec": {"storageClassName": class, "capacity": {"storage": size}, "accessModes": modes},
            "status": {"phase": phase},
        });
        set(&mut volume["metadata"]["labels"], "topology.kubernetes.io/zone", label);
        let term = |zone| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
        set(
            &mut volume["spec"],
            "nodeAffinity",
            zone.map(|zone| json!({"required": {"nodeSelectorTerms": [term(zone)]}})),
        );
        let claim =
            claim.map(|(number, uid)| json!({"namespace": "default", "name": format!("claim-{number}"), "uid": uid}));
        set(&mut volume["spec"], "claimRef", claim);
        set(&mut volume["spec"], "csi", driver.map(|driver| json!({"driver": driver})));
        if is_going {
            volume["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        }
        volume
    });
    vec(volume, 0..5).prop_map(|mut volumes| {
        for (number, volume) in volumes.iter_mut().enumerate() {
            volume["metadata"]["name"] = json!(format!("volume-{number}"));
            if volume["spec"]["csi"].is_object() {
                volume["spec"]["csi"]["volumeHandle"] = json!(format!("handle-{number}"));
            }
        }
        volumes
    })
}

/// The classes, drivers, and what drivers say about nodes.
fn drivers() -> impl Strategy<Value = Vec<Value>> {
    let maker = select(vec!["csi-a", "csi-b", "kubernetes.io/no-provisioner"]);
    let zones = option::weighted(0.3, vec(select(vec!["a", "b"]), 0..2));
    let limits = vec(option::of((select(vec!["csi-a", "csi-b"]), 0..3)), 3);
    let capacity = (any::<bool>(), vec((sizes(), option::of(sizes()), option::of(select(vec!["a", "b"]))), 0..3));
    let attached = vec((0..5_usize, 0..3_usize), 0..3);
    (maker, zones, limits, capacity, attached).prop_map(|(maker, zones, limits, (reports, capacities), attached)| {
        let class = |name: &str, mode: &str| {
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
                "provisioner": maker, "volumeBindingMode": mode})
        };
        let mut wait = class("wait", "WaitForFirstConsumer");
        let terms = zones.map(|zones| json!([{"matchLabelExpressions": [{"key": "zone", "values": zones}]}]));
        set(&mut wait, "allowedTopologies", terms);
        let mut all = vec![wait, class("now", "Immediate")];
        all.push(json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi-a"},
            "spec": {"storageCapacity": reports}}));
        all.extend(limits.into_iter().enumerate().filter_map(|(number, limit)| {
            let (driver, count) = limit?;
            let drivers = json!([{"name": driver, "nodeID": "x", "allocatable": {"count": count}}]);
            Some(json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": format!("node-{number}")},
                "spec": {"drivers": drivers}}))
        }));
        all.extend(capacities.into_iter().enumerate().map(|(number, (size, largest, zone))| {
            let nodes = zone.map_or(json!({}), |zone| json!({"matchLabels": {"zone": zone}}));
            let mut capacity = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity",
                "metadata": {"name": format!("capacity-{number}"), "namespace": "default"},
                "storageClassName": "wait", "nodeTopology": nodes, "capacity": size});
            set(&mut capacity, "maximumVolumeSize", largest);
            capacity
        }));
        all.extend(attached.into_iter().enumerate().map(|(number, (volume, node))| {
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": format!("attached-{number}")},
                "spec": {"attacher": "csi-a", "nodeName": format!("node-{node}"),
                    "source": {"persistentVolumeName": format!("volume-{volume}")}}})
        }));
        all
    })
}

/// A cluster with volumes, a pod for one of its nodes, and that node.
fn clusters_with_volumes() -> impl Strategy<Value = (Facts, Value, String)> {
    let storage = (claims(), persistent_volumes(), drivers());
    (clusters(), storage, vec(volumes(), 8), vec(option::of(select(vec!["a", "b"])), 4)).prop_map(
        |((mut facts, mut pending, target), (claims, persistent, drivers), volumes, zones)| {
            facts.storage = [claims, persistent, drivers].concat();
            let (own, others) = volumes.split_first().unwrap();
            for (other, volumes) in facts.pods.iter_mut().zip(others) {
                // Ephemeral volumes of others need claims of their own, which the pod's uid shows.
                other["spec"]["volumes"] = volumes.iter().filter(|own| own["ephemeral"].is_null()).cloned().collect();
            }
            pending["metadata"]["uid"] = json!("uid-pending");
            pending["spec"]["volumes"] = json!(own);
            for (node, zone) in facts.nodes.iter_mut().zip(zones) {
                set(&mut node["metadata"]["labels"], "topology.kubernetes.io/zone", zone);
            }
            (facts, pending, target)
        },
    )
}

proptest! {
    #[test]
    fn plugins_for_volumes_refuse_what_the_second_implementation_refuses((facts, pending, target) in clusters_with_volumes()) {
        let expected: Vec<_> = blockers(&facts, &pending, &target).into_iter().collect();
        let mut found = Read::of(&facts).refusals(&pod(&pending));
        for (_, reasons) in &mut found {
            reasons.sort_unstable();
        }
        prop_assert_eq!(found, expected);
    }
}
