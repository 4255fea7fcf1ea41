//! The session dialect: text lines and counted bodies, many requests a connection, pipelining allowed.
//!
//! A line has at most 1,024 bytes; its fields are separated by one space; options are `key=value` in
//! any order, and unknown ones are passed over. A body follows its line, as long as the line says, and a
//! newline follows the body.

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
