//! `daemonplan history` and `daemonplan undo`.

use serde_json::{Value, json};

use super::{QUIET, daemonplan, file, json, run};

const AGENT: &[&str] = &["-n", "monitoring", "node-exporter"];

#[test]
fn history_lists_the_revisions_of_the_bundled_cluster() {
    let (out, errors, code) = run(&mut daemonplan(&[&["history"], QUIET, AGENT].concat()));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert_eq!(
        out,
        "monitoring/node-exporter
  revision  hash         pods  available  change cause
         2  766f5dd689      5          5  (current)
         1  55c5865db8      2          2
"
    );
    let report = json(&[&["history"], QUIET, AGENT].concat());
    let revision = &report["histories"][0]["revisions"][1];
    assert_eq!((&revision["number"], &revision["isCurrent"]), (&1.into(), &false.into()));
}

#[test]
fn history_shows_one_revision_with_its_template() {
    let (out, _, code) = run(&mut daemonplan(&[&["history"], QUIET, AGENT, &["--revision", "1"]].concat()));
    assert_eq!(code, 0);
    assert!(out.contains("image: registry.example/node-exporter:1.8.0") && !out.contains("1.9.0"), "{out}");
    let (_, errors, code) = run(&mut daemonplan(&[&["history"], QUIET, AGENT, &["--revision", "9"]].concat()));
    assert_eq!((errors.as_str(), code), ("error: revision 9 does not exist\n", 1));
}

#[test]
fn a_template_that_failed_is_marked() {
    let text = std::fs::read_to_string(super::example("quiet.json")).unwrap();
    let mut cluster: Value = serde_json::from_str(&text).unwrap();
    let mut with = |failure: Value| {
        let record = json!({"failed": [failure]}).to_string();
        let objects = cluster["items"].as_array_mut().unwrap().iter_mut();
        for daemonset in objects.filter(|object| object["kind"] == "DaemonSet") {
            if daemonset["metadata"]["name"] == "node-exporter" {
                daemonset["metadata"]["annotations"]["daemonplan/rollout-record"] = record.clone().into();
            }
        }
        file(&cluster.to_string())
    };
    let run_on = |cluster: &str, command: &str, more: &[&str]| {
        run(&mut daemonplan(&[&[command, "-f", cluster, "--now", "2026-11-23T23:08:30Z"], AGENT, more].concat()))
    };
    let mut failure = json!({"hash": "55c5865db8", "at": "2026-11-23T22:00:00Z", "reason": "6 restarts on n1"});
    let (_folder, cluster) = with(failure.clone());
    (failure["restored"], failure["isPaused"]) = ("1".into(), true.into());
    let (_other_folder, twice) = with(failure);
    let (out, ..) = run_on(&twice, "history", &[]);
    assert!(out.ends_with("(failed at 2026-11-23T22:00:00Z, and again later: 6 restarts on n1)\n"), "{out}");
    let of = |command: &str, more: &[&str]| run_on(&cluster, command, more);
    let (out, ..) = of("history", &[]);
    assert!(
        out.ends_with("1  55c5865db8      2          2  (failed at 2026-11-23T22:00:00Z: 6 restarts on n1)\n"),
        "{out}"
    );
    let (out, ..) = of("history", &["-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["histories"][0]["revisions"][1]["failure"]["reason"], "6 restarts on n1");
    let (_, errors, code) = of("undo", &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("all other revisions have failed: give the number of one of them: 1"), "{errors}");
    let (_, errors, code) = of("undo", &["--to-revision", "1"]);
    assert_eq!((errors.as_str(), code), ("note: this revision failed at 2026-11-23T22:00:00Z: 6 restarts on n1\n", 0));
}

#[test]
fn undo_writes_the_whole_manifest_with_only_the_template_changed() {
    let given = std::fs::read_to_string(super::example("quiet.json")).unwrap();
    let given: Value = serde_json::from_str(&given).unwrap();
    let is_meant = |object: &&Value| object["kind"] == "DaemonSet" && object["metadata"]["name"] == "node-exporter";
    let mut expected = given["items"].as_array().unwrap().iter().find(is_meant).unwrap().clone();
    let (out, errors, code) = run(&mut daemonplan(&[&["undo"], QUIET, AGENT, &["-o", "json"]].concat()));
    assert_eq!((errors.as_str(), code), ("", 0));
    let mut written: Value = serde_json::from_str(&out).unwrap();
    let image = |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(
        (image(&expected), image(&written)),
        ("registry.example/node-exporter:1.9.0".into(), "registry.example/node-exporter:1.8.0".into())
    );
    for object in [&mut expected, &mut written] {
        object["spec"]["template"] = Value::Null;
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        object.as_object_mut().unwrap().remove("status");
    }
    assert_eq!(written, expected, "expected labels and resourceVersion to be unchanged");

    let (yaml, ..) = run(&mut daemonplan(&[&["undo"], QUIET, AGENT, &["--to-revision", "1"]].concat()));
    let (_folder, before) = file(&yaml);
    let diff = json(&[&["diff", "--with", &before], QUIET, AGENT].concat());
    assert_eq!(diff["diffs"][0]["fields"].as_array().unwrap().len(), 1, "{diff}");
}

#[test]
fn an_impossible_undo_is_an_error() {
    let error = |args: &[&str]| run(&mut daemonplan(&[&["undo"], QUIET, args].concat())).1;
    assert_eq!(error(&[AGENT, &["--to-revision", "2"]].concat()), "error: revision 2 is already the current one\n");
    assert_eq!(
        error(&[AGENT, &["--to-revision", "5"]].concat()),
        "error: revision 5 does not exist; expected one of: 1, 2\n"
    );
    assert_eq!(error(&["-n", "trap", "trapped"]), "error: no revision exists other than the current one\n");
    assert_eq!(error(&[]), "error: expected one DaemonSet, found several: give its name and its namespace (-n)\n");
}

#[test]
fn undo_writes_yaml_that_kubectl_reads_back_as_the_same_values() {
    let words = [
        "yes",
        "no",
        "on",
        "y",
        "0644",
        "0o644",
        "1_000",
        "1e3",
        ".5",
        "~",
        "null",
        "0x1A",
        "12:30",
        "2001-01-01",
        "<<",
    ];
    let env: Vec<_> = words.iter().map(|word| json!({"name": "A", "value": word})).collect();
    let template = |image: &str| {
        json!({"metadata": {"labels": {"app": "agent", "on": "yes"}}, "spec": {"containers": [
            {"name": "agent", "image": image, "args": words, "env": env, "workingDir": " a: b # c"}]}})
    };
    let revision = |number: i64, image: &str| {
        let mut template = template(image);
        template["$patch"] = "replace".into();
        let data = json!({"spec": {"template": template}});
        let metadata = json!({"name": format!("agent-{number}"), "namespace": "prod", "labels": {"app": "agent", "on": "yes"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u", "controller": true}]});
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": number, "data": data})
    };
    let daemonset = json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "prod", "uid": "u", "annotations": {"yes": "no"}},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent:2")}});
    let list = json!({"kind": "List", "items": [daemonset, revision(1, "agent:1"), revision(2, "agent:2")]});
    let (_folder, cluster) = file(&list.to_string());
    let args = ["undo", "-f", &cluster];
    let (yaml, errors, code) = run(&mut daemonplan(&args));
    assert_eq!((errors.as_str(), code), ("", 0));
    let mut manifests = daemonplan::manifest::Manifests::default();
    manifests.read("undone", yaml.as_bytes()).unwrap();
    let read = manifests.original(manifests.daemonsets().next().unwrap()).unwrap();
    let mut expected = daemonset;
    expected["spec"]["template"] = template("agent:1");
    assert_eq!(read, &expected, "{yaml}");
}

#[test]
fn undo_beside_a_manifest_from_git_writes_the_live_object() {
    let args = ["undo", "node-exporter", "-f", "examples/quiet.json", "--now", "2026-11-23T23:08:30Z"];
    let undo = |more: &[&str]| -> Value {
        let (out, _, code) = run(daemonplan(&args).args(more).args(["-o", "json"]));
        assert_eq!(code, 0);
        serde_json::from_str(&out).unwrap()
    };
    let beside = undo(&["-f", "examples/changes/new-image.yaml", "--to-revision", "1"]);
    assert_eq!(beside, undo(&["--to-revision", "1"]));
    assert!(beside["metadata"]["uid"].is_string(), "{beside}");
}
