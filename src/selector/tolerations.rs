use crate::model::{Taint, TaintEffect, Toleration, TolerationOperator};

/// Returns the taints that keep a pod with these tolerations off a node: those with the effect `NoSchedule` or
/// `NoExecute` that no toleration covers. `compare` enables the operators `Lt` and `Gt`.
///
/// ```
/// use daemonplan::{model::{Taint, TaintEffect, Toleration}, selector::untolerated};
/// let taints = [Taint::new("gpu", "", TaintEffect::NoSchedule), Taint::new("spot", "", TaintEffect::NoExecute)];
/// let left: Vec<_> = untolerated(&taints, &[Toleration::new("gpu")], false).collect();
/// assert_eq!(left, [&taints[1]]);
/// ```
pub fn untolerated<'t>(
    taints: &'t [Taint],
    tolerations: &[Toleration],
    compare: bool,
) -> impl Iterator<Item = &'t Taint> {
    taints.iter().filter(move |taint| {
        matches!(taint.effect, TaintEffect::NoSchedule | TaintEffect::NoExecute)
            && !tolerations.iter().any(|toleration| toleration.tolerates(taint, compare))
    })
}

impl Toleration {
    /// Whether this toleration tolerates `taint`.
    ///
    /// `compare` enables the operators `Lt` and `Gt` (feature gate `TaintTolerationComparisonOperators`); otherwise
    /// they tolerate nothing.
    ///
    /// ```
    /// use daemonplan::model::{Taint, Toleration};
    /// let taint: Taint = serde_json::from_str(r#"{"key": "gpu", "value": "a100", "effect": "NoSchedule"}"#).unwrap();
    /// let any_gpu: Toleration = serde_json::from_str(r#"{"key": "gpu", "operator": "Exists"}"#).unwrap();
    /// assert!(any_gpu.tolerates(&taint, false));
    /// ```
    pub fn tolerates(&self, taint: &Taint, compare: bool) -> bool {
        let integers = || Some((taint.value.parse::<i64>().ok()?, self.value.parse::<i64>().ok()?));
        self.effect.as_ref().is_none_or(|effect| *effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match self.operator {
                TolerationOperator::Equal => self.value == taint.value,
                TolerationOperator::Exists => true,
                TolerationOperator::Lt => compare && integers().is_some_and(|(taint, own)| taint < own),
                TolerationOperator::Gt => compare && integers().is_some_and(|(taint, own)| taint > own),
                TolerationOperator::Unknown => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn tolerates(toleration: Value, taint: Value) -> bool {
        let toleration: Toleration = from_value(toleration).unwrap();
        toleration.tolerates(&from_value(taint).unwrap(), true)
    }

    #[test]
    fn effect_key_and_value_must_match_and_an_empty_effect_or_key_matches_all() {
        let taint = || json!({"key": "a", "value": "1", "effect": "NoSchedule"});
        assert!(tolerates(json!({"operator": "Exists"}), taint()));
        assert!(tolerates(json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"}), taint()));
        assert!(tolerates(json!({"key": "a", "value": "1"}), taint()));
        assert!(tolerates(json!({"operator": "Equal", "value": "1"}), taint()));
        assert!(!tolerates(json!({"operator": "Equal"}), taint()));
        assert!(!tolerates(json!({"key": "b", "operator": "Exists"}), taint()));
        assert!(!tolerates(json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}), taint()));
        assert!(!tolerates(json!({"key": "a", "operator": "Near", "value": "1"}), taint()));
    }

    #[test]
    fn enabled_comparison_operators_compare_the_taint_with_the_toleration() {
        let taint: Taint = from_value(json!({"key": "sla", "value": "950", "effect": "NoSchedule"})).unwrap();
        for (operator, bound, expected) in [
            ("Gt", "900", true),
            ("Gt", "950", false),
            ("Lt", "951", true),
            ("Lt", "950", false),
            ("Lt", "high", false),
        ] {
            let toleration = json!({"key": "sla", "operator": operator, "value": bound});
            let toleration: Toleration = from_value(toleration).unwrap();
            assert_eq!(toleration.tolerates(&taint, true), expected, "{operator} {bound}");
            assert!(!toleration.tolerates(&taint, false), "{operator} is off by default");
        }
    }
}
