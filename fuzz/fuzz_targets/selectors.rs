//! Selectors, tolerations and templates in JSON: yields an error or a value, and label selectors survive a round trip.
#![no_main]

use daemonplan::model::{IntOrPercent, LabelSelector, Labels, Node, NodeSelector, PodTemplate, Taint, Toleration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let labels = Labels::from_iter([("a", "b"), ("role", "worker"), ("n", "7")]);
    if let Ok(selector) = serde_json::from_slice::<LabelSelector>(json) {
        let written = serde_json::to_vec(&selector).unwrap();
        let read: LabelSelector = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, selector);
        assert_eq!(read.matches(&labels), selector.matches(&labels));
    }
    let mut node = Node::new("node-0");
    node.labels = labels;
    if let Ok(selector) = serde_json::from_slice::<NodeSelector>(json) {
        assert_eq!(selector.matches(&node), selector.terms().iter().any(|term| term.mismatch(&node).is_none()));
    }
    if let (Ok(toleration), Ok(taint)) =
        (serde_json::from_slice::<Toleration>(json), serde_json::from_slice::<Taint>(json))
    {
        let compared = toleration.tolerates(&taint, true);
        assert!(compared || !toleration.tolerates(&taint, false), "comparison only adds");
    }
    if let Ok(bound) = serde_json::from_slice::<IntOrPercent>(json) {
        assert!(bound.of(usize::MAX) >= bound.of(1));
    }
    if let Ok(template) = serde_json::from_slice::<PodTemplate>(json) {
        let written = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<PodTemplate>(&written).unwrap(), template);
    }
});
