//! `daemonplan lint`.

use assert_cmd::Command;
use serde_json::Value;

use super::{PENDING, QUIET, file, run};

fn lint(args: &[&str]) -> Command {
    super::daemonplan(&[&["lint"], args].concat())
}

#[test]
fn findings_of_the_bundled_cluster_have_a_fix() {
    let (out, errors, code) = run(lint(QUIET).arg("trapped"));
    assert_eq!((errors.as_str(), code), ("", 0));
    assert_eq!(
        out,
        "trap/trapped
  error project-selector-conflict  Namespace: metadata.annotations[openshift.io/node-selector]
    the annotation openshift.io/node-selector excludes 8 nodes that the DaemonSet selects (worker-1, worker-2, worker-3 and \
         5 more): a controller that ignores it, such as that of Kubernetes, creates pods there, which stay Pending where admission adds the selector
    $ kubectl annotate namespace trap openshift.io/node-selector=\"\" --overwrite

1 DaemonSet: 1 error
"
    );
    let (out, _, _) = run(lint(QUIET).args(["trapped", "--all"]));
    assert!(out.contains("\n    worker-1, worker-2, worker-3, worker-4, "), "{out}");
    let (out, _, _) = run(lint(QUIET).args(["trapped", "--allow", "project-selector-conflict"]));
    assert_eq!(out, "1 DaemonSet: nothing found\n");
}

#[test]
fn denied_findings_fail() {
    let code = |args: &[&str]| run(lint(QUIET).args(args)).2;
    assert_eq!(code(&["trapped"]), 0);
    assert_eq!(code(&["trapped", "--deny", "error"]), 3);
    assert_eq!(code(&["trapped", "--deny", "warning"]), 3, "errors exceed warnings");
    assert_eq!(code(&["trapped", "--deny", "project-selector-conflict"]), 3);
    assert_eq!(code(&["trapped", "--deny", "no-history"]), 0);
    assert_eq!(code(&["trapped", "--deny", "error", "--allow", "project-selector-conflict"]), 0);
    let (_, errors, code) = run(lint(QUIET).args(["--deny", "everything"]));
    assert_eq!((code, errors.contains("possible values: error, warning, note, ")), (1, true));
}

#[test]
fn overlaps_with_unselected_daemonsets_are_found() {
    let daemonset = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}, namespace: ns}}\n\
         spec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}},
         spec: {{containers: [{{name: a, image: a:1}}]}}}}}}\n---\n"
        )
    };
    let (_folder, file) = file(&(daemonset("one") + &daemonset("two")));
    let (out, _, _) = run(lint(&["-f", &file, "one"]).args(["-o", "json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{out}");
    assert_eq!((&findings[0]["code"], &findings[0]["daemonSet"]["name"]), (&"selectors-overlap".into(), &"one".into()));
    assert!(findings[0]["message"].as_str().unwrap().contains("DaemonSet two"), "{out}");
    let (yaml, _, _) = run(lint(&["-f", &file, "one"]).args(["-o", "yaml"]));
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), report);
}

#[test]
fn a_manifest_needs_its_version_an_item_of_a_list_does_not() {
    let daemonset = "metadata: {name: agent}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: \
                     {a: b}}, spec: {containers: [{name: a, image: a:1}]}}}";
    let found = |text: &str| {
        let (_folder, file) = file(text);
        run(lint(&["-f", &file]).args(["--deny", "error"]))
    };
    let (out, _, code) = found(&format!("{{kind: DaemonSet, {daemonset}}}"));
    assert!(out.contains("error refused-by-api-server  DaemonSet: apiVersion\n    apiVersion not set\n"), "{out}");
    assert_eq!(code, 3, "{out}");
    let list = format!("{{apiVersion: apps/v1, kind: DaemonSetList, items: [{{{daemonset}}}]}}");
    let (out, _, code) = found(&list);
    assert!(out.starts_with("1 DaemonSet: nothing found\n"), "{out}");
    assert_eq!(code, 0);
}

#[test]
fn sarif_output_has_all_findings() {
    let (out, errors, code) = run(lint(PENDING).args(["-o", "sarif"]));
    assert_eq!((errors.as_str(), code), ("", 0));
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]),
        (&"2.1.0".into(), &"daemonplan".into())
    );
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!((&rule["id"], &rule["defaultConfiguration"]["level"]), (&result["ruleId"], &result["level"]));
        assert!(result["message"]["text"].as_str().unwrap().contains(". Fix: "));
        let location = &result["locations"][0];
        assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], "examples/pending.json");
        assert!(location["logicalLocations"][0]["fullyQualifiedName"].is_string());
    }
}

#[test]
fn the_help_names_all_codes() {
    let (help, _, _) = run(&mut lint(&["--help"]));
    for code in daemonplan::lint::Lint::ALL {
        assert!(help.contains(code.code()), "{code}");
    }
}

/// A DaemonSet's manifest whose parts are replaced.
fn daemonset(changes: &[(&str, &str)]) -> String {
    let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, namespace: prod}\nspec:\n  \
                selector: {matchLabels: {app: agent}}\n  updateStrategy: {rollingUpdate: {maxUnavailable: 1}}\n  \
                template:\n    metadata: {labels: {app: agent}}\n    \
                spec: {containers: [{name: agent, image: agent:1}]}\n";
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

#[test]
fn what_the_api_server_refuses_is_said_in_its_words() {
    const REFUSED: &str = "refused-by-api-server";
    for (from, to, code, field, message) in [
        (
            "maxUnavailable: 1",
            "maxSurge: 1",
            REFUSED,
            "spec.updateStrategy.rollingUpdate.maxSurge",
            "may not be set when maxUnavailable is non-zero",
        ),
        (
            "maxUnavailable: 1",
            "maxUnavailable: 0",
            REFUSED,
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "Required value: cannot be 0 when maxSurge is 0",
        ),
        (
            "labels: {app: agent}}\n",
            "labels: {app: other}}\n",
            REFUSED,
            "spec.template.metadata.labels",
            "`selector` does not match template `labels`",
        ),
        (
            "spec: {containers",
            "spec: {restartPolicy: Never, containers",
            REFUSED,
            "spec.template.spec.restartPolicy",
            "Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "{rollingUpdate: {maxUnavailable: 1}}",
            "{type: Rolling}",
            REFUSED,
            "spec.updateStrategy",
            "supported values: \"RollingUpdate\", \"OnDelete\"",
        ),
        (
            "maxUnavailable: 1",
            "maxUnavailable: one",
            REFUSED,
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            "a valid percent string must be a numeric string",
        ),
        (
            "spec: {containers",
            "spec: {hostNetwork: \"true\", containers",
            REFUSED,
            "spec.template.spec.hostNetwork",
            "cannot unmarshal string into Go struct field PodSpec",
        ),
        (
            "spec: {containers",
            "spec: {toleration: [], containers",
            "unknown-field",
            "spec.template.spec.toleration",
            "kubectl",
        ),
    ] {
        let (_folder, file) = file(&daemonset(&[(from, to)]));
        let (out, ..) = run(lint(&["-f", &file]).args(["-o", "json"]));
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let is_meant = |finding: &&Value| finding["code"] == code && finding["field"] == field;
        let finding = findings.iter().find(is_meant).unwrap_or_else(|| panic!("{to}: {out}"));
        assert!(finding["message"].as_str().unwrap().contains(message), "{finding}");
        assert_ne!(run(lint(&["-f", &file]).args(["--deny", "error"])).2, 0, "{to}");
    }
    let (_folder, good) = file(&daemonset(&[]));
    assert_eq!(run(lint(&["-f", &good]).args(["--deny", "note"])).2, 0, "what is accepted is not called refused");
}

#[test]
fn a_misplaced_field_is_named_with_the_right_place() {
    let misplaced =
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: , nodeSelectorTerms: []}}";
    for (from, to, similar) in [
        ("containers: [", "tolerationss: [], containers: [", "did you mean spec.template.spec.tolerations?"),
        (
            "spec: {containers",
            &format!("spec: {{{misplaced}, containers"),
            "did you mean spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms?",
        ),
        ("  selector:", "  maxSurge: 1\n  selector:", "did you mean spec.updateStrategy.rollingUpdate.maxSurge?"),
        ("  selector:", "  Selector: {}\n  selector:", "did you mean spec.selector?"),
    ] {
        let (_folder, file) = file(&daemonset(&[(from, to)]));
        let (out, ..) = run(&mut lint(&["-f", &file]));
        assert!(out.contains(similar), "{out}");
    }
}

#[test]
fn repeated_fields_are_named_in_yaml_and_in_json() {
    let yaml = daemonset(&[("  selector:", "  minReadySeconds: 1\n  minReadySeconds: 2\n  selector:")]);
    let json = r#"{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "prod"},
        "spec": {"minReadySeconds": 1, "minReadySeconds": 2, "selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}}"#;
    for text in [yaml.as_str(), json] {
        let (_folder, file) = file(text);
        let (_, errors, code) = run(&mut lint(&["-f", &file]));
        assert_eq!(code, 0, "{errors}");
        assert!(errors.contains("the field spec.minReadySeconds is given twice"), "{errors}");
    }
}

/// The results of a SARIF report, as `uri:line code`.
fn places(args: &[&str]) -> Vec<String> {
    let sarif: Value = serde_json::from_str(&run(lint(args).args(["-o", "sarif"])).0).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
    let place = |result: Value| {
        let physical = &result["locations"][0]["physicalLocation"];
        let (uri, line) = (&physical["artifactLocation"]["uri"], &physical["region"]["startLine"]);
        format!("{}:{line} {}", uri.as_str().unwrap(), result["ruleId"].as_str().unwrap())
    };
    results.into_iter().map(place).collect()
}

#[test]
fn sarif_names_the_real_line_of_files_folders_and_standard_input() {
    let dangerous = "examples/changes/dangerous.yaml";
    let expected = [
        format!("{dangerous}:23 surge-needs-port"),
        format!("{dangerous}:18 tolerates-everything"),
        format!("{dangerous}:10 no-history"),
    ];
    assert_eq!(places(&["-f", dangerous]), expected);
    assert_eq!(places(&["-f", "./examples/changes"])[..3], expected);
    let text = std::fs::read_to_string(super::root().join(dangerous)).unwrap();
    let out = run(lint(&["-f", "-", "-o", "sarif"]).write_stdin(text.clone())).0;
    assert!(out.contains(r#""uri": "standard%20input""#) && out.contains("physicalLocation"), "{out}");
    // The second document of a list, in a folder whose name is no URI.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.yaml");
    let indented: String = text.lines().skip(1).flat_map(|line| ["  ", line, "\n"]).collect();
    let list = format!("# a comment\n---\nkind: ConfigMap\n---\nkind: List\nitems:\n-{}", &indented[1..]);
    std::fs::write(&path, list).unwrap();
    let found = places(&["-f", path.to_str().unwrap()]);
    assert!(found[2].contains("a%20b.yaml:15 no-history") && found[2].starts_with("file:///"), "{found:?}");
    // A DaemonSet that cannot be read has a place, too.
    let (_folder, broken) = file(&daemonset(&[("maxUnavailable: 1", "maxUnavailable: one")]));
    assert!(
        places(&["-f", &broken])[0].contains("input.yaml:6 refused-by-api-server"),
        "{:?}",
        places(&["-f", &broken])
    );
}

#[test]
fn sarif_rules_have_all_that_github_shows() {
    let sarif: Value = serde_json::from_str(&run(lint(QUIET).args(["-o", "sarif"])).0).unwrap();
    let driver = &sarif["runs"][0]["tool"]["driver"];
    assert!(driver["informationUri"].as_str().unwrap().starts_with("https://"));
    for rule in driver["rules"].as_array().unwrap() {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(rule[text]["text"].as_str().unwrap().ends_with('.'), "{rule}");
        }
        assert!(rule["helpUri"].as_str().unwrap().starts_with("https://"), "{rule}");
    }
    let namespace = places(&[QUIET, &["-n", "trap"]].concat());
    assert!(namespace[0].starts_with("examples/quiet.json:") && !namespace[0].contains(":1 "), "{namespace:?}");
}

#[test]
fn what_a_feature_of_the_cluster_allows_is_not_refused() {
    let comparison =
        daemonset(&[("spec: {containers", "spec: {tolerations: [{key: a, operator: Gt, value: \"1\"}], containers")]);
    let (_folder, comparison) = file(&comparison);
    assert_eq!(run(&mut lint(&["-f", &comparison, "--deny", "error"])).2, 3);
    assert_eq!(run(&mut lint(&["-f", &comparison, "--deny", "error", "--toleration-comparison"])).2, 0);
    let restarts = daemonset(&[("image: agent:1}", "image: agent:1, restartPolicy: Never}")]);
    let (_folder, restarts) = file(&restarts);
    assert_eq!(
        run(&mut lint(&["-f", &restarts, "--deny", "error"])).2,
        0,
        "containers have restart policies since 1.35"
    );
}

#[test]
fn each_of_several_documents_of_one_name_is_checked() {
    let daemonset = |image: &str, surge: u8| {
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  \
             updateStrategy: {{rollingUpdate: {{maxSurge: {surge}}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    \
             spec: {{containers: [{{name: a, image: {image}}}]}}\n"
        )
    };
    for surges in [[1, 0], [0, 1]] {
        let [first, second] = surges.map(|surge| daemonset(if surge == 1 { "a:1" } else { "a:2" }, surge));
        let (_folder, file) = file(&format!("{first}---\n{second}"));
        let (out, _, code) = run(lint(&["-f", &file]).args(["--deny", "error", "-o", "sarif"]));
        let sarif: Value = serde_json::from_str(&out).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        assert_eq!((results.len(), code), (1, 3), "{out}");
        let line = if surges[0] == 1 { 6 } else { 16 };
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"], line, "{out}");
        let (out, _, _) = run(&mut lint(&["-f", &file]));
        assert!(out.contains("\n1 DaemonSet: 1 error\n"), "{out}");
    }
}
