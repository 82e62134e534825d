//! The published schemas describe every JSON output, down to the last field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{daemonplan, root, run};

const COMMANDS: [&str; 7] = ["plan", "explain", "diff", "forecast", "lint", "overhead", "history"];

fn schema(command: &str) -> Value {
    let (text, errors, code) = run(&mut daemonplan(&["schema", command]));
    assert_eq!((errors.as_str(), code), ("", 0));
    serde_json::from_str(&text).unwrap()
}

/// Returns the schema in which an object has no field but those described.
fn closed(mut schema: Value) -> Value {
    fn close(schema: &mut Value) {
        let Value::Object(fields) = schema else { return };
        if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
            fields.insert("additionalProperties".into(), false.into());
        }
        for (key, value) in fields {
            match value {
                Value::Object(schemas) if ["properties", "$defs"].contains(&key.as_str()) => {
                    schemas.values_mut().for_each(close);
                }
                Value::Array(branches) if key == "oneOf" => branches.iter_mut().for_each(close),
                _ if key == "items" => close(value),
                _ => {}
            }
        }
    }
    close(&mut schema);
    schema
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// The outputs of all commands for the scenarios and the bundled dumps, with and without all that they lack.
fn outputs() -> Vec<(&'static str, Value)> {
    let list = |folder: &str| fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let inputs = list("cli/tests/golden").filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    let mut outputs = Vec::new();
    for input in
        inputs.chain(["quiet", "pending"].map(|dump| root().join("examples").join(dump).with_extension("json")))
    {
        let text = fs::read_to_string(&input).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("# flags: ")).unwrap_or_default();
        let node = serde_yaml::Deserializer::from_str(&text)
            .filter_map(|document| Value::deserialize(document).ok())
            .find(|object| object["kind"] == "Node");
        let node = node.and_then(|node| Some(node["metadata"]["name"].as_str()?.to_owned()));
        let taint = node.map(|node| format!("{node}=dedicated=db:NoExecute"));
        for (command, complete) in COMMANDS.iter().flat_map(|command| [(*command, true), (*command, false)]) {
            let mut args = vec![command, "-f", input.to_str().unwrap(), "--now", "2026-01-02T03:04:05Z", "-o", "json"];
            args.extend(complete.then_some("--complete"));
            match (command, &taint) {
                ("plan" | "explain", _) => args.extend(flags.split_whitespace()),
                ("overhead", _) => args.extend(["--node", "examples/node.yaml"]),
                ("diff", Some(taint)) => args.extend(["--taint", taint]),
                ("diff", None) => continue,
                _ => {}
            }
            let (output, ..) = run(&mut daemonplan(&args));
            outputs.extend((!output.is_empty()).then(|| (command, serde_json::from_str(&output).unwrap())));
        }
    }
    for input in ["examples/waiting.yaml", "cli/tests/golden/quota-used-up.yaml"] {
        let text = fs::read_to_string(root().join(input)).unwrap();
        let pods = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
        for pod in pods.filter(|object| object["kind"] == "Pod") {
            let name = format!("pod/prod/{}", pod["metadata"]["name"].as_str().unwrap());
            let (output, ..) = run(&mut daemonplan(&["explain", &name, "-f", input, "-o", "json"]));
            outputs.push(("explain", serde_json::from_str(&output).unwrap()));
        }
    }
    outputs
}

/// Calls `each` with every field of every object that the schemas describe, as the object's pointer and the field's name.
fn fields(value: &Value, pointer: &str, each: &mut impl FnMut(&str, &str)) {
    // Objects of Kubernetes, and values of their fields.
    const OPAQUE: [&str; 11] = [
        "manifest",
        "pod",
        "patch",
        "data",
        "before",
        "after",
        "requests",
        "assigned",
        "allocatable",
        "left",
        "containers",
    ];
    match value {
        Value::Object(object) => {
            for (name, value) in
                object.iter().filter(|(name, value)| value.is_string() || !OPAQUE.contains(&name.as_str()))
            {
                each(pointer, name);
                fields(value, &format!("{pointer}/{name}"), each);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| fields(item, &format!("{pointer}/{at}"), each));
        }
        _ => {}
    }
}

#[test]
fn every_output_has_the_fields_of_its_schema_and_no_others() {
    let schemas = COMMANDS.map(|command| (command, schema(command)));
    let closed: BTreeMap<_, _> = schemas.map(|(command, schema)| (command, validator(&closed(schema)))).into();
    let outputs = outputs();
    for command in COMMANDS {
        let count = outputs.iter().filter(|(of, _)| *of == command).count();
        assert!(count >= 30, "{count} outputs of {command}");
    }
    let mut tried = BTreeSet::new();
    for (command, output) in outputs {
        let refuses =
            |value: &Value| closed[command].iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).next();
        assert_eq!(refuses(&output), None, "{command}: {output:#}");
        let mut places = Vec::new();
        fields(&output, "", &mut |pointer, name| places.push((pointer.to_owned(), name.to_owned())));
        for (pointer, name) in places {
            let object = output.pointer(&pointer).unwrap().as_object().unwrap();
            if !tried.insert((command, object.keys().cloned().collect::<Vec<_>>(), name.clone())) {
                continue;
            }
            let mut renamed = output.clone();
            let fields = renamed.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
            let value = fields.remove(&name).unwrap();
            fields.insert(format!("{name}Renamed"), value);
            assert!(refuses(&renamed).is_some(), "{command}: {pointer}/{name} may have another name");
            let mut retyped = output.clone();
            retyped.pointer_mut(&pointer).unwrap()[&name] = json!([[]]);
            assert!(refuses(&retyped).is_some(), "{command}: {pointer}/{name} may be of any type");
        }
    }
    assert!(tried.len() > 400, "{} fields", tried.len());
}

#[test]
fn a_schema_allows_fields_that_a_later_version_adds() {
    let schema = validator(&schema("history"));
    let mut output = crate::json(&["history", "-f", "examples/quiet.json"]);
    assert!(schema.is_valid(&output));
    output["histories"][0]["later"] = json!({"added": true});
    assert!(schema.is_valid(&output));
    output["histories"][0].as_object_mut().unwrap().remove("revisions");
    assert!(!schema.is_valid(&output));
}

#[test]
fn a_schema_names_its_version_and_all_codes() {
    for command in COMMANDS {
        let schema = schema(command);
        assert_eq!(schema["$id"], format!("urn:daemonplan:schema:v1:{command}"));
        assert!(jsonschema::meta::is_valid(&schema));
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            let reference = format!("\"$ref\":\"#/$defs/{name}\"");
            assert!(schema.to_string().contains(&reference), "{command}: {name} is not used");
            assert!(definition["description"].is_string(), "{command}: {name} is not described");
        }
    }
    let codes: Vec<_> = daemonplan::lint::Lint::ALL.iter().map(|lint| lint.code()).collect();
    assert_eq!(schema("lint")["$defs"]["finding"]["properties"]["code"]["enum"], json!(codes));
}
