//! Quantities, compared with k8s.io/apimachinery of Kubernetes 1.20.2.
//!
//! Each line of `quantities.tsv` has texts joined by ` + `, and their formatted sum, or `!` if a text is not a
//! quantity. The texts are edge cases and random ones.

use daemonplan::model::Quantity;

#[test]
fn quantities_are_parsed_added_and_formatted_as_in_kubernetes() {
    let mut count = 0;
    for line in include_str!("quantities.tsv").lines() {
        let Some((texts, expected)) = line.split_once('\t') else { panic!("no tab in {line:?}") };
        let sum = texts.split(" + ").map(str::parse).sum::<Result<Quantity, _>>();
        assert_eq!(sum.map_or_else(|_| "!".to_owned(), |sum| sum.to_string()), expected, "{texts}");
        count += 1;
    }
    assert!(count > 1_000, "expected over 1,000 cases, found {count}");
}

#[test]
fn quantities_are_stored_as_by_the_api_server() {
    let mut count = 0;
    for line in include_str!("canonical.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        assert_eq!(Quantity::canonical(text).ok().as_deref(), case["canonical"].as_str(), "{text:?}");
        if let (Ok(quantity), Some(value)) = (text.parse::<Quantity>(), case["value"].as_str()) {
            assert_eq!(quantity, value.parse().unwrap(), "{text:?}");
        }
        count += 1;
    }
    assert_eq!(count, 598);
}
