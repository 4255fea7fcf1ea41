//! What the configuration is, of all that it can be made of.

use clap::Parser;

use super::*;

fn load(text: &str, flags: &[&str]) -> Result<Config, String> {
    let file = File::parse(text).map_err(|wrong| wrong.place + ": " + &wrong.what)?;
    let cli = Cli::try_parse_from([&["droplined"], flags].concat()).expect("flags");
    let place = Places {
        config: "/c".into(),
        spool: "/s".into(),
        run_dir: "/r".into(),
    };
    Config::merge(&cli, file, Some(&place)).map_err(|e| e.to_string())
}

#[test]
fn the_shipped_file_has_every_key_and_the_defaults() {
    let shipped = include_str!("../../../etc/droplined.toml");
    let from_file = load(shipped, &[]).expect("valid");
    let mut defaults = load("", &[]).expect("valid");
    // The shipped file is for the system's daemon.
    (defaults.spool, defaults.run_dir) = ("/var/spool/dropline".into(), "/run/dropline".into());
    assert_eq!(format!("{from_file:?}"), format!("{defaults:?}"));
    let wrong = File::parse("x = 1").expect_err("unknown");
    let keys = wrong.what.split('`').skip(3).step_by(2);
    for key in keys {
        assert!(
            shipped.contains(&format!("\n{key} = ")),
            "{key} is not in the shipped file"
        );
    }
}

#[test]
fn wrong_files_are_refused_with_the_place() {
    let error = load("port = 1\nprot = 2\n", &[]).expect_err("refused");
    assert!(
        error.contains("line 2, column 1") && error.contains("prot"),
        "{error}"
    );
    let error = load("max_body = 2000000", &[]).expect_err("refused");
    assert!(error.contains("1 to 1048576"), "{error}");
    assert!(load("open_networks = [\"10.0.0.0/33\"]", &[]).is_err());
    for wrong in [
        "port = -1",
        "bind = []",
        "spool = \"\"",
        "run_dir = \"/a\\u0000b\"",
        "spool = \"relative\"",
        "port = [",
    ] {
        assert!(load(wrong, &[]).is_err(), "{wrong}");
    }
    let one = load("open_networks = [\"10.1.2.3\", \"::/0\"]", &[]).expect("valid");
    assert_eq!(one.open_networks[0].to_string(), "10.1.2.3/32");
}

/// Another value for each key. What is read for each connection, or when the daemon ends, takes effect at once.
#[test]
fn a_changed_key_takes_effect_or_is_told_to_need_a_restart() {
    let before = load("", &[]).expect("valid");
    let shipped = include_str!("../../../etc/droplined.toml");
    let keys = shipped.lines().filter_map(|line| line.split_once(" = "));
    for (key, value) in keys.filter(|(key, _)| !key.starts_with('#')) {
        let other = match key {
            "bind" => "[\"::1\"]".to_owned(),
            "open_networks" | "penalty_exempt" => "[]".into(),
            "user" => "\"other\"".into(),
            "sandbox" => "\"off\"".into(),
            "log" => "\"stderr\"".into(),
            "syslog_socket" | "spool" | "run_dir" => "\"/other\"".into(),
            _ => (value.parse::<u64>().expect("a number") + 1).to_string(),
        };
        let other = match key {
            "max_body" => "65535".into(),
            _ => other,
        };
        let mut now = load(&format!("{key} = {other}"), &[]).expect("valid");
        let changed = format!("{now:?}") != format!("{before:?}");
        assert!(changed, "{key} = {other} is no change");
        let told = now.keep_what_needs_a_restart(&before);
        let restart = [
            "port",
            "bind",
            "user",
            "sandbox",
            "log",
            "syslog_socket",
            "spool",
            "run_dir",
        ];
        let expected: &[&str] = if restart.contains(&key) { &[key] } else { &[] };
        assert_eq!(told, expected);
        let stays = format!("{now:?}") == format!("{before:?}");
        assert_eq!(stays, restart.contains(&key), "{key}");
    }
}

#[test]
fn flags_win() {
    let file = "port = 1\nbind = [\"::1\"]\nopen_networks = [\"10.0.0.0/8\"]";
    let flags = [
        "-p",
        "2",
        "--bind",
        "127.0.0.1",
        "--open-network",
        "10.1.0.0/16",
    ];
    let config = load(file, &flags).expect("valid");
    assert_eq!(config.port, 2);
    assert_eq!(
        config.bind,
        ["127.0.0.1".parse::<IpAddr>().expect("an address")]
    );
    assert_eq!(config.open_networks.len(), 2);
    assert_eq!(load(file, &[]).expect("valid").port, 1);
}

#[test]
fn in_a_hurry_all_that_clients_take_time_for_is_a_third() {
    let config = load("", &[]).expect("valid");
    let times = |config: &Config| {
        let times = [
            config.first_byte_timeout,
            config.request_timeout,
            config.idle_timeout,
            config.delivery_timeout,
        ];
        times.map(|time| time.as_millis())
    };
    let (usual, hurry) = (times(&config), times(&config.clone().in_a_hurry()));
    assert_eq!(hurry, usual.map(|millis| millis / 3));
    assert_eq!(config.clone().in_a_hurry().lease, config.lease);
}
