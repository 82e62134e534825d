//! Quantities: `quantities.tsv` holds texts, or several with ` + ` between them, and what k8s.io/apimachinery of Kubernetes
//! 1.20.2 made of them: added to nothing and written, or `!` if one is no quantity. It has edge cases, and ones made at random.

use daemonplan::model::Quantity;

#[test]
fn quantities_are_read_added_and_written_as_kubernetes_does() {
    let mut count = 0;
    for line in include_str!("quantities.tsv").lines() {
        let Some((texts, expected)) = line.split_once('\t') else { panic!("no tab in {line:?}") };
        let sum = texts.split(" + ").map(str::parse).sum::<Result<Quantity, _>>();
        assert_eq!(sum.map_or_else(|_| "!".to_owned(), |sum| sum.to_string()), expected, "{texts}");
        count += 1;
    }
    assert!(count > 1_000, "only {count} were there");
}
