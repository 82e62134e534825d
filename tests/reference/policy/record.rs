//! What an update has come to, as the DaemonSet records it.

use serde_json::{Value, json};

use super::super::{facts::Facts, history::History};
use super::Progress;

impl Progress<'_> {
    /// Returns the nodes whose broken pods were replaced before their turn.
    pub(super) fn replaced_before(&self, hash: &str) -> Vec<String> {
        let replaced = &self.policy.record["replaced"];
        let nodes = replaced["nodes"].as_array().filter(|_| replaced["hash"] == hash);
        nodes.into_iter().flatten().map(|node| node.as_str().unwrap().to_owned()).collect()
    }

    /// Returns the record without what no longer matters.
    fn known(&self, history: &History) -> Value {
        let mut record = self.policy.record.clone();
        let is_known = |hash: &Value| *hash == history.hash || history.old.iter().any(|(_, old)| hash == old);
        let failed: Vec<_> = record["failed"].as_array().cloned().unwrap_or_default();
        record["failed"] = failed.into_iter().filter(|failed| is_known(&failed["hash"])).collect();
        if record["returnsTo"] != history.hash {
            record["returnsTo"] = Value::Null;
        }
        for known in ["replaced", "baked"] {
            if record[known]["hash"] != history.hash {
                record[known] = Value::Null;
            }
        }
        record
    }

    fn add_failure(&self, record: &mut Value, facts: &Facts<'_>, history: &History, restored: Option<&str>) {
        let known = self.policy.failed(&history.hash);
        let before = known.map(|known| known["restored"].clone()).unwrap_or_default();
        let nodes: Vec<_> = self.failing.iter().take(10).collect();
        let mut failure = json!({"hash": history.hash, "nodes": nodes});
        if let Some(known) = known.filter(|known| !known["restored"].is_null()) {
            failure["at"] = known["at"].clone();
        } else if let Some(now) = facts.now {
            failure["at"] = json!(now);
        }
        failure["isPaused"] = json!(restored.is_none());
        failure["restored"] = restored.map_or(before, |restored| json!(restored));
        let failed = record["failed"].as_array_mut().unwrap();
        failed.retain(|other| other["hash"] != history.hash);
        failed.push(failure);
    }

    /// Returns the record that a roll-back writes.
    pub fn record_of_roll_back(&self, facts: &Facts<'_>, history: &History, to: &str) -> Value {
        let mut record = self.known(history);
        self.add_failure(&mut record, facts, history, Some(to));
        plain(&record)
    }

    /// Returns the record to write and why, if it has changed. `replaced` are nodes whose stuck pods are deleted next.
    pub fn new_record(&self, facts: &Facts<'_>, history: &History, replaced: &[String]) -> Option<(Value, &str)> {
        let known = self.known(history);
        let mut record = known.clone();
        let mut reason = "";
        if !replaced.is_empty() {
            let mut nodes = self.replaced_before(&history.hash);
            nodes.extend(replaced.iter().cloned());
            nodes.sort();
            nodes.dedup();
            record["replaced"] = json!({"hash": history.hash, "nodes": nodes});
            reason = "BrokenPods";
        }
        if self.baked > self.baked_before {
            record["baked"] = json!({"hash": history.hash, "steps": self.baked});
            reason = "CanariesBaked";
        }
        if self.is_undo && record["returnsTo"] != history.hash {
            record["returnsTo"] = json!(history.hash);
            if record["done"] != history.hash {
                record["done"] = Value::Null;
            }
            reason = "Undone";
        }
        if self.ends {
            record["failed"].as_array_mut().unwrap().retain(|failed| failed["hash"] != history.hash);
            record["done"] = json!(history.hash);
            reason = "UpdateDone";
        }
        let has_older = history.old.iter().any(|(_, hash)| self.policy.failed(hash).is_none());
        let is_outdated = self.older().next().is_some() || has_older;
        if self.phase["phase"] == "Failing" && self.phase["isPaused"] == json!(false) && is_outdated {
            self.add_failure(&mut record, facts, history, None);
            reason = "TemplateFails";
        }
        (plain(&record) != plain(&known)).then(|| (plain(&record), reason))
    }
}

/// Leaves out what is empty or false, and the words.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let said =
                fields.iter().filter(|(key, _)| *key != "reason").map(|(key, value)| (key.clone(), plain(value)));
            said.filter(|(_, value)| ![json!(null), json!(false), json!([])].contains(value)).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        scalar => scalar.clone(),
    }
}
