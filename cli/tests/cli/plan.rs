//! `daemonplan plan`, and the behaviour common to all commands.

use std::{fs, process::Stdio};

use assert_cmd::Command;
use serde_json::Value;

use super::{PENDING, QUIET, example, run};

fn daemonplan(args: &[&str]) -> Command {
    super::daemonplan(&[&["plan"], args].concat())
}

fn json(args: &[&str]) -> Value {
    super::json(&[&["plan"], args].concat())
}

fn plan_of<'r>(report: &'r Value, name: &str) -> &'r Value {
    report["plans"].as_array().unwrap().iter().find(|plan| plan["daemonSet"]["name"] == name).unwrap()
}

/// Returns a plan's actions as `type object`.
fn actions(plan: &Value) -> Vec<String> {
    let name = |action: &Value| {
        ["pod", "revision", "node"].into_iter().find_map(|field| action[field].as_str()).unwrap_or_default().to_owned()
    };
    let actions = plan["actions"].as_array().unwrap().iter();
    actions.map(|action| format!("{} {}", action["type"].as_str().unwrap(), name(action)).trim().to_owned()).collect()
}

#[test]
fn taking_over_a_running_cluster_only_finishes_its_surges() {
    let report = json(QUIET);
    for name in ["log-agent", "node-exporter", "trapped"] {
        assert_eq!(actions(plan_of(&report, name)), [""; 0], "{name}");
    }
    assert_eq!(
        actions(plan_of(&report, "mesh-proxy")),
        ["DeletePod mesh-proxy-zcwst", "DeletePod mesh-proxy-nvkg4", "DeletePod mesh-proxy-g94px"]
    );
}

#[test]
fn each_change_of_a_cluster_causes_its_actions() {
    let report = json(PENDING);
    assert_eq!(
        actions(plan_of(&report, "log-agent")),
        ["CreatePod worker-9", "DeletePod log-agent-kb4s6", "UpdateStatus"]
    );
    assert_eq!(actions(plan_of(&report, "trapped")).len(), 7, "a pod on each worker except two, and the status");
    let hello = actions(plan_of(&report, "hello-daemonset"));
    assert_eq!(hello.iter().filter(|action| action.starts_with("AdoptPod")).count(), 8);
    assert!(hello.contains(&"DeletePod hello-daemonset-99495".to_owned()), "the relabelled worker-3: {hello:?}");
    assert!(hello.contains(&"DeletePod hello-daemonset-55fpx".to_owned()), "the tainted worker-6: {hello:?}");

    let kept = json(&[PENDING, &["--keep-pods-on-missing-nodes"]].concat());
    assert_eq!(actions(plan_of(&kept, "log-agent")), ["CreatePod worker-9", "UpdateStatus"]);
}

#[test]
fn the_json_report_has_the_documented_fields() {
    let report = json(PENDING);
    let plan = plan_of(&report, "log-agent");
    let fields: Vec<_> = plan.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "daemonSet",
            "hash",
            "actions",
            "status",
            "events",
            "planAgainAfterSeconds",
            "heldBack",
            "warnings",
            "placements"
        ]
    );
    let create = &plan["actions"][0];
    assert_eq!((&create["type"], &create["reason"]), (&Value::from("CreatePod"), &Value::from("NoPod")));
    assert_eq!(create["pod"]["metadata"]["generateName"], "log-agent-");
    let delete = &plan["actions"][1];
    assert_eq!((&delete["reason"], &delete["node"]), (&Value::from("NodeGone"), &Value::from("worker-2")));
    assert_eq!(plan["placements"].as_array().unwrap().len(), 12);
    let placement = &plan_of(&report, "trapped")["placements"][0];
    assert_eq!(placement["node"], "control-plane-1");
    assert_eq!((&placement["shouldRun"], &placement["mayKeepRunning"]), (&Value::from(false), &Value::from(true)));
    assert_eq!(placement["reason"]["rule"], "Taint");
}

#[test]
fn yaml_output_equals_json_output() {
    let (out, _, _) = run(daemonplan(PENDING).args(["-o", "yaml"]));
    let from_yaml: Value = serde_yaml::from_str(&out).unwrap();
    assert_eq!(from_yaml, json(PENDING));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    for format in ["text", "json", "yaml"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_daemonplan"));
        command.arg("plan").args(PENDING).args(["-o", format]).current_dir(crate::root());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (String::from_utf8(output.stderr).unwrap(), output.status.code()),
            (String::new(), Some(0)),
            "{format}"
        );
    }
}

#[test]
fn text_shows_actions_and_reasons_without_colour_in_a_pipe() {
    let (out, _, code) = run(&mut daemonplan(PENDING));
    assert_eq!(code, 0);
    assert!(out.starts_with("cluster: 5 DaemonSets, 12 nodes, 43 pods\n"), "{out}");
    for line in [
        "  + create  worker-9  no pod on this node",
        "  - delete  log-agent-kb4s6  worker-2  its node does not exist",
        "  ~ adopt  hello-daemonset-9jk4p  orphan: no controller, and its labels match the selector",
        "5 plans: 8 × adopt, 1 × adopt revision, 1 × create revision, 10 × create, 11 × delete, 5 × update status",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no colour");
    let (narrow, _, _) = run(daemonplan(PENDING).env("COLUMNS", "60"));
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    assert_eq!(narrow.split_whitespace().collect::<Vec<_>>(), out.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn control_characters_of_the_input_are_escaped() {
    let text = "kind: Node\nmetadata: {name: \"\\e[2Jn\", labels: {a: \"x\\u009by\"}}\n---\n\
                kind: DaemonSet\nmetadata: {name: \"d\\e[2J\"}\n\
                spec: {selector: {matchLabels: {a: b}}, template: {spec: {nodeSelector: {a: b}}}}\n---\n\
                kind: \"\\e[2JOther\"\n---\nkind: Pod\nmetadata: {name: \"\\ap\", namespace: other, labels: 7}\n";
    let (out, errors, _) = run(daemonplan(&["-f", "-"]).write_stdin(text));
    let controls: Vec<_> = (out.clone() + &errors).chars().filter(|&c| c.is_control() && c != '\n').collect();
    assert_eq!(controls, [], "{out}{errors}");
    assert!(errors.contains("\\u{7}p") && out.contains("not on \\u{1b}[2Jn"), "{errors}{out}");
}

#[test]
fn large_clusters_are_summarized_unless_all_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let node = |number| format!("---\nkind: Node\nmetadata: {{name: node-{number:03}}}\n");
    let nodes: String = (0..50).map(node).collect();
    let daemonset =
        "---\nkind: DaemonSet\nmetadata: {name: a, namespace: ns}\nspec: {selector: {matchLabels: {a: b}}}\n";
    fs::write(folder.path().join("a.yaml"), nodes + daemonset).unwrap();
    let folder = folder.path().to_str().unwrap();
    let shown = |args: &[&str]| run(daemonplan(&["--complete", "-f", folder]).args(args)).0;
    assert_eq!(shown(&[]).matches("+ create  ").count(), 9, "eight creations, and a line for the rest");
    assert!(shown(&[]).contains("… and 42 more like these"));
    assert_eq!(shown(&["--all"]).matches("+ create  ").count(), 50);
}

#[test]
fn the_exit_code_tells_whether_actions_are_planned() {
    let code = |args: &[&str]| run(&mut daemonplan(args)).2;
    assert_eq!(code(PENDING), 0);
    assert_eq!(code(&[PENDING, &["--exit-code"]].concat()), 2);
    assert_eq!(code(&[PENDING, &["--exit-code", "-o", "json"]].concat()), 2);
    assert_eq!(code(&["-f", "examples/hello/nodes.yaml", "--exit-code"]), 1, "a gate that saw no DaemonSet fails");
    assert_eq!(code(&["-f", "examples/hello/nodes.yaml", "--complete"]), 0);
}

#[test]
fn settings_are_flags() {
    let hello = ["-f", "examples/hello", "--complete"];
    let creates = |args: &[&str]| {
        let report = json(&[&hello, args].concat());
        let count = |plan: &Value| actions(plan).iter().filter(|action| action.starts_with("CreatePod")).count();
        report["plans"].as_array().unwrap().iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(creates(&[]), [2, 3]);
    assert_eq!(creates(&["--project-node-selector", "region=east"]), [2, 1], "hello has the empty annotation");
    assert_eq!(creates(&["--default-node-selector", "region=west"]), [2, 2]);
    assert_eq!(creates(&["--burst", "1"]), [1, 1]);
    assert_eq!(creates(&["--effects-unobserved"]), [0, 0]);
    let (_, errors, code) = run(daemonplan(&hello).args(["--project-node-selector", "a b"]));
    assert_eq!(code, 1);
    assert!(errors.contains("--project-node-selector") && errors.contains("expected ="), "{errors}");
    let (_, errors, code) = run(daemonplan(&hello).args(["--node-resources", "examples/hello/none.yaml"]));
    assert_eq!(code, 1);
    assert!(errors.contains("--node-resources") && errors.contains("No such file"), "{errors}");
    let (_, errors, _) = run(daemonplan(&hello).args(["--node-resources", "cli/tests/misspelt-resources.yaml"]));
    assert!(errors.contains("--node-resources: the input has no DaemonSet hello/heloo"), "{errors}");
}

#[test]
fn the_scheduler_of_open_shift_has_the_default_node_selector_of_projects() {
    let scheduler = |selector: &str| {
        format!(
            "apiVersion: config.openshift.io/v1\nkind: Scheduler\nmetadata: {{name: cluster}}\nspec: {{defaultNodeSelector: '{selector}'}}\n"
        )
    };
    let plan = |selector: &str, flags: &[&str]| {
        let args = [&["-f", "examples/hello", "-f", "-", "--complete"], flags].concat();
        run(daemonplan(&args).write_stdin(scheduler(selector)))
    };
    let by_flag = |selector: &str| {
        run(&mut daemonplan(&["-f", "examples/hello", "--complete", "--project-node-selector", selector]))
    };
    assert_eq!(plan("region=east", &[]), by_flag("region=east"));
    assert_eq!(
        plan("region=east", &["--project-node-selector", "region=west"]),
        by_flag("region=west"),
        "the flag goes first"
    );
    assert_eq!(plan("", &[]), run(&mut daemonplan(&["-f", "examples/hello", "--complete"])));
    let (_, errors, code) = plan("a b", &[]);
    assert_eq!(code, 1);
    assert!(errors.starts_with("error: Scheduler cluster: spec.defaultNodeSelector: "), "{errors}");
}

#[test]
fn revisions_count_as_known_only_if_present_or_the_input_is_complete() {
    let hello = ["-f", "examples/hello"];
    let report = |args: &[&str]| -> Value {
        serde_json::from_str(&run(daemonplan(&hello).args(args).args(["-o", "json"])).0).unwrap()
    };
    let kinds = |report: Value| actions(&report["plans"][0]).join(",");
    assert!(!kinds(report(&[])).contains("Revision"));
    assert!(kinds(report(&["--complete"])).contains("CreateRevision"));
}

#[test]
fn manifests_are_read_from_standard_input() {
    let text = fs::read(example("quiet.json")).unwrap();
    let (out, _, code) = run(daemonplan(&["-f", "-", "--now", "2026-11-23T23:08:30Z"]).write_stdin(text));
    assert_eq!(code, 0);
    assert_eq!(out, run(&mut daemonplan(QUIET)).0);
}

#[test]
fn invalid_input_is_named_and_blocks_only_its_daemonset() {
    let text = "kind: DaemonSet\nmetadata: {name: bad, namespace: x}\n\
                spec: {updateStrategy: {rollingUpdate: {maxSurge: \"5\"}}}\n---\n\
                kind: DaemonSet\nmetadata: {name: good, namespace: x}\nspec: {selector: {matchLabels: {a: b}}}\n";
    let (out, errors, code) = run(daemonplan(&["-f", "-", "--complete"]).write_stdin(text));
    assert_eq!(code, 1);
    assert_eq!(
        errors,
        "error: standard input: document 1: DaemonSet x/bad: spec.updateStrategy.rollingUpdate.maxSurge: \
         expected a non-negative integer or a percentage such as \"10%\", found \"5\"\n"
    );
    assert!(out.contains("x/good") && !out.contains("x/bad"), "{out}");
}

#[test]
fn unreadable_files_and_invalid_flags_are_errors() {
    let (_, errors, code) = run(&mut daemonplan(&["-f", "no-such-file"]));
    assert_eq!((code, errors.contains("no-such-file: ")), (1, true));
    let empty = tempfile::tempdir().unwrap();
    let (_, errors, code) = run(&mut daemonplan(&["-f", empty.path().to_str().unwrap()]));
    assert_eq!((code, errors.contains("no .yaml, .yml or .json file")), (1, true));
    let (_, errors, code) = run(daemonplan(&["-f", "-"]).write_stdin("# nothing\n"));
    assert_eq!((code, errors.contains("the input is empty")), (1, true));
    for args in [["-f", "-", "--now", "yesterday"], ["-f", "-", "--context", "both"], ["-f", "-", "--burst", "-1"]] {
        let (_, errors, code) = run(&mut daemonplan(&args));
        assert_eq!((code, errors.contains("--help")), (1, true), "exit code 2 means planned actions: {errors}");
    }
    assert_eq!(run(&mut daemonplan(&["--help"])).2, 0);
}

#[test]
fn a_synthetic_cluster_is_the_same_for_the_same_seed_and_can_be_planned() {
    let synth = |seed: &str| {
        let args = ["synth", "--nodes", "30", "--daemonsets", "8", "--other-pods", "20", "--seed", seed];
        run(&mut super::daemonplan(&args))
    };
    let (text, errors, code) = synth("7");
    assert_eq!((errors.as_str(), code), ("", 0));
    assert!(text == synth("7").0 && text != synth("8").0);
    let plan = daemonplan(&["-f", "-", "--now", "2026-09-21T14:13:20Z"]).write_stdin(text).output().unwrap();
    let shown = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    for part in ["8 DaemonSets, 30 nodes", "nothing to do", "+ create", "outdated"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
}

#[test]
fn many_daemonsets_begin_with_a_table_and_show_what_changes() {
    let synth = run(&mut super::daemonplan(&["synth", "--nodes", "20", "--daemonsets", "24"])).0;
    let plan = |args: &[&str]| {
        let (out, errors, code) =
            run(daemonplan(&["-f", "-", "--now", "2026-09-21T14:13:20Z"]).args(args).write_stdin(synth.clone()));
        assert_eq!((errors.as_str(), code), ("", 0));
        out
    };
    let (short, long, wide) = (plan(&[]), plan(&["--all"]), plan(&["-o", "wide"]));
    let titles =
        |out: &str| out.lines().filter(|line| line.contains("RollingUpdate") || line.contains("OnDelete")).count();
    assert_eq!((titles(&short), titles(&long), titles(&wide)), (7, 24, 0));
    assert!(
        short.contains("DAEMONSET ") && short.contains("… and 17 DaemonSets with nothing to do (--all)"),
        "{short}"
    );
    assert_eq!(wide.lines().count(), 25);
    let names = plan(&["-o", "name"]);
    assert_eq!(names.lines().count(), 7);
    let first = names.lines().next().unwrap();
    let one = plan(&[first]);
    assert!(
        one.contains(&format!("{first}  ")) && one.contains("\n1 plan: "),
        "names are taken as they are printed: {one}"
    );
}

#[test]
fn colours_are_written_on_demand() {
    let out = |args: &[&str]| run(daemonplan(PENDING).args(args)).0;
    assert!(!out(&[]).contains('\u{1b}') && !out(&["--color", "never"]).contains('\u{1b}'));
    assert!(out(&["--color", "always"]).contains("\u{1b}["));
}
