//! The planner agrees with the reference implementation of its rules on any generated cluster.

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
    fn the_planner_agrees_with_the_rules_on_up_to_fifty_nodes(facts in clusters(0..=50)) {
        check_agreement(&facts);
    }

    #[test]
    fn the_planner_agrees_with_the_rules_on_policies(facts in guided_clusters(0..8)) {
        check_agreement(&facts);
    }

    #[test]
    fn the_planner_agrees_with_the_rules_on_policies_on_up_to_fifty_nodes(facts in guided_clusters(8..=50)) {
        check_agreement(&facts);
    }
}
