//! The texts of the menu, for wide and for narrow terminals.

use unicode_width::UnicodeWidthStr as _;

/// The smallest width, in columns, at which texts are not shortened.
const WIDE: usize = 64;

/// Formats the header: as many parts on each line as fit.
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

/// Formats the list of choices. `waiting` is the number of waiting messages, if known. Without `presence`, the choices
/// `w` and `h` are left out.
pub(super) fn choices(waiting: Option<u64>, presence: bool, columns: usize) -> String {
    let count = match waiting {
        None | Some(0) => String::new(),
        Some(waiting) => format!(" ({waiting})"),
    };
    let mut text = format!(" 1  Send a message\n 2  Read messages{count}\n 3  Exit\n");
    let narrow = columns < WIDE;
    text.push_str(match (presence, narrow) {
        (true, false) => " w  Who is online    h  History    o  Outbox    ?  Help",
        (true, true) => " w  Who is online    h  History\n o  Outbox           ?  Help",
        (false, _) => " o  Outbox    ?  Help",
    });
    text
}

/// Returns the help. It fits a screen of 24 lines by 80 columns, or of 12 lines by 40 columns.
pub(super) fn help(columns: usize) -> &'static str {
    if columns < WIDE { NARROW } else { HELP }
}

const HELP: &str = " 1               send a message, directly if the recipient is online
 2               read your messages
 3  !quit        exit
 w  !who         list the users, and who is online
 r               reply to the sender of the last message
 h               show messages read earlier, with their times
 o               show messages that are not sent yet, or were refused
 !send NAME      send a message of several lines
 !register NAME  change your name to NAME
 !deregister     remove your name from the server
 !status         show your connection, waiting messages and datagrams
 Tab             complete a name
 ~bob: ...       a message from bob; ~ means that the name is not verified";

const NARROW: &str = " 1 send      2 read       3 exit
 w who is online     r reply
 h history   o outbox
 !send NAME      several lines
 !register NAME  change your name
 !deregister     remove your name
 !status         show status
 !who  !quit     same as w and 3
 Tab             complete a name
 ~bob: ...       name not verified";

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(text: &str, columns: usize, lines: usize) -> bool {
        text.lines().count() < lines && text.lines().all(|line| line.width() < columns)
    }

    #[test]
    fn texts_fit_the_screen() {
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
