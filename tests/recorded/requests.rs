//! What pods request, compared with what Kubernetes' own helpers answered: see `README.md`.

use std::io::{BufRead, BufReader};

use daemonplan::{
    model::{Pod, Quantity, ResourceList},
    scheduling::Amounts,
};
use flate2::read::GzDecoder;
use serde_json::Value;

fn cases() -> impl Iterator<Item = Value> {
    let text = BufReader::new(GzDecoder::new(&include_bytes!("requests.jsonl.gz")[..]));
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Amounts are compared as numbers: the spelling of the API server depends on that of the manifest.
fn assert_list(found: &ResourceList, expected: &Value, what: &str) {
    let expected: ResourceList = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(found, &expected, "{what}");
}

fn assert_exact(found: &ResourceList, expected: &Value, what: &str) {
    let expected = expected.as_object().unwrap();
    assert_eq!(found.iter().count(), expected.len(), "{what}: {found:?}");
    for (resource, exact) in expected {
        let quantity = found.get(resource);
        let decimal: Quantity = exact["decimal"].as_str().unwrap().parse().unwrap();
        assert_eq!(quantity, decimal, "{what}: {resource}");
        assert_eq!(wrapped(quantity.milli()), exact["milli"], "{what}: {resource}");
        assert_eq!(wrapped(quantity.value()), exact["value"], "{what}: {resource}");
    }
}

/// Kubernetes keeps 64 bits of an amount.
#[allow(clippy::cast_possible_truncation)]
fn wrapped(amount: i128) -> i64 {
    amount as i64
}

#[test]
fn pods_request_what_kubernetes_counts() {
    let (mut count, mut added_twice) = (0, 0);
    for case in cases() {
        let (name, expect) = (&case["name"], &case["expect"]);
        let what = |part: &str| format!("{name}: {part}");
        let pod = match serde_json::from_value::<Pod>(case["pod"].clone()) {
            Ok(pod) => pod,
            Err(error) => {
                assert!(expect["decodeError"].is_string(), "{name}: {error}");
                count += 1;
                continue;
            }
        };
        assert!(expect["decodeError"].is_null(), "{name}: {}", expect["decodeError"]);
        let spec = pod.spec.as_deref().unwrap();
        assert_exact(&spec.requests(), &expect["requestsExact"], &what("requests"));
        assert_exact(&spec.limits(), &expect["limitsExact"], &what("limits"));
        assert_list(&spec.containers_requests(), &expect["containersOnly"], &what("containers only"));
        for (field, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
            let expected = expect["defaulted"][field].as_array().unwrap();
            assert_eq!(containers.len(), expected.len(), "{name}");
            for (container, expected) in containers.iter().zip(expected) {
                let (requests, limits) = (&container.resources.requests, &container.resources.limits);
                assert_list(requests, expected.get("requests").unwrap_or(&Value::Object(<_>::default())), &what(field));
                assert_list(limits, expected.get("limits").unwrap_or(&Value::Object(<_>::default())), &what(field));
            }
        }
        assert_amounts(&Amounts::from(&spec.requests()), &expect["scheduler"], &what("scheduler"));
        let mut assigned = Amounts::from(&pod.assigned_requests().unwrap());
        let recorded = expect["assigned"]["memory"].as_i64().unwrap();
        if recorded != assigned.memory {
            // The recorder asked twice about the same pod, and Kubernetes' helper had added the overhead to the pod's own
            // request in place the first time.
            assert!(spec.resources.requests.contains("memory") && spec.overhead.contains("memory"), "{name}");
            assigned.memory += Amounts::from(&spec.overhead).memory;
            added_twice += 1;
        }
        assert_amounts(&assigned, &expect["assigned"], &what("assigned"));
        count += 1;
    }
    assert_eq!((count, added_twice), (1500, 28));
}

fn assert_amounts(found: &Amounts, expected: &Value, what: &str) {
    let mut expected = expected.clone();
    let scalar = expected["scalar"].take();
    let mut found = serde_json::to_value(found).unwrap();
    let own = found["scalar"].take();
    assert_eq!(found, expected, "{what}");
    let without_zeros = |amounts: &Value| {
        let amounts = amounts.as_object().into_iter().flatten();
        amounts
            .filter(|(_, amount)| **amount != 0)
            .map(|(name, amount)| (name.clone(), amount.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(without_zeros(&own), without_zeros(&scalar), "{what}");
}
