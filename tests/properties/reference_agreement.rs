//! The planner agrees with a slow re-statement of its rules on any generated cluster.

use crate::reference::check_agreement;
use daemonplan::strategies::{clusters, guided_clusters};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties/reference_agreement.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_planner_agrees_with_the_rules_on_small_clusters(facts in clusters(0..4)) {
        check_agreement(&facts);
    }

    #[test]
    fn the_planner_agrees_with_the_rules_on_clusters_of_up_to_fifty_nodes(facts in clusters(0..=50)) {
        check_agreement(&facts);
    }

    #[test]
    fn so_it_does_where_updates_keep_to_policies(facts in guided_clusters(0..8)) {
        check_agreement(&facts);
    }

    #[test]
    fn so_it_does_with_policies_on_clusters_of_up_to_fifty_nodes(facts in guided_clusters(8..=50)) {
        check_agreement(&facts);
    }
}
