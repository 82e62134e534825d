//! Findings for code scanners: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use std::{collections::HashMap, fs, path::Path};

use daemonplan::{
    Key, Kind,
    lint::{Finding, Lint, lint_manifest},
    manifest::{Manifests, line_of_field},
};
use serde_json::{Value, json};

const HOME: &str = "https://docs.rs/daemonplan";

/// Returns the findings as SARIF 2.1.0. Each has a physical location, as GitHub asks for.
pub(super) fn report(findings: &[Finding], manifests: &Manifests) -> Value {
    let mut texts = HashMap::new();
    let rules: Vec<_> = Lint::ALL.iter().map(|lint| rule(*lint)).collect();
    let results: Vec<_> = findings.iter().map(|finding| result(finding, manifests, &mut texts)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "daemonplan",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": HOME,
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn rule(lint: Lint) -> Value {
    json!({
        "id": lint.code(),
        "name": format!("{lint:?}"),
        "shortDescription": {"text": lint.title()},
        "fullDescription": {"text": lint.description()},
        "help": {"text": format!("{} The message of a finding tells how to mend it.", lint.description())},
        "helpUri": format!("{HOME}/latest/daemonplan/lint/enum.Lint.html#variant.{lint:?}"),
        "defaultConfiguration": {"level": lint.severity().to_string()},
    })
}

fn result(finding: &Finding, manifests: &Manifests, texts: &mut HashMap<String, Option<String>>) -> Value {
    let Finding { lint, severity, daemon_set, kind, field, message, fix, .. } = finding;
    let (kind, key, name) = match *kind {
        "Namespace" => (Kind::Namespace, Key::new("", daemon_set.namespace.clone()), daemon_set.namespace.to_string()),
        _ => (Kind::DaemonSet, daemon_set.clone(), format!("{}/{}", daemon_set.namespace, daemon_set.name)),
    };
    let set_aside = manifests.set_aside().find(|(_, manifest)| lint_manifest(manifest, None).contains(finding));
    let place = set_aside.map(|(place, _)| place).or_else(|| manifests.place(kind, &key));
    let place = place.or_else(|| manifests.place(Kind::DaemonSet, daemon_set)).cloned().unwrap_or_default();
    let text = texts.entry(place.file.clone()).or_insert_with(|| text(&place.file));
    let line = text.as_ref().and_then(|text| line_of_field(text, &place, field));
    json!({
        "ruleId": lint.code(),
        "ruleIndex": Lint::ALL.iter().position(|other| other == lint),
        "level": severity.to_string(),
        "message": {"text": format!("{}/{}: {message}. Fix: {fix}", daemon_set.namespace, daemon_set.name)},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&place.file)},
                "region": {"startLine": line.unwrap_or(1)},
            },
            "logicalLocations": [{"fullyQualifiedName": format!("{kind}/{name}/{field}"), "kind": "resource"}],
        }],
    })
}

/// The text of a file, if it is small enough to look for lines in it.
fn text(file: &str) -> Option<String> {
    const MAX_SIZE: u64 = 8 << 20;
    let metadata = fs::metadata(file).ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_SIZE);
    metadata.and_then(|_| fs::read_to_string(file).ok())
}

/// Writes a path as a URI: relative to the current directory if it lies there.
fn uri(file: &str) -> String {
    let path = Path::new(file);
    let here = std::env::current_dir().ok();
    let inside = here.as_ref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let inside = inside.strip_prefix("./").unwrap_or(inside);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    let text = inside.to_string_lossy().replace('\\', "/");
    let mut uri = String::from(if inside.is_absolute() { "file://" } else { "" });
    for byte in text.bytes() {
        if is_plain(&byte) { uri.push(char::from(byte)) } else { uri.extend(["%", &format!("{byte:02X}")]) }
    }
    uri
}
