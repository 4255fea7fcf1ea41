//! The dependency policy: which crates may be in Cargo.lock, from where, and under which licences.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

/// The accepted licences. Each part of a crate's licence expression must offer one of them.
const LICENCES: &[&str] = &["MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Unicode-3.0"];
/// The only permitted source of crates.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The crates that may have two versions: in the programs there is one version of each. (ring has the older getrandom, tests
/// the newer one; windows-sys is in none.)
const DUPLICATES: &[&str] = &["getrandom", "syn", "windows-sys"];

/// Reads a file of the source tree.
fn text(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("readable")
}

/// Returns the names in Cargo.lock, sorted, once for each version.
fn locked() -> Vec<String> {
    let lock: toml::Table = text("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("an array").iter();
    let mut names: Vec<_> = packages
        .map(|package| package["name"].as_str().expect("a name").to_owned())
        .filter(|name| name != "dropline")
        .collect();
    names.sort();
    names
}

/// Returns whether an SPDX expression allows the use under [`LICENCES`].
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn every_crate_of_the_lock_file_is_listed() {
    let locked: BTreeSet<_> = locked().into_iter().collect();
    let list = text("tests/data/dependencies");
    let listed: BTreeSet<_> = list.lines().map(str::to_owned).collect();
    let added: Vec<_> = locked.difference(&listed).collect();
    let removed: Vec<_> = listed.difference(&locked).collect();
    assert!(
        added.is_empty() && removed.is_empty(),
        "tests/data/dependencies lacks {added:?}, and lists {removed:?}, which Cargo.lock does not have; \
         see CONTRIBUTING.md for the crates that may be added"
    );
}

#[test]
fn no_crate_has_two_versions() {
    let names = locked();
    let twice: Vec<_> = names
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0].as_str())
        .collect();
    assert_eq!(twice, DUPLICATES);
}

#[test]
fn crates_come_from_crates_io_under_allowed_licences() {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("an array");
    assert!(packages.len() > 50, "{} packages", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or("no licence");
        assert!(is_allowed(licence), "{name}: {licence}");
        if name != "dropline" {
            assert_eq!(package["source"], CRATES_IO, "{name}");
        }
    }
}

#[test]
fn licence_expressions_are_evaluated() {
    for allowed in [
        "MIT",
        "GPL-3.0 OR MIT",
        "Apache-2.0/GPL-2.0",
        "(MIT OR X) AND Unicode-3.0",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "", "no licence"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn contributing_explains_every_direct_dependency() {
    let manifest: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let contributing = text("CONTRIBUTING.md");
    let table = contributing.split("| crate | purpose |").nth(1);
    let table = table.expect("the table of crates");
    let explained: BTreeSet<_> = table
        .lines()
        .filter_map(|row| row.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .collect();
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().expect("a table").keys() {
            assert!(explained.contains(name.as_str()), "{name}");
        }
    }
}
