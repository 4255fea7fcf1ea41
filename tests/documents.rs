//! Documents that repeat a default of the configuration name the right one.

use std::fs;

use crate::support::default_of;

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
    let per_source = default_of("children_per_source");
    for (name, says) in [
        ("README.md", format!("nc localhost {port}")),
        ("README.md", format!("One TCP port ({port})")),
        ("README.md", format!("at most {per_source} connections")),
        ("README.md", format!("({days} days or {mib} MiB, whichever")),
        ("README.md", format!("1 to {thousands} bytes (`max_body`)")),
        ("README.md", format!("max-body={body} lease={lease}")),
        ("README.md", format!("`framed_lease` ({framed_lease} h)")),
        ("etc/man/dropline.1", format!("port if that is not {port},")),
        ("etc/man/droplined.8", format!("a TCP port, {port} unless")),
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
            "{name} does not say {says:?}, but src/config/keys.rs does"
        );
    }
}
