//! Selector expressions: a parsed expression survives a round trip, and matches as its requirements do.
#![no_main]

use daemonplan::{model::Labels, selector::SelectorExpression};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(selector) = text.parse::<SelectorExpression>() else { return };
    let written = selector.to_string();
    assert_eq!(written.parse::<SelectorExpression>().as_ref(), Ok(&selector), "{text:?} is written as {written:?}");
    for labels in [Labels::default(), Labels::from_iter([("a", "b"), ("role", "worker"), ("n", "7")])] {
        let holds = selector.requirements().iter().all(|requirement| requirement.matches(&labels));
        assert_eq!(selector.matches(&labels), holds);
    }
});
