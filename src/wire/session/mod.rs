//! The session dialect: text lines and counted bodies, many requests per connection, pipelining allowed.
//!
//! A line has at most 1,024 bytes, and one space separates its fields. Options are `key=value` in any order; unknown
//! options are ignored. A body follows its line, which gives the length, and a newline follows the body.

mod answer;
mod fields;
mod request;

pub(crate) use answer::{
    Answer, AnswerLine, Location, Message, PING_INTERVAL, decode_answer, encode_end,
    encode_location, encode_message, encode_stored, encode_user,
};
pub(crate) use fields::AnswerFields;
pub(crate) use request::{
    LONGEST_TTL, OPENING, Parsed, Request, VERSION, decode_request, encode_request,
};
