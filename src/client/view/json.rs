//! Formats messages as JSON, one object a line. The field names are a stable interface for programs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::rfc3339;
use crate::client::message_view::MessageView;
use crate::message::escaped_json;

/// A message. Unknown fields are null.
#[derive(Serialize)]
struct MessageRecord<'a> {
    seq: Option<u64>,
    id: Option<String>,
    from: String,
    trust: Option<String>,
    at: Option<String>,
    #[serde(flatten)]
    body: Body<'a>,
}

/// The body of a message: in `body`, or in `body_base64` if it is not UTF-8.
#[derive(Serialize)]
pub(in crate::client) struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl<'a> Body<'a> {
    pub(in crate::client) fn of(bytes: &'a [u8]) -> Self {
        let body = std::str::from_utf8(bytes).ok();
        Self {
            body,
            body_base64: body.is_none().then(|| STANDARD.encode(bytes)),
        }
    }
}

/// Formats a message as a line of JSON, without the newline.
pub(super) fn message_line(message: &MessageView<'_>) -> String {
    let line = MessageRecord {
        seq: message.seq,
        id: message.id.map(|id| id.to_string()),
        from: String::from_utf8_lossy(message.from).into_owned(),
        trust: message.trust.map(|trust| trust.to_string()),
        at: message.at.map(rfc3339),
        body: Body::of(message.body),
    };
    object(&line)
}

/// Formats a value as a line of JSON, without the newline. Characters that could control a terminal are escaped.
pub(in crate::client) fn object(what: &impl Serialize) -> String {
    // Serialization of strings and numbers cannot fail.
    escaped_json(&serde_json::to_string(what).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{MessageId, Trust};

    #[test]
    fn a_message_is_one_line() {
        let mut message = MessageView {
            seq: Some(4),
            id: Some(MessageId([1; 16])),
            from: b"al",
            trust: Some(Trust::Local),
            at: Some(0),
            body: b"a\n\"b\"\x1b",
        };
        let head = r#"{"seq":4,"id":"01010101010101010101010101010101","from":"al","trust":"local","at":"1970-01-01T00:00:00.000Z","#;
        let line = message_line(&message);
        assert_eq!(line, format!(r#"{head}"body":"a\n\"b\"\u001b"}}"#));
        message.body = "\u{202e}\u{9b}".as_bytes();
        assert_eq!(
            message_line(&message),
            format!(r#"{head}"body":"\u202e\u009b"}}"#)
        );
        message.body = b"\xff";
        assert_eq!(
            message_line(&message),
            format!(r#"{head}"body_base64":"/w=="}}"#)
        );
    }
}
