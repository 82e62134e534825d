//! What the API server refuses, compared with its recorded answers: see `README.md`.

use std::io::{BufRead, BufReader};

use daemonplan::{
    api_server::{stored, unknown_fields, validate},
    model::DaemonSet,
};
use flate2::read::GzDecoder;
use serde_json::Value;

fn cases() -> impl Iterator<Item = Value> {
    let text = BufReader::new(GzDecoder::new(&include_bytes!("validation.jsonl.gz")[..]));
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// The manifest; where it is given as text, of a repeated field the last value counts.
fn manifest(case: &Value) -> Value {
    case["raw"].as_str().map_or_else(|| case["daemonset"].clone(), |text| serde_json::from_str(text).unwrap())
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

#[test]
fn refusals_are_those_of_the_api_server_word_for_word() {
    let mut count = 0;
    for case in cases() {
        let expect = &case["expect"];
        let expected = match expect["decodeError"].as_str() {
            Some(error) => vec![error.to_owned()],
            None => texts(&expect["errors"], "text"),
        };
        let refused: Vec<_> = validate(&manifest(&case), case.get("old")).iter().map(ToString::to_string).collect();
        assert_eq!(refused, expected, "{}", case["name"]);
        assert_eq!(refused.is_empty(), expect["accepted"], "{}", case["name"]);
        count += 1;
    }
    assert_eq!(count, 1200);
}

#[test]
fn unknown_fields_are_those_of_strict_decoding() {
    for case in cases() {
        let strict = case["expect"]["strictErrors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let expected: Vec<_> = strict.filter(|error| error.starts_with("unknown field")).map(str::to_owned).collect();
        let unknown = unknown_fields(&manifest(&case));
        let found: Vec<_> = unknown.iter().map(|field| format!("unknown field {:?}", field.path)).collect();
        assert_eq!(found, expected, "{}", case["name"]);
    }
}

#[test]
fn what_is_accepted_is_read_and_stored_with_the_same_strategy() {
    let is_accepted = |case: &Value| case["expect"]["accepted"] == true && case["operation"] == "create";
    for case in cases().filter(is_accepted) {
        let (expected, stored) = (&case["expect"]["stored"], stored(&manifest(&case)));
        assert_eq!(stored["spec"]["updateStrategy"], expected["updateStrategy"], "{}", case["name"]);
        assert_eq!(stored["spec"]["revisionHistoryLimit"], expected["revisionHistoryLimit"], "{}", case["name"]);
        assert!(serde_json::from_value::<DaemonSet>(stored).is_ok(), "{}", case["name"]);
    }
}
