//! The architecture, held against the sources.

use std::fs;
use std::path::Path;

use crate::support::files_below;

/// Which modules each may import, beside itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("name", &[]),
    ("message", &["sys", "name"]),
    ("config", &["sys", "name", "message"]),
    ("wire", &["name", "message"]),
    ("store", &["sys", "name", "message", "config"]),
    (
        "server",
        &["sys", "name", "message", "config", "wire", "store"],
    ),
    ("client", &["sys", "name", "message", "config", "wire"]),
    ("admin", &["sys", "name", "message", "config", "store"]),
    ("internals", &["sys", "name", "message", "store"]),
];

/// The imports in `source`, a file of `module`, that run against the directions.
fn wrong_imports(module: &str, source: &str) -> Vec<String> {
    let rule = MAY_IMPORT.iter().find(|(name, _)| *name == module);
    let Some((_, allowed)) = rule else {
        return vec![format!("{module} has no rule")];
    };
    let mut wrong = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let imported = &rest[..end];
        if imported.is_empty() {
            wrong.push("crate::{ or crate::*: name each module".into());
        } else if imported != module && !allowed.contains(&imported) {
            wrong.push(format!("{module} imports {imported}"));
        }
    }
    wrong
}

fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_below(&src).expect("readable");
    assert!(files.len() > 20, "the sources are there");
    files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        .map(|file| {
            let path = file
                .strip_prefix(&src)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            (path, fs::read_to_string(&file).expect("readable"))
        })
        .collect()
}

#[test]
fn imports_run_in_the_directions_of_the_architecture() {
    for (path, source) in sources() {
        if path == "lib.rs" || path.starts_with("bin/") {
            continue;
        }
        let module = path.split(['/', '.']).next().expect("a module");
        assert_eq!(
            wrong_imports(module, &source),
            Vec::<String>::new(),
            "{path}"
        );
    }
}

#[test]
fn a_wrong_import_is_found() {
    assert_eq!(
        wrong_imports("wire", "use crate::sys::poll;"),
        ["wire imports sys"]
    );
    assert_eq!(
        wrong_imports("client", "fn f() { crate::server::main() }"),
        ["client imports server"]
    );
    assert_eq!(wrong_imports("store", "use crate::{wire, sys};").len(), 1);
    assert_eq!(wrong_imports("news", ""), ["news has no rule"]);
    assert!(wrong_imports("store", "use crate::sys::file;").is_empty());
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    for (path, source) in sources() {
        let fenced = source.contains("#![forbid(unsafe_code)]");
        let head = match path.split('/').collect::<Vec<_>>()[..] {
            ["lib.rs"] | ["sys", ..] => continue,
            [_] | ["bin", _] => true,
            [_, "mod.rs"] => true,
            // Forbidden by the module that it is in.
            _ => false,
        };
        assert!(fenced || !head, "{path} does not forbid unsafe code");
    }
}

#[test]
fn the_library_exports_the_three_programs_and_the_daemons_allocator() {
    let (_, lib) = sources()
        .into_iter()
        .find(|(path, _)| path == "lib.rs")
        .expect("lib.rs");
    let exports: Vec<_> = lib
        .lines()
        .filter(|line| line.starts_with("pub use"))
        .collect();
    // Nobody gets this without asking for it.
    let internals = "#[cfg(feature = \"internals\")]\n#[doc(hidden)]\npub mod internals;\n";
    assert_eq!(lib.matches("pub ").count(), 5);
    assert!(lib.contains(internals));
    let expected = [
        "admin::main as droplinectl",
        "client::main as dropline",
        "server::main as droplined",
        "sys::heap::Heap as DroplinedAllocator",
    ];
    assert_eq!(exports, expected.map(|path| format!("pub use {path};")));
}
