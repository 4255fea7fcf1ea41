//! The format of `droplinectl export` and `import`: one JSON object per line.
//!
//! The registered names come first, then the names that belong to a login. A mailbox is a line with its state,
//! and then a line for each message. A body in UTF-8 is `body`, any other
//! `body_base64`. Fields that this version does not support are `fields_base64`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::message::{Fields, LARGEST_MAX_BODY, Stored, Trust};
use crate::name::Name;

/// A line of the archive.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum ArchiveLine {
    /// A message of the last mailbox before it.
    Message(ArchivedMessage),
    /// A registered name.
    User {
        user: String,
        /// The time of registration, in milliseconds since 1970.
        registered: u64,
    },
    /// A name that has an owner.
    Claim {
        login: String,
        /// The time of the claim, in milliseconds since 1970.
        claimed: u64,
        /// The user ID of the login.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// Whether its account was in /etc/passwd.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_files: bool,
        /// The machine on which the user ID is valid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// Why the record has no owner, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<NoOwner>,
    },
    /// The beginning of a mailbox.
    Mailbox {
        mailbox: String,
        /// The number up to which messages are acknowledged.
        acked: u64,
        /// Whether clients have used it while its name had no owner. Archives of earlier versions lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used: Option<bool>,
    },
}

/// The state of an owner record that has no owner.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NoOwner {
    Incomplete,
    Damaged,
}

/// A message in the archive.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchivedMessage {
    mailbox: String,
    pub(super) seq: u64,
    id: String,
    from: String,
    trust: TrustName,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    once: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields_base64: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TrustName {
    Open,
    Local,
}

impl ArchivedMessage {
    /// Converts a stored message.
    pub(super) fn new(mailbox: &Name, message: &Stored<'_>) -> Self {
        let text = std::str::from_utf8(message.body).ok().map(str::to_owned);
        let bytes = text.is_none().then(|| BASE64_STANDARD.encode(message.body));
        Self {
            mailbox: mailbox.to_string(),
            seq: message.seq,
            id: message.id.to_string(),
            from: message.from.to_string(),
            trust: match message.trust {
                Trust::Open => TrustName::Open,
                Trust::Local => TrustName::Local,
            },
            at: message.at,
            expires: message.expires,
            once: message.once,
            body: text,
            body_base64: bytes,
            fields_base64: (message.fields != Fields::default())
                .then(|| BASE64_STANDARD.encode(message.fields.as_bytes())),
        }
    }

    /// Converts the line to a message of `mailbox`. Its body and fields are stored in `bytes`.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn stored<'b>(
        &self,
        mailbox: &Name,
        bytes: &'b mut Vec<u8>,
    ) -> Result<Stored<'b>, String> {
        if self.mailbox != mailbox.as_str() {
            return Err(format!(
                "a message of {:?} among those of {mailbox}",
                self.mailbox
            ));
        }
        *bytes = match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(encoded)) => BASE64_STANDARD
                .decode(encoded)
                .map_err(|e| format!("body_base64: {e}"))?,
            _ => return Err("a message has either body or body_base64".into()),
        };
        let body_len = bytes.len();
        if body_len == 0 || body_len > LARGEST_MAX_BODY {
            return Err(format!(
                "a body has 1 to {LARGEST_MAX_BODY} bytes, not {body_len}"
            ));
        }
        if let Some(encoded) = &self.fields_base64 {
            let fields = BASE64_STANDARD.decode(encoded);
            bytes.extend(fields.map_err(|e| format!("fields_base64: {e}"))?);
        }
        let (body, fields) = bytes.split_at(body_len);
        Ok(Stored {
            seq: self.seq,
            id: self
                .id
                .parse()
                .map_err(|()| "an id has 32 hexadecimal digits".to_owned())?,
            from: self.from.parse().map_err(|e| format!("from: {e}"))?,
            trust: match self.trust {
                TrustName::Open => Trust::Open,
                TrustName::Local => Trust::Local,
            },
            at: self.at,
            expires: self.expires,
            once: self.once,
            body,
            fields: Fields::new(fields)
                .ok_or("fields_base64: a field is cut off, or they are too long")?,
        })
    }
}
