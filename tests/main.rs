//! Integration tests. They run the built programs as a user does.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod admin;
mod attack;
mod chat;
mod children;
mod claims;
mod client;
mod commands;
mod cost;
mod delivery;
mod dependencies;
mod documents;
mod expire;
mod framed;
mod full;
mod gate;
mod house;
mod instant;
mod journal;
mod life;
mod limits;
mod line;
mod load;
mod login_helper;
mod logins;
mod master;
mod menu;
mod net;
mod once;
mod outbox;
mod proof;
mod service;
mod session;
mod start;
mod support;
mod trust;
