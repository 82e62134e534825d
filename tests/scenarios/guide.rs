//! The controller in the guide `embed`.

use std::{fs::File, path::Path};

#[path = "../../examples/controller.rs"]
#[allow(dead_code)] // its `main`
mod controller;

#[test]
fn the_controller_in_the_guide_settles_the_bundled_cluster() {
    let mut manifests = daemonplan::manifest::Manifests::default();
    manifests
        .read("pending.json", File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pending.json")).unwrap())
        .unwrap();
    let writes = controller::run(manifests.objects(), "2026-11-23T23:08:27Z".parse().unwrap());
    assert!(writes.len() > 40 && writes.len() < 60, "{writes:#?}");
    assert!(writes.iter().all(|write| !write.contains("planned again")), "{writes:#?}");
    assert!(writes.contains(&"trap/trapped: create pod on worker-9: no pod on this node".to_owned()), "{writes:#?}");
}
