//! Generates the shipped droplined.toml, and the section KEYS of droplined.toml(5), from the table of keys.

use std::fs;
use std::path::Path;

use super::keys::{ConfigFile, DEFAULTS, NO_MAX, sections};
use super::table::{Key, When};

impl Key {
    /// Returns the line that sets the key to its default.
    fn line(&self) -> String {
        let Self { name, default, .. } = self;
        match default.starts_with(char::is_uppercase) {
            true => format!("{name} = \"{}\"", default.to_lowercase()),
            false => format!("{name} = {default}"),
        }
    }

    /// Returns the paragraphs of the manual. The first includes the range, and whether a change needs a restart.
    fn paragraphs(&self) -> Vec<String> {
        let mut paragraphs = paragraphs(self.text);
        let first = paragraphs.first_mut().expect("a text");
        *first += &match self.range {
            Some((min, NO_MAX)) => format!(" Range: {min} or more."),
            Some((min, max)) => format!(" Range: {min} to {max}."),
            None => String::new(),
        };
        if self.when == When::Restart {
            *first += " A change needs a restart.";
        }
        paragraphs
    }
}

fn paragraphs(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let all = lines.split(|line| line.is_empty());
    let all = all.map(|lines| lines.join(" "));
    all.filter(|text| !text.is_empty()).collect()
}

fn is_key(word: &str) -> bool {
    let mut keys = sections().into_iter().flat_map(|section| section.keys);
    keys.any(|key| key.name == word)
}

/// Formats a TOML comment. Values are quoted; keys, options and manual pages are not.
fn comment(text: &str) -> String {
    let mut plain = String::new();
    for (n, piece) in text.split('`').enumerate() {
        let is_value = n % 2 == 1 && !is_key(piece) && !piece.starts_with(['-', '[', '/']);
        match is_value && !piece.ends_with(')') {
            true => plain += &format!("{piece:?}"),
            false => plain += piece,
        }
    }
    let mut comment = String::new();
    let mut line = "#".to_owned();
    for word in plain.split_whitespace() {
        if line.len() + word.len() >= 100 {
            comment += &format!("{line}\n");
            line = "#".into();
        }
        line += &format!(" {word}");
    }
    comment + &line + "\n"
}

/// Returns the text of the shipped droplined.toml.
fn shipped_file() -> String {
    let head = "droplined.toml - configuration of droplined. This file lists every key with its default. An unknown key \
                is an error; check the file with droplined --check. Options on the command line override this file.";
    let mut out = comment(head);
    for section in sections() {
        out += &format!("\n# == {} ==\n", section.title);
        for text in paragraphs(section.text) {
            out += &comment(&text);
        }
        for key in section.keys {
            let text = comment(&key.paragraphs()[0]);
            let line = match key.example {
                None => key.line(),
                // It would end the table of the other keys.
                Some(example) => format!("#{}", example.replace('\n', "\n#")),
            };
            out += &format!("\n{text}{line}\n");
        }
    }
    out
}

/// Formats an mdoc paragraph: a line for each sentence, and one for each name or value with its punctuation.
fn mdoc(text: &str) -> String {
    let mut out = String::new();
    for (n, piece) in text.split('`').enumerate() {
        if n % 2 == 0 {
            let rest = piece.trim_start_matches(['.', ',', ';', ':']);
            let marks = piece[..piece.len() - rest.len()].chars();
            marks.for_each(|mark| out += &format!(" {mark}"));
            out += &format!("\n{}\n", rest.trim().replace(". ", ".\n"));
        } else if is_key(piece) {
            out += &format!(".Ic {piece}");
        } else if let Some((page, section)) = piece.split_once('(') {
            out += &format!(".Xr {page} {}", section.trim_end_matches(')'));
        } else if let Some(flag) = piece.strip_prefix('-') {
            out += &format!(".Fl {}", flag.replace('-', "Fl "));
        } else if piece.starts_with('/') {
            out += &format!(".Pa {piece}");
        } else {
            out += &format!(".Ql {piece}");
        }
    }
    let lines = out.lines().filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the section KEYS of droplined.toml(5).
fn manual() -> String {
    let mut out = ".Sh KEYS\nEach key is given with its default.\n".to_owned();
    for section in sections() {
        out += &format!(".Ss {}\n", section.title);
        for text in paragraphs(section.text) {
            out += &mdoc(&text);
        }
        out += ".Bl -tag -width Ds\n";
        for key in section.keys {
            let line = key.example.map_or_else(|| key.line(), str::to_owned);
            let line = line.lines().next().unwrap_or_default().to_owned();
            out += &format!(".It Ic {}\n", line.replace('"', "\\(dq"));
            let texts = key.paragraphs().into_iter().map(|text| mdoc(&text));
            out += &texts.collect::<Vec<_>>().join(".Pp\n");
        }
        out += ".El\n";
    }
    out
}

#[test]
fn the_shipped_file_and_the_manual_match_the_table() {
    let path = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let read = |name: &str| fs::read_to_string(path(name)).expect(name);
    let page = read("etc/man/droplined.toml.5");
    let (before, rest) = page.split_once(".Sh KEYS\n").expect("KEYS");
    let (_, after) = rest.split_once(".Sh FILES\n").expect("FILES");
    let page = format!("{before}{}.Sh FILES\n{after}", manual());
    for (name, made) in [
        ("etc/droplined.toml", shipped_file()),
        ("etc/man/droplined.toml.5", page),
    ] {
        if std::env::var_os("DROPLINE_WRITE_REFERENCE").is_some() {
            fs::write(path(name), &made).expect("written");
        }
        let command = "DROPLINE_WRITE_REFERENCE=1 cargo test --lib config::";
        assert!(
            read(name) == made,
            "{name} differs from src/config/keys.rs: run {command}"
        );
    }
}

#[test]
fn the_shipped_file_has_the_defaults() {
    let shipped = ConfigFile::parse(&shipped_file()).expect("valid");
    let settings = shipped.settings();
    assert_eq!(settings, ConfigFile::default().settings());
    assert_eq!(settings.bind.len(), DEFAULTS.bind.len());
    let networks = [settings.open_networks, settings.penalty_exempt];
    let defaults = [DEFAULTS.open_networks, DEFAULTS.penalty_exempt];
    assert_eq!(networks.map(|all| all.len()), defaults.map(|all| all.len()));
}

/// Sets each key to another value. A running daemon must adopt it only if the entry has `Reload`.
#[test]
fn a_changed_key_takes_effect_or_is_reported_to_need_a_restart() {
    let before = ConfigFile::default().settings();
    for key in sections().into_iter().flat_map(|section| section.keys) {
        let other = match (key.name, key.default.parse::<u64>()) {
            ("max_body", Ok(number)) => (number - 1).to_string(),
            (_, Ok(number)) => (number + 1).to_string(),
            ("bind", _) => "[\"::1\"]".into(),
            ("open_networks" | "penalty_exempt", _) => "[]".into(),
            ("reserve_logins", _) => "false".into(),
            ("socket", _) => "[{ path = \"/a\", name = \"b\" }]".into(),
            ("open_logins", _) => "[\"backup\"]".into(),
            ("sandbox", _) => "\"off\"".into(),
            ("log", _) => "\"stderr\"".into(),
            ("titles", _) => "\"names\"".into(),
            _ => "\"/other\"".into(),
        };
        let text = format!("{} = {other}", key.name);
        let mut now = ConfigFile::parse(&text).expect("valid").settings();
        assert_ne!(now, before, "{text} is no change");
        let told = now.keep_what_needs_a_restart(&before);
        let restart = key.when == When::Restart;
        assert_eq!(told, if restart { vec![key.name] } else { vec![] });
        assert_eq!(now == before, restart, "{text}");
    }
}
