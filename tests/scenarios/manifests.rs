//! Reading manifests.

use daemonplan::manifest::{Manifests, Scope};

fn read(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read("x", text.as_bytes()).unwrap();
    manifests
}

fn problems(text: &str) -> Vec<String> {
    read(text).problems().iter().map(ToString::to_string).collect()
}

fn scope(text: &str) -> Scope {
    read(text).problems()[0].scope.clone()
}

#[test]
fn yaml_documents_json_documents_and_lists_are_the_same() {
    let yaml =
        "# a comment\n---\nkind: Node\nmetadata: {name: a}\n--- # another\nkind: Node\nmetadata: {name: b}\n---\n";
    let json = r#" {"kind": "Node", "metadata": {"name": "a"}} {"kind": "Node", "metadata": {"name": "b"}}"#;
    let list = r#"{"apiVersion": "v1", "items": [{"kind": "Node", "metadata": {"name": "a"}},
        {"kind": "Node", "metadata": {"name": "b"}}], "kind": "List"}"#;
    let typed = r#"{"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}"#;
    let marked = format!("\u{feff}{json}");
    let indented = "\n  kind: Node\n  metadata: {name: a}\n---\n  kind: Node\n  metadata: {name: b}\n";
    let ended = "%YAML 1.2\n---\nkind: Node\nmetadata: {name: a}\n...\n# b\n%YAML 1.2\n---\nkind: Node\nmetadata: {name: b}\n...\n";
    let json_first = "{\"kind\": \"Node\", \"metadata\": {\"name\": \"a\"}}\n---\nkind: Node\nmetadata: {name: b}\n";
    let yaml_first = "kind: Node\nmetadata: {name: a}\n---\n{\"kind\": \"Node\", \"metadata\": {\"name\": \"b\"}}\n";
    let flow = "{kind: Node, metadata: {name: a}}\n---\n{ kind: Node, metadata: {name: b}}\n";
    for text in [yaml, json, list, typed, &marked, indented, ended, json_first, yaml_first, flow] {
        let manifests = read(text);
        assert!(manifests.problems().is_empty(), "{:?}", manifests.problems());
        assert_eq!(manifests.nodes().iter().map(|node| &*node.name).collect::<Vec<_>>(), ["a", "b"], "{text}");
    }
}

#[test]
fn empty_input_has_no_objects() {
    for (text, documents) in [
        ("", 0),
        ("\n\n", 0),
        ("---\n---\n# only a comment\n", 0),
        ("null", 1),
        (r#"{"kind": "List"}"#, 1),
        (r#"{"kind": "PodList", "items": null}"#, 1),
    ] {
        assert_eq!(problems(text), [""; 0], "{text:?}");
        assert_eq!(read(text).documents(), documents, "{text:?}");
    }
}

#[test]
fn other_kinds_and_other_groups_are_skipped_and_counted() {
    let text = "kind: Deployment\n---\nkind: Deployment\n---\napiVersion: infra.example/v1\nkind: Node\n";
    let manifests = read(text);
    let skipped: Vec<_> = manifests.skipped().iter().map(|object| &*object.kind).collect();
    assert_eq!(skipped, ["Deployment", "Deployment", "Node.infra.example"]);
    assert_eq!(manifests.nodes().len(), 0);
}

#[test]
fn of_duplicate_objects_the_last_counts() {
    let manifests = read("kind: Node\nmetadata: {name: a, uid: x}\n---\nkind: Node\nmetadata: {name: a, uid: z}\n");
    assert_eq!((manifests.nodes().len(), &*manifests.nodes()[0].uid, manifests.replaced()), (1, "z", 1));
}

#[test]
fn problems_name_file_document_item_object_field_expected_and_found() {
    assert_eq!(
        problems(
            "kind: Node\nmetadata: {name: a}\n---\nkind: List\nitems:\n- kind: Node\n  metadata: {name: b}\n- kind: Pod\n  metadata: {name: p, namespace: ns, labels: 7}\n"
        ),
        ["x: document 2, item 2: Pod ns/p: metadata.labels: expected a map of strings, found integer `7`"]
    );
    assert_eq!(
        problems("kind: DaemonSet\nmetadata: {name: d}\nspec: {template: {spec: {tolerations: [{key: 5}]}}}\n"),
        [
            "x: document 1: DaemonSet d: spec.template.spec.tolerations.key: json: cannot unmarshal number into Go struct field \
              Toleration.spec.template.spec.tolerations.key of type string"
        ]
    );
    assert_eq!(
        problems("kind: Pod\nmetadata: {name: 7}\n"),
        ["x: document 1: Pod without a name: metadata.name: expected a string, found integer `7`"]
    );
    assert_eq!(problems("metadata: {name: a}\n"), ["x: document 1: kind: expected the kind of an object, found none"]);
    assert_eq!(
        problems("kind: Node\nmetadata: {name: a}\n---\nkind: [\n---\nkind: Node\n"),
        [
            "x: document 2: invalid YAML: line 5 of the file: while parsing a node, did not find \
             expected node content",
            "x: document 3: Node without a name: metadata.name: expected a name, found none",
        ]
    );
    assert_eq!(
        problems("{\"kind\": \"Node\",\n\"metadata\": {\"name\": \"a\"}}\n\n{\"kind\""),
        ["x: document 2: invalid JSON: line 4, column 7 of the file: EOF while parsing an object"]
    );
    assert_eq!(
        problems(r#"{"kind": "Node", "metadata": {"name": "a"}} {"kind""#),
        ["x: document 2: invalid JSON: line 1, column 51 of the file: EOF while parsing an object"]
    );
    assert_eq!(
        problems("{\"kind\": \"Node\",\n\"metadata\": {\"name\": \"a\"}}\n---\n\nkind: [\n"),
        ["x: document 2: invalid YAML: line 6 of the file: while parsing a node, did not find \
             expected node content"]
    );
}

#[test]
fn a_problem_is_short_however_long_the_input_is() {
    let long = "é".repeat(1_000_000);
    let labels = format!("kind: Node\nmetadata: {{name: a, labels: {long}}}\n");
    let name = format!("kind: Node\nmetadata: {{name: {long}, labels: 7}}\n");
    let key = format!(r#"{{"kind": "Node", "metadata": {{"name": "a", "labels": {{"{long}": 7}}}}}}"#);
    for text in [labels, name, key, long] {
        let problem = &problems(&text)[0];
        assert!(problem.len() < 800 && problem.contains("expected a") && problem.contains(" … "), "{problem}");
    }
}

#[test]
fn deep_nesting_is_read_or_a_problem_but_never_a_crash() {
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let daemonset = |field: &str, n: usize| {
        let field = format!(r#""{field}": {}"#, deep(n));
        format!(
            r#"{{"kind": "DaemonSet", "metadata": {{"name": "d"}}, "spec": {{"template": {{"spec": {{{field}}}}}}}}}"#
        )
    };
    assert_eq!(problems(&daemonset("field", 100)), [""; 0]);
    let problem = problems(&daemonset("field", 100_000)).join("");
    assert!(problem.starts_with("x: document 1: DaemonSet d: spec.template.spec.field[0][0]"), "{problem}");
    assert!(problem.ends_with("[0][0]: recursion limit exceeded") && problem.len() < 500, "{problem}");
    let yaml = daemonset("field", 100_000).replace("{\"kind\"", "---\n{\"kind\"");
    assert_eq!(problems(&yaml).len(), 1, "{:?}", problems(&yaml));
}

#[test]
fn numbers_and_times_are_accepted_up_to_their_limits() {
    let daemonset = |field: &str, value: &str| {
        let (metadata, spec) = if field.starts_with("metadata") { (field, "spec.a") } else { ("metadata.a", field) };
        let field_of = |path: &str| path.rsplit('.').next().unwrap().to_owned();
        let (own, other) = (field_of(metadata), field_of(spec));
        problems(&format!("kind: DaemonSet\nmetadata: {{name: d, {own}: {value}}}\nspec: {{{other}: {value}}}\n"))
    };
    for (field, good, bad) in [
        ("metadata.generation", "9223372036854775807", "9223372036854775808"),
        ("metadata.generation", "-9223372036854775808", "-9223372036854775809"),
        ("metadata.deletionTimestamp", "\"9999-12-30T22:00:00Z\"", "\"10000-01-01T00:00:00Z\""),
        ("metadata.deletionTimestamp", "\"0000-01-01T00:00:00Z\"", "\"soon\""),
        ("spec.minReadySeconds", "4294967295", "4294967296"),
        ("spec.minReadySeconds", "0", "-1"),
        ("spec.revisionHistoryLimit", "4294967295", "1.5"),
    ] {
        assert_eq!(daemonset(field, good), [""; 0]);
        let problem = daemonset(field, bad).join("");
        assert!(problem.starts_with(&format!("x: document 1: DaemonSet d: {field}: ")), "{problem}");
    }
    for percent in ["2147483647%", "0%"] {
        let text = format!(
            "kind: DaemonSet\nmetadata: {{name: d}}\nspec: {{updateStrategy: {{rollingUpdate: {{maxSurge: {percent}}}}}}}\n"
        );
        assert_eq!(problems(&text), [""; 0]);
        let beyond = text.replace(percent, "2147483648%");
        assert!(problems(&beyond)[0].contains("found \"2147483648%\""), "{:?}", problems(&beyond));
    }
}

#[test]
fn yaml_alias_expansion_is_limited() {
    let level = |n: usize| {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("a{n}: &a{n} [{aliases}]\n")
    };
    let bomb: String = ["a0: &a0 [lol]\n".to_owned()].into_iter().chain((1..12).map(level)).collect();
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(5000), "*a,".repeat(5000));
    for bomb in [&bomb, &wide] {
        let problem = &problems(bomb)[0];
        assert!(problem.contains("expected aliases to expand the document at most 16-fold"), "{problem}");
    }
    let modest = "kind: Node\nmetadata: {name: a, labels: &l {role: worker}, annotations: *l}\n";
    assert_eq!(read(modest).nodes()[0].labels.get("role"), Some("worker"));
}

#[test]
fn of_a_repeated_field_the_last_value_counts_with_a_warning() {
    let manifests = read("kind: Node\nmetadata:\n  name: a\n  labels: {zone: one, zone: two}\n  name: b\n");
    assert_eq!((&*manifests.nodes()[0].name, manifests.nodes()[0].labels.get("zone")), ("b", Some("two")));
    let warnings: Vec<_> = manifests.warnings().iter().map(ToString::to_string).collect();
    let warning =
        |field| format!("x: document 1: the field {field} is given twice: as with kubectl, the last value counts");
    assert_eq!(warnings, [warning("metadata.labels.zone"), warning("metadata.name")]);
    let json =
        read(r#"{"kind": "Node", "metadata": {"name": "a", "name": "b"}, "metadata": {"uid": "1", "name": "c"}}"#);
    assert_eq!((json.problems().len(), &*json.nodes()[0].name), (0, "c"));
}

#[test]
fn merge_keys_set_fields_in_their_order_as_for_kubectl() {
    let text = "kind: Node\nmetadata:\n  labels: &a {zone: a, role: a}\n  annotations: {<<: *a, zone: own}\n  name: one\n---\n\
                kind: Node\nmetadata: {name: two, labels: {size: lost, <<: [{zone: x}, {zone: lost, role: z}], size: s}}\n---\n\
                kind: Node\nmetadata: {name: three, labels: {zone: own, <<: {zone: a}, <<: {zone: b}}}\n";
    let manifests = read(text);
    let labels = &manifests.nodes()[1].labels;
    assert_eq!((labels.get("zone"), labels.get("role"), labels.get("size")), (Some("x"), Some("z"), Some("s")));
    assert_eq!(manifests.nodes()[2].labels.get("zone"), Some("b"));
    assert_eq!(problems(text), [""; 0]);
    assert!(problems("kind: Node\nmetadata: {<<: 7}\n")[0].contains("expected a mapping to merge"));
}

#[test]
fn a_word_that_yaml_takes_for_a_boolean_is_explained() {
    assert_eq!(
        problems("kind: Node\nmetadata: {name: y}\n"),
        ["x: document 1: Node without a name: metadata.name: expected a string, found boolean `true`: in YAML, words \
          such as y, no and on need quotes"]
    );
}

#[test]
fn invalid_utf_8_is_a_problem_and_not_replaced() {
    for (text, problem) in [
        (
            &b"kind: Node\nmetadata: {name: a}\n---\nkind: Node\nmetadata: {name: \xff}\n"[..],
            "invalid YAML: line 5 of the file: expected UTF-8, found invalid bytes",
        ),
        (
            b"{\"kind\": \"Node\"}{\"kind\": \"Node\", \"metadata\": {\"name\": \"\xff\"}}",
            "invalid JSON: line 1, column 56 of the file: expected UTF-8, found invalid bytes",
        ),
    ] {
        let mut manifests = Manifests::default();
        manifests.read("x", text).unwrap();
        assert_eq!(manifests.problems().last().unwrap().to_string(), format!("x: document 2: {problem}"));
    }
}

#[test]
fn a_problem_blocks_only_the_plans_that_it_affects() {
    let bad_pod = |owner: &str| {
        format!("kind: Pod\nmetadata: {{name: p, namespace: ns, labels: 7, ownerReferences: [{owner}]}}\n")
    };
    let owned = bad_pod("{kind: DaemonSet, name: d, controller: true}");
    assert_eq!(scope(&owned), Scope::DaemonSet("ns".into(), "d".into()));
    assert_eq!(scope(&bad_pod("{kind: ReplicaSet, name: r, controller: true}")), Scope::Nothing);
    assert_eq!(scope(&bad_pod("")), Scope::Namespace("ns".into()));
    assert_eq!(scope("kind: Node\nmetadata: {name: a, labels: 7}\n"), Scope::Everything);
    assert_eq!(scope("kind: Namespace\nmetadata: {name: ns, annotations: 7}\n"), Scope::Namespace("ns".into()));

    let daemonsets = "---\nkind: DaemonSet\nmetadata: {name: d, namespace: ns}\n---\nkind: DaemonSet\nmetadata: {name: e, namespace: ns}\n";
    let manifests = read(&(owned + daemonsets));
    let planned: Vec<_> = manifests.snapshots().map(|snapshot| snapshot.daemonset().name.to_string()).collect();
    assert_eq!(planned, ["e"]);
}

#[test]
fn nested_lists_are_read_up_to_a_limit() {
    let nested = |depth: usize| {
        let inner = r#"{"kind": "Node", "metadata": {"name": "a"}}"#.to_owned();
        (0..depth).fold(inner, |text, _| format!(r#"{{"kind": "List", "items": [{text}]}}"#))
    };
    assert_eq!(read(&nested(3)).nodes().len(), 1);
    assert_eq!(problems(&nested(100)), ["x: document 1, item 1: expected at most 8 nested lists, found more"]);
}

/// Returns a list of ever longer objects, so that reading in chunks splits them at any place.
fn long_list(separator: &str) -> (String, usize) {
    const COUNT: usize = 1500;
    let node = |number: usize| {
        let annotation = "\\\"é{".repeat(number / 4);
        format!(
            "{{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Node\",\n  \"metadata\": {{\"annotations\": {{\"a\": \"{annotation}\"}}, \"name\": \"n{number}\"}}\n}}"
        )
    };
    let nodes: Vec<_> = (0..COUNT).map(node).collect();
    (format!("{{\"apiVersion\": \"v1\",\n\"items\": [{}], \"kind\": \"List\"}}", nodes.join(separator)), COUNT)
}

#[test]
fn a_long_list_is_read_in_chunks_of_any_size() {
    struct Trickle<'t>(&'t [u8]);
    impl std::io::Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = 4093.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }
    let spaces = " ".repeat(600_000);
    for separator in [",", &format!(",\n{}", &spaces[..100]), &format!(",{}", "\n".repeat(2000))] {
        let (text, count) = long_list(separator);
        assert!(text.len() > 1 << 20);
        let mut manifests = Manifests::default();
        manifests.read("x", Trickle(text.as_bytes())).unwrap();
        assert_eq!(manifests.problems().iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        let names: Vec<_> = manifests.nodes().iter().map(|node| node.name.to_string()).collect();
        assert_eq!(names, (0..count).map(|number| format!("n{number}")).collect::<Vec<_>>());
    }
    let indented = format!("{}\n{spaces}kind: Node\n{spaces}metadata: {{name: a}}\n", "\n".repeat(300_000));
    assert_eq!(read(&indented).nodes()[0].name, "a", "long indentation is kept for YAML");
}

#[test]
fn an_error_in_a_long_list_has_line_and_column_and_keeps_earlier_objects() {
    let (text, count) = long_list(",\n");
    let lines = 1 + text.matches('\n').count();
    let faults = [
        (text.replacen("n1499\"}\n}]", "n1499\"}\n};", 1), 2, "expected ',' or ']', found ';'"),
        (text.replacen("n1499\"}\n}]", "n1499\"}\n}", 1), 10, "expected ',' or ']', found ':'"),
        (text.replacen("n1499\"}\n}]", "n1499\"}\n},]", 1), 3, "expected value"),
        (text[..text.len() - 1].to_owned(), 18, "expected ',' or '}', found the end of the text"),
        (text.replacen("\"kind\": \"List\"", "\"kind\"; \"List\"", 1), 11, "expected ':', found ';'"),
        (text.replacen("\"kind\": \"List\"", "kind", 1), 5, "expected value"),
    ];
    for (text, column, problem) in faults {
        let manifests = read(&text);
        assert_eq!(manifests.nodes().len(), count);
        let told = manifests.problems().last().unwrap().to_string();
        assert!(told.ends_with(problem), "{told}");
        assert!(told.contains(&format!("invalid JSON: line {lines}, column {column} of the file: ")), "{told}");
    }
    let bad = text.replace("\"n1400\"", "7");
    let manifests = read(&bad);
    assert_eq!(manifests.nodes().len(), count - 1, "an invalid object does not end the list");
    assert_eq!(
        manifests.problems()[0].to_string(),
        "x: document 1, item 1401: Node without a name: metadata.name: expected a string, found integer `7`"
    );
}

#[test]
fn fields_of_objects_and_lists_may_come_in_any_order() {
    let node = r#"{"metadata": {"name": "a"}, "items": [7], "kind": "Node", "apiVersion": "v1"}"#;
    assert_eq!(
        read(node).skipped().len() + read(node).nodes().len(),
        0,
        "an `items` field before any kind makes it a list"
    );
    for list in [
        format!(r#"{{"kind": "List", "items": [{node}]}}"#),
        format!(r#"{{"items": [{node}], "metadata": {{"items": 7}}, "kind": "List", "apiVersion": "v1"}}"#),
        format!(r#"{{"metadata": {{}}, "kind": "NodeList", "items": [{node}], "apiVersion": "v1"}}"#),
    ] {
        assert_eq!(problems(&list), [""; 0], "{list}");
        assert_eq!(read(&list).nodes().len(), 1, "{list}");
    }
    let widget = r#"{"apiVersion": "example.com/v1", "kind": "Widget", "items": [7]}"#;
    assert_eq!(
        read(widget).skipped().iter().map(|object| &*object.kind).collect::<Vec<_>>(),
        ["Widget.example.com"],
        "a field named `items` alone makes no list"
    );
    for (text, problem) in [
        (r#"{"items": "x"}"#, "invalid JSON: line 1, column 11 of the file: expected '[', found '\"'"),
        (
            r#"{"kind": "List", "items": [7]}"#,
            "item 1: expected a Kubernetes object or a list of objects, found integer `7`",
        ),
        (r#"{"kind": 7}"#, "expected a string, found integer `7`"),
    ] {
        assert!(problems(text)[0].ends_with(problem), "{:?}", problems(text));
    }
}

#[test]
fn a_recorded_cluster_is_read_completely() {
    let manifests = read(include_str!("../../examples/pending.json"));
    assert!(manifests.problems().is_empty());
    assert_eq!((manifests.daemonsets().count(), manifests.nodes().len(), manifests.pod_count()), (5, 12, 43));
}

#[test]
fn the_types_are_read_and_written_with_serde_yaml_too() {
    let cluster = read(include_str!("../../examples/quiet.json"));
    for daemonset in cluster.daemonsets() {
        let text = serde_yaml::to_string(daemonset).unwrap();
        assert_eq!(&serde_yaml::from_str::<daemonplan::model::DaemonSet>(&text).unwrap(), daemonset);
    }
    for node in cluster.nodes() {
        let text = serde_yaml::to_string(node).unwrap();
        assert_eq!(&serde_yaml::from_str::<daemonplan::model::Node>(&text).unwrap(), node);
    }
}

#[test]
fn a_quota_that_is_changed_without_a_status_keeps_what_is_used_of_it() {
    let read = |text: &str| {
        let mut manifests = Manifests::default();
        manifests.read("x", text.as_bytes()).unwrap();
        manifests
    };
    let quota = |pods: u32, status: &str| {
        format!(
            "kind: ResourceQuota\nmetadata: {{name: few, namespace: prod}}\nspec: {{hard: {{pods: {pods}}}}}\n{status}"
        )
    };
    let live = read(&quota(2, "status: {hard: {pods: 2}, used: {pods: 2}}"));
    let changed = live.clone().with(read(&quota(6, "")));
    let after = changed.scheduling_objects().quotas.values().next().unwrap();
    assert_eq!((after.hard.get("pods").value(), after.used.get("pods").value()), (6, 2));
    let recounted = live.with(read(&quota(6, "status: {hard: {pods: 6}, used: {pods: 1}}")));
    assert_eq!(recounted.scheduling_objects().quotas.values().next().unwrap().used.get("pods").value(), 1);
}
