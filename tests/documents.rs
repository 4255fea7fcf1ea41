//! Tests of the documents: the defaults that they repeat, their links, and the words of the sources.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{default_of, files_below};

#[test]
fn documents_name_the_defaults_of_the_configuration() {
    let body = default_of("max_body");
    let thousands = format!("{},{:03}", body / 1_000, body % 1_000);
    let (port, lease) = (default_of("port"), default_of("lease"));
    let (days, mib) = (
        default_of("history_days"),
        default_of("history_bytes") >> 20,
    );
    let framed_lease = default_of("framed_lease") / 3_600;
    for (name, says) in [
        ("README.md", format!("nc -N localhost {port}")),
        ("README.md", format!("TCP port {port}, where it serves")),
        ("README.md", format!("for {days} days or {mib} MiB")),
        ("docs/protocol.md", format!("nc localhost {port}")),
        ("docs/protocol.md", format!("one TCP port ({port})")),
        (
            "docs/protocol.md",
            format!("1 to {thousands} bytes (`max_body`"),
        ),
        ("docs/protocol.md", format!("max-body={body} lease={lease}")),
        (
            "docs/protocol.md",
            format!("`framed_lease` ({framed_lease} h)"),
        ),
        ("etc/man/dropline.1", format!("port if that is not {port},")),
        ("etc/man/droplined.8", format!("TCP port {port} by default")),
        (
            "etc/systemd/droplined.socket",
            format!("ListenStream={port}"),
        ),
        (
            "etc/examples/cron-mailer",
            format!("more than {} KiB", body >> 10),
        ),
        ("scripts/run", format!("port={port}")),
    ] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).expect("readable");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(&says),
            "{name} does not contain {says:?}, as in src/config/keys.rs"
        );
    }
}

/// Returns all Markdown documents.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_document = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let entries = [root.to_owned(), root.join("docs")]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).expect("readable"));
    let paths = entries.map(|entry| entry.expect("readable").path());
    let documents: Vec<_> = paths.filter(is_document).collect();
    assert!(documents.len() > 5, "{documents:?}");
    documents
}

#[test]
fn links_of_documents_lead_to_files() {
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        let dir = document.parent().expect("a parent");
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            assert!(dir.join(link).exists(), "{}: {link}", document.display());
        }
    }
}

#[test]
fn the_readme_is_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let lines = fs::read_to_string(path).expect("readable").lines().count();
    assert!(lines <= 170, "{lines} lines");
}

#[test]
fn the_sources_name_who_acts() {
    let words = ["nobody", "somebody", "whoever"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in files_below(&src).expect("readable") {
        let text = fs::read_to_string(&file).expect("readable").to_lowercase();
        for (number, line) in text.lines().enumerate() {
            let count = words.iter().map(|word| line.matches(word).count()).sum();
            let place = format!("{}:{}", file.display(), number + 1);
            found.extend(std::iter::repeat_n(place, count));
        }
    }
    // Some are legitimate, such as the login "nobody" in tests.
    assert!(found.len() < 20, "{} times: {found:#?}", found.len());
}
