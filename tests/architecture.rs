//! The layers of the library, as `docs/architecture.md` draws them, and its documentation.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms of `src`, folders and files, in layers: a room imports only from rooms before it. A guide names anything.
const LAYERS: &[&str] = &[
    "util",
    "model",
    "api_server",
    "selector",
    "affinity",
    "scheduling",
    "adoption",
    "backoff",
    "policy",
    "settings",
    "placement",
    "plan",
    "context",
    "node",
    "rollout",
    "gc",
    "planner",
    "cluster",
    "history",
    "explain",
    "overhead",
    "lint",
    "forecast",
    "manifest",
    "k8s",
    "flags",
    "strategies",
    "synthetic",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The room of a file: its first folder, or the file itself.
fn room(file: &Path) -> String {
    let relative = file.strip_prefix(source()).unwrap();
    relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The text without comments, so that a link in a doc comment is no import.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms that a file imports from, and everything else that follows `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if rest.starts_with('{') {
            found.extend(heads(rest));
        } else {
            found.insert(identifier(rest).to_owned());
        }
    }
    found
}

fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()
}

/// The first segments of the paths in a group of imports `{a::b, c::{d, e}}`.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut expects_head) = (0, Vec::new(), false);
    for (at, c) in group.char_indices() {
        match c {
            '{' => (depth, expects_head) = (depth + 1, depth == 0),
            '}' if depth == 1 => return heads,
            '}' => depth -= 1,
            ',' if depth == 1 => expects_head = true,
            c if expects_head && !c.is_whitespace() => {
                heads.push(identifier(&group[at..]).to_owned());
                expects_head = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn imports_are_read_in_every_form() {
    let found =
        imports("use crate::{\n    a::{B, C},\n    d::E,\n}; crate::f::g(); pub(crate) use super::x; $crate::h!()");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "d", "f"]);
}

#[test]
fn every_room_imports_only_from_the_rooms_before_it() {
    let mut wrong = Vec::new();
    let mut imported = 0;
    for file in files(&source()) {
        let room = room(&file);
        if matches!(room.as_str(), "lib" | "guide") {
            continue;
        }
        let layer = LAYERS.iter().position(|known| *known == room);
        let Some(layer) = layer else { panic!("{}: the room {room} has no layer", file.display()) };
        for import in imports(&code(&file)).into_iter().filter(|import| *import != room) {
            imported += 1;
            match LAYERS.iter().position(|known| *known == import) {
                Some(other) if other < layer => {}
                Some(_) => wrong.push(format!("{} imports from {import}, a later room", file.display())),
                None => wrong.push(format!("{} imports crate::{import}, not by its module", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(imported > 200, "only {imported} imports were found");
}

#[test]
fn the_architecture_page_draws_these_layers() {
    let page = fs::read_to_string(source().join("../docs/architecture.md")).unwrap();
    let (_, rest) = page.split_once("## Layers").unwrap();
    let (rooms, _) = rest.split_once("\n## ").unwrap();
    let drawn: Vec<_> = rooms.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
    let drawn: Vec<_> = drawn.into_iter().map(|(room, _)| room.trim_end_matches('/').trim_end_matches(".rs")).collect();
    assert_eq!(drawn, LAYERS);
}

#[test]
fn few_files_lie_directly_in_the_source_folder() {
    let files = fs::read_dir(source()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert!(files <= 10, "{files}");
}

#[test]
fn every_public_item_has_an_example() {
    let files = files(&source());
    assert!(files.len() > 50, "{files:?}");
    let mut items = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let mut kinds = ["struct", "enum", "fn", "const"].into_iter();
            if !kinds.any(|kind| line.strip_prefix("pub ").is_some_and(|rest| rest.starts_with(kind))) {
                continue;
            }
            let before =
                lines[..number].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with('#'));
            assert!(before.clone().any(|line| line.contains("```")), "{}: {line}", file.display());
            items += 1;
        }
    }
    assert!(items > 80, "{items}");
}

/// The names of all types that a line of code declares.
fn declared_type(line: &str) -> Option<&str> {
    let is_associated = line.starts_with(' ') && line.trim_start().starts_with("type ");
    let rest = line.trim_start();
    let rest = ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
    let kinds = ["struct ", "enum ", "trait ", "type "];
    kinds.iter().find_map(|kind| rest.strip_prefix(kind)).filter(|_| !is_associated).map(identifier)
}

#[test]
fn no_two_types_of_a_package_have_the_same_name() {
    for package in ["src", "cli/src", "controller/src"] {
        let mut known = BTreeMap::new();
        for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(package)) {
            for name in code(&file).lines().filter_map(declared_type) {
                if let Some(other) = known.insert(name.to_owned(), file.clone()) {
                    panic!("{name} is declared in {} and in {}", other.display(), file.display());
                }
            }
        }
        assert!(known.len() > 10, "{package}: {}", known.len());
    }
}

/// The packages that the library is built with, all features included, by the workspace's lock file. Cargo downloads those that
/// only other packages of the workspace need.
fn dependencies() -> Vec<serde_json::Value> {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let (nodes, packages) =
        (metadata["resolve"]["nodes"].as_array().unwrap(), metadata["packages"].as_array().unwrap());
    let package = |id: &str| packages.iter().find(|package| package["id"] == id).unwrap();
    let root = packages.iter().find(|package| package["name"] == "daemonplan").unwrap()["id"].as_str().unwrap();
    let (mut found, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(id) = next.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        let is_for_build =
            |dep: &&serde_json::Value| dep["dep_kinds"].as_array().unwrap().iter().any(|it| it["kind"] != "dev");
        next.extend(
            node["deps"].as_array().unwrap().iter().filter(is_for_build).map(|dep| dep["pkg"].as_str().unwrap()),
        );
    }
    found.into_iter().map(|id| package(id).clone()).collect()
}

#[test]
fn no_dependency_of_the_library_needs_a_newer_compiler() {
    let version = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let own = version(env!("CARGO_PKG_RUST_VERSION"));
    let dependencies = dependencies();
    assert!(dependencies.len() > 20, "{}", dependencies.len());
    for package in dependencies {
        let needed = package["rust_version"].as_str().map(version);
        assert!(needed.is_none_or(|needed| needed <= own), "{} {}", package["name"], package["rust_version"]);
    }
}

#[test]
fn there_is_no_global_state() {
    for file in files(&source()) {
        let code = code(&file);
        for state in
            ["thread_local!", "LazyLock", "LazyCell", "OnceLock", "OnceCell", "\nstatic ", " static ", "static mut"]
        {
            assert!(!code.contains(state), "{}: {state}", file.display());
        }
    }
}
