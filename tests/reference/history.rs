//! §7: revisions.

use serde_json::{Value, json};

use super::{
    facts::{Facts, controller, number},
    selectors::{pairs, selects, text},
    template,
};

pub struct History {
    pub hash: String,
    pub collision_count: Option<i64>,
    /// Claims, creations and updates.
    pub changes: Vec<Value>,
    /// Names of duplicates of the current revision.
    pub duplicates: Vec<String>,
    /// Names and hashes of old revisions, by number, ascending.
    pub old: Vec<(String, String)>,
    /// Those old revisions.
    pub old_revisions: Vec<Value>,
    /// The number and the creation of the current revision, if it exists.
    current: Option<(i64, Option<String>)>,
}

impl History {
    /// Returns when the current revision was created, in seconds.
    pub fn created(&self) -> Option<i64> {
        let (_, created) = self.current.as_ref()?;
        Some(created.as_ref()?.parse::<jiff::Timestamp>().unwrap().as_second())
    }

    /// Returns whether the current revision is older than the one that it replaces.
    pub fn is_restored(&self) -> bool {
        let Some(((number, created), newest)) = self.current.as_ref().zip(self.old_revisions.last()) else {
            return false;
        };
        let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        match (created, newest["metadata"]["creationTimestamp"].as_str()) {
            (Some(created), Some(newest)) => time(created) < time(newest),
            _ => *number < self::number(&newest["revision"]),
        }
    }
}

fn name(revision: &Value) -> String {
    text(&revision["metadata"], "name").to_owned()
}

/// Returns the hash that the revision's pods carry; without a label, its name.
fn hash(revision: &Value) -> String {
    match text(&revision["metadata"]["labels"], "controller-revision-hash") {
        "" => name(revision),
        hash => hash.to_owned(),
    }
}

/// Returns the field, unless it is null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told = fields.iter().filter(|(_, value)| !value.is_null());
            told.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        scalar => scalar.clone(),
    }
}

fn is_near(facts: &Facts<'_>, revision: &Value) -> bool {
    revision["metadata"]["namespace"] == facts.daemonset["metadata"]["namespace"]
}

pub fn is_owned(facts: &Facts<'_>, revision: &Value) -> bool {
    is_near(facts, revision)
        && controller(revision).is_some_and(|owner| owner["uid"] == facts.daemonset["metadata"]["uid"])
}

impl History {
    pub fn of(facts: &Facts<'_>) -> Self {
        let collision_count = facts.daemonset["status"]["collisionCount"].as_i64();
        let mut history = Self {
            hash: (facts.template_hash)(0),
            collision_count,
            changes: Vec::new(),
            duplicates: Vec::new(),
            old: Vec::new(),
            old_revisions: Vec::new(),
            current: None,
        };
        let Some(revisions) = &facts.revisions else { return history };

        let mut claimed = Vec::new();
        for revision in revisions.iter().filter(|revision| is_near(facts, revision)) {
            let fits = selects(&facts.daemonset["spec"]["selector"], &pairs(&revision["metadata"]["labels"]));
            let orphan = controller(revision).is_none() && revision["metadata"]["deletionTimestamp"].is_null();
            let name = name(revision);
            if is_owned(facts, revision) && !fits {
                let reason = "LabelsDoNotMatch";
                history.changes.push(json!({"type": "ReleaseRevision", "revision": name, "reason": reason}));
            } else if is_owned(facts, revision) {
                claimed.push(revision);
            } else if fits && orphan {
                history.changes.push(json!({"type": "AdoptRevision", "revision": name, "reason": "OrphanMatches"}));
                claimed.push(revision);
            }
        }
        claimed.sort_by_key(|revision| (number(&revision["revision"]), name(revision)));
        let mut template = facts.daemonset["spec"]["template"].clone();
        template["$patch"] = json!("replace");
        let data = json!({"spec": {"template": template}});
        let says_the_same = |revision: &&Value| without_nulls(&revision["data"]) == without_nulls(&data);
        let (mut current, old): (Vec<_>, Vec<_>) = claimed.iter().copied().partition(says_the_same);
        let newest = current.pop();
        let created = |revision: &Value| revision["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
        history.current = newest.map(|newest| (number(&newest["revision"]), created(newest)));
        history.duplicates = current.into_iter().map(name).collect();
        history.old_revisions = old.iter().copied().cloned().collect();
        history.old = old.iter().map(|revision| (name(revision), hash(revision))).collect();

        let needed = old.iter().map(|revision| number(&revision["revision"])).max().unwrap_or(0).max(0) + 1;
        match newest {
            Some(newest) => history.hash = hash(newest),
            None => history.create(facts, revisions, needed, &data),
        }
        for revision in claimed {
            let has_label = !text(&revision["metadata"]["labels"], "controller-revision-hash").is_empty();
            let own = number(&revision["revision"]);
            let (number, reason) = match newest {
                Some(newest) if newest == revision && own < needed => (needed, "NotTheNewest"),
                _ if !has_label => (own, "NoHashLabel"),
                _ => continue,
            };
            let (name, hash) = (name(revision), hash(revision));
            history.changes.push(
                json!({"type": "UpdateRevision", "revision": name, "number": number, "hash": hash, "reason": reason}),
            );
        }
        history
    }

    fn create(&mut self, facts: &Facts<'_>, revisions: &[Value], number: i64, data: &Value) {
        let owner = &facts.daemonset["metadata"];
        let taken: Vec<_> = revisions.iter().filter(|revision| is_near(facts, revision)).map(name).collect();
        let named = |collisions| format!("{}-{}", text(owner, "name"), (facts.template_hash)(collisions));
        let most = i64::try_from(taken.len()).unwrap();
        let collisions = (0..=most).find(|collisions| !taken.contains(&named(*collisions))).unwrap();
        if collisions > 0 {
            self.collision_count = Some(self.collision_count.unwrap_or(0) + collisions);
        }
        self.hash = (facts.template_hash)(collisions);
        let mut metadata = json!({
            "name": named(collisions),
            "namespace": owner["namespace"],
            "labels": facts.daemonset["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [template::owner_reference(facts)],
        });
        metadata["labels"]["controller-revision-hash"] = json!(self.hash);
        if !owner["annotations"].is_null() {
            metadata["annotations"] = owner["annotations"].clone();
        }
        let (api, kind) = ("apps/v1", "ControllerRevision");
        let manifest = json!({"apiVersion": api, "kind": kind, "metadata": metadata, "data": data, "revision": number});
        self.changes.push(json!({
            "type": "CreateRevision",
            "revision": named(collisions),
            "number": number,
            "hash": self.hash,
            "reason": "NewTemplate",
            "manifest": manifest,
        }));
    }
}
