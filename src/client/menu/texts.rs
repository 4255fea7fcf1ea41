//! What the menu says, for wide terminals and for narrow ones.

use unicode_width::UnicodeWidthStr as _;

/// The width, in columns, from which on nothing is shortened.
const WIDE: usize = 64;

/// The first line: parts, as many beside each other as fit.
pub(super) fn head(parts: &[String], columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.width() + 3 + part.width() < columns => {
                line.push_str("   ");
                line.push_str(part);
            }
            _ => lines.push(format!(" {part}")),
        }
    }
    lines.join("\n")
}

/// What can be chosen. `waiting` is how many messages are known to wait; without `presence` nobody knows who
/// is there.
pub(super) fn choices(waiting: Option<u64>, presence: bool, columns: usize) -> String {
    let count = match waiting {
        None | Some(0) => String::new(),
        Some(waiting) => format!(" ({waiting})"),
    };
    let mut text = format!(" 1  Send a message\n 2  Read messages{count}\n 3  Exit\n");
    let narrow = columns < WIDE;
    text.push_str(match (presence, narrow) {
        (true, false) => " w  Who is there    h  History    o  Outbox    ?  Help",
        (true, true) => " w  Who is there    h  History\n o  Outbox          ?  Help",
        (false, _) => " o  Outbox    ?  Help",
    });
    text
}

/// What can be typed: no more than a screen of 24 lines and 80 columns, or of 12 lines and 40 columns.
pub(super) fn help(columns: usize) -> &'static str {
    if columns < WIDE { NARROW } else { HELP }
}

const HELP: &str = " 1               sends a message: at once to who is online, else by the server
 2               reads what waits for you
 3  !quit        leaves
 w  !who         shows who is known, and who is online
 r               replies to the last message
 h               shows messages that you have read, and when they came
 o               shows messages that could not be sent yet, or were refused
 !send NAME      sends a message of several lines
 !register NAME  makes you NAME; !deregister makes the server forget you
 !status         says how things are
 Tab             completes names
 ~bob: ...       comes from somebody who says that they are bob";

const NARROW: &str = " 1 send      2 read       3 leave
 w who is there      r reply
 h history   o outbox
 !send NAME      several lines
 !register NAME  become NAME
 !deregister     be forgotten
 !status         how things are
 !who  !quit     as w and 3
 Tab             completes names
 ~bob says that they are bob, bob is";

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str, columns: usize, lines: usize) -> bool {
        text.lines().count() < lines && text.lines().all(|line| line.width() < columns)
    }

    #[test]
    fn what_is_said_fits_the_screen() {
        for (columns, lines) in [(80, 24), (40, 12)] {
            assert!(fits(help(columns), columns, lines));
            assert!(fits(&choices(Some(3), true, columns), columns, lines));
            let parts = ["dropline", "alice@localhost:8282", "3 waiting"];
            let parts = parts.map(str::to_owned);
            assert!(fits(&head(&parts, columns), columns + 1, lines));
        }
        assert!(choices(Some(3), true, 80).contains("2  Read messages (3)\n"));
        assert!(choices(Some(0), true, 80).contains("2  Read messages\n"));
    }
}
