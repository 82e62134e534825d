//! What the API server stores, it stores again as it is.

use daemonplan::{api_server::stored, strategies::clusters};
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_stored_is_stored_as_it_is(facts in clusters(0..=1)) {
        let manifest = serde_json::to_value(&facts.daemonset).unwrap();
        let once = stored(&manifest);
        prop_assert_eq!(&stored(&once), &once);
        let known: daemonplan::model::DaemonSet = serde_json::from_value(once).unwrap();
        prop_assert_eq!(known.update_strategy, facts.daemonset.update_strategy);
        prop_assert_eq!(known.template.node_selector(), facts.daemonset.template.node_selector());
        prop_assert_eq!(known.template.tolerations(), facts.daemonset.template.tolerations());
    }
}
