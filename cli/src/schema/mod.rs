//! `daemonplan schema`: the JSON Schemas of what `-o json` prints.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Failure,
    output::{self, write_error, write_json},
};

/// The commands with JSON output.
const COMMANDS: [&str; 7] = ["plan", "explain", "diff", "forecast", "lint", "overhead", "history"];

/// Print the JSON Schema of a command's JSON output.
#[derive(Debug, Args)]
#[command(
    after_help = "The schema is of draft 2020-12. Its $id, such as urn:daemonplan:schema:v1:plan, has the version: \
    within a version fields and codes may be added, but none is removed, renamed or given another type."
)]
pub(super) struct SchemaArgs {
    /// The command that prints the JSON
    #[arg(value_parser = COMMANDS)]
    command: String,
}

/// The schemas of all commands, which share definitions.
#[derive(Deserialize)]
struct Schemas {
    commands: IndexMap<String, Map<String, Value>>,
    #[serde(rename = "$defs")]
    definitions: BTreeMap<String, Value>,
}

/// The schema of one command, with the definitions that it uses.
#[derive(Serialize)]
struct Schema {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    #[serde(rename = "$id")]
    id: String,
    #[serde(flatten)]
    root: Map<String, Value>,
    #[serde(rename = "$defs")]
    definitions: BTreeMap<String, Value>,
}

pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    let schema = schema(&args.command).map_err(|error| Failure(format!("the schema is malformed: {error}")))?;
    write_json(&mut output::stdout(), &schema).map_err(write_error)?;
    Ok(ExitCode::SUCCESS)
}

fn schema(command: &str) -> serde_json::Result<Schema> {
    let Schemas { mut commands, definitions: all } = serde_json::from_str(include_str!("v1.json"))?;
    let root = commands.swap_remove(command).unwrap_or_default();
    let mut definitions = BTreeMap::new();
    root.values().for_each(|value| add_definitions(value, &all, &mut definitions));
    let id = format!("urn:daemonplan:schema:v1:{command}");
    Ok(Schema { dialect: "https://json-schema.org/draft/2020-12/schema", id, root, definitions })
}

/// Adds the definitions that the schema refers to, also through others.
fn add_definitions(schema: &Value, all: &BTreeMap<String, Value>, to: &mut BTreeMap<String, Value>) {
    match schema {
        Value::Object(fields) => fields.values().for_each(|value| add_definitions(value, all, to)),
        Value::Array(items) => items.iter().for_each(|item| add_definitions(item, all, to)),
        Value::String(text) => {
            if let Some((name, definition)) = text.strip_prefix("#/$defs/").and_then(|name| all.get_key_value(name))
                && to.insert(name.clone(), definition.clone()).is_none()
            {
                add_definitions(definition, all, to);
            }
        }
        _ => {}
    }
}
