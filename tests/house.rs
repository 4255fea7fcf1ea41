//! Checks the sources against the architecture: allowed imports between modules, no import cycles, no stray `unsafe`.

use std::fs;
use std::path::Path;

use crate::support::files_below;
use crate::support::imports::Imports;

/// The modules that each module may import, besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("name", &[]),
    ("message", &["sys", "name"]),
    ("config", &["sys", "name", "message"]),
    ("tls", &["sys", "name", "message"]),
    ("wire", &["name", "message"]),
    ("store", &["sys", "name", "message", "config"]),
    (
        "server",
        &["sys", "name", "message", "config", "tls", "wire", "store"],
    ),
    (
        "client",
        &["sys", "name", "message", "config", "tls", "wire"],
    ),
    (
        "admin",
        &["sys", "name", "message", "config", "tls", "store"],
    ),
    ("internals", &["sys", "name", "message", "config", "store"]),
];

/// Returns the imports that [`MAY_IMPORT`] does not allow.
fn wrong_imports(imports: &Imports) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, paths) in imports.paths() {
        let module = file.split(['/', '.']).next().unwrap_or_default();
        let rule = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = rule else {
            wrong.extend((file != "lib.rs").then(|| format!("{file}: {module} has no rule")));
            continue;
        };
        for path in paths {
            let imported = path.split("::").next().unwrap_or_default();
            if imported != module && !allowed.contains(&imported) {
                wrong.push(format!("{file}: {module} imports {path}"));
            }
            // The storage engine is private to the store.
            if path.starts_with("store::spool") && module != "store" {
                wrong.push(format!("{file}: {module} names {path}"));
            }
        }
    }
    wrong
}

fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_below(&src).expect("readable");
    assert!(files.len() > 20, "too few source files");
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

/// Returns the sources of the library.
fn library() -> Vec<(String, String)> {
    let is_program = |(path, _): &(String, String)| path.starts_with("bin/");
    sources().into_iter().filter(|s| !is_program(s)).collect()
}

#[test]
fn imports_run_in_the_directions_of_the_architecture() {
    let wrong = wrong_imports(&Imports::read(&library()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    let circles = Imports::read(&library()).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

fn tree(files: &[(&str, &str)]) -> Imports {
    let owned = |(path, source): &(&str, &str)| ((*path).to_owned(), (*source).to_owned());
    Imports::read(&files.iter().map(owned).collect::<Vec<_>>())
}

#[test]
fn finds_a_wrong_import() {
    let wrong = |file: &str, source: &str| {
        let others = [
            ("sys/poll.rs", ""),
            ("server/mod.rs", ""),
            ("store/spool/mod.rs", ""),
        ];
        wrong_imports(&tree(&[&others[..], &[(file, source)]].concat()))
    };
    assert_eq!(
        wrong("wire/a.rs", "use crate::sys::poll;"),
        ["wire/a.rs: wire imports sys::poll"]
    );
    assert_eq!(
        wrong("client/a.rs", "fn f() { crate::server::main() }"),
        ["client/a.rs: client imports server::main"]
    );
    assert_eq!(
        wrong("client/a.rs", "use super::super::server::{self, main};").len(),
        2
    );
    assert_eq!(wrong("store/a.rs", "use crate::{wire::x, sys};").len(), 1);
    assert_eq!(wrong("store/a.rs", "pub(super) use crate::wire;").len(), 1);
    let in_test = "#[cfg(test)] mod tests { use crate::store::X; }";
    assert_eq!(wrong("wire/a.rs", in_test).len(), 1);
    let new = wrong("news.rs", "use crate::sys::poll;");
    assert_eq!(new, ["news.rs: news has no rule"]);
    assert_eq!(wrong("admin/a.rs", "use crate::store::spool::X;").len(), 1);
    assert!(wrong("store/a.rs", "use crate::sys::poll; use super::spool::X;").is_empty());
}

#[test]
fn finds_import_cycles_and_the_names_that_cause_them() {
    let two = tree(&[
        ("a.rs", "use crate::b::{C, d};"),
        ("b.rs", "fn f() { crate::a::E::new(); }"),
    ]);
    assert_eq!(two.circles(), ["2 files: a.rs -(C, d)-> b.rs -(E)-> a.rs"]);
    let three = tree(&[
        ("m/mod.rs", "mod a; mod b; mod c;"),
        ("m/a.rs", "use super::{\n    b::B,\n};"),
        ("m/b.rs", "use super::c;\nfn f() { c::g(); }"),
        ("m/c.rs", "impl From<super::a::A> for C {}"),
    ]);
    assert_eq!(
        three.circles(),
        ["3 files: m/a.rs -(B)-> m/b.rs -(g)-> m/c.rs -(A)-> m/a.rs"]
    );
}

#[test]
fn a_re_export_is_an_alias_for_the_file_that_defines_the_item() {
    let others = [
        ("m/a.rs", "use super::b::B;"),
        ("m/b.rs", "use crate::m::A;"),
    ];
    let through = |parent| tree(&[&others[..], &[("m/mod.rs", parent)]].concat()).circles();
    let circle = "2 files: m/a.rs -(B)-> m/b.rs -(A)-> m/a.rs";
    assert_eq!(
        through("mod a; mod b; pub(crate) use self::a::A;"),
        [circle]
    );
    assert_eq!(through("mod a; mod b; pub use a::A;"), [circle]);
    assert!(through("mod a; mod b; struct A;").is_empty());
}

#[test]
fn a_child_may_not_import_from_a_parent_that_uses_it() {
    let child = |parent, child| tree(&[("m/mod.rs", parent), ("m/a.rs", child)]).circles();
    let circle = ["2 files: m/a.rs -(P)-> m/mod.rs -(f)-> m/a.rs"];
    assert_eq!(
        child("mod a; struct P; fn g() { a::f() }", "use super::P;"),
        circle
    );
    assert_eq!(
        child(
            "mod a; use self::a::f; impl T for P { fn t() { f() } }",
            "fn f(p: &super::P) {}"
        ),
        circle
    );
    // The parent's code also uses the name that it exports.
    assert_eq!(
        child(
            "mod a; pub use self::a::f; struct P; fn g() { f() }",
            "use super::P;"
        ),
        circle
    );
    assert!(child("mod a; pub use self::a::f; struct P;", "use super::P;").is_empty());
    assert!(child("mod a; fn g() { a::f() }", "fn f() {}").is_empty());
}

#[test]
fn tests_and_other_crates_form_no_cycle() {
    let circles = tree(&[
        ("a.rs", "use std::b::X; #[cfg(test)] mod tests { use crate::b::B; } fn f() { b.c(); self.b::<u8>(); }"),
        ("b.rs", "#[cfg(test)] mod tests; use crate::a::A;"),
        ("b/tests.rs", "use super::*; use crate::a::A;"),
    ])
    .circles();
    assert!(circles.is_empty(), "{circles:?}");
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let sources = sources();
    for (path, source) in &sources {
        if path == "lib.rs" || path.starts_with("sys/") {
            continue;
        }
        // A `forbid` in the head of a module covers the files below it.
        let head = match path.split('/').collect::<Vec<_>>()[..] {
            [top, _, ..] if top != "bin" => format!("{top}/mod.rs"),
            _ => path.clone(),
        };
        let head = sources.iter().find(|(path, _)| *path == head);
        let (_, head) = head.unwrap_or_else(|| panic!("{path} has no parent module"));
        let fence = "#![forbid(unsafe_code)]\n";
        assert!(head.contains(fence), "{path} does not forbid unsafe code");
        let is_unsafe = source.contains("unsafe {") || source.contains("allow(unsafe_code)");
        assert!(!is_unsafe, "{path} has unsafe code");
    }
}

#[test]
fn the_library_exports_only_the_three_programs_and_the_allocator() {
    let (_, lib) = sources()
        .into_iter()
        .find(|(path, _)| path == "lib.rs")
        .expect("lib.rs");
    let exports: Vec<_> = lib
        .lines()
        .filter(|line| line.starts_with("pub use"))
        .collect();
    // Behind a feature: not part of the default build.
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
