//! The menu, in a pseudo-terminal.

use rexpect::session::{PtySession, spawn_command};

use crate::support::session::Session;
use crate::support::{Daemon, PATIENCE};

fn menu(daemon: &Daemon, args: &[&str]) -> PtySession {
    let mut command = daemon.client();
    command
        .args(["-d", &format!("127.0.0.1:{}", daemon.port)])
        .args(args)
        .env("DROPLINE_SOURCE", "127.0.0.1:0")
        .env("TERM", "xterm")
        .env_remove("USER")
        .env_remove("LOGNAME");
    let limit = u64::try_from(PATIENCE.as_millis()).expect("not long");
    spawn_command(command, Some(limit)).expect("a terminal")
}

fn choose(menu: &mut PtySession, choice: &str) {
    menu.exp_string("3  Exit").expect("the menu");
    menu.send_line(choice).expect("typed");
}

#[test]
fn what_is_stored_with_nc_is_read_in_the_menu() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon.ask("store;Kyriakos;george;hi Kyriakos"),
        "Message accepted and stored:\n"
    );
    let mut menu = menu(&daemon, &["-u", "Kyriakos"]);
    menu.exp_string(&format!("Kyriakos@127.0.0.1:{}", daemon.port))
        .expect("who and where");
    choose(&mut menu, "2");
    menu.exp_string("~george: hi Kyriakos")
        .expect("the message");
    choose(&mut menu, "2");
    menu.exp_string("No messages for Kyriakos.")
        .expect("it is shown once");
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
}

#[test]
fn a_message_is_sent_and_mistakes_are_forgiven() {
    let daemon = Daemon::start();
    let mut menu = menu(&daemon, &[]);
    menu.exp_string("Your name:").expect("nobody has said it");
    menu.send_line("no/name").expect("typed");
    menu.exp_string("That is not a name").expect("a hint");
    menu.send_line("alice").expect("typed");
    choose(&mut menu, "9");
    menu.exp_string("Type 1, 2 or 3.").expect("a hint");
    choose(&mut menu, "1");
    menu.exp_string("To:").expect("a question");
    menu.send_line("bob").expect("typed");
    menu.exp_string("Message:").expect("a question");
    menu.send_line("how; are you?").expect("typed");
    menu.exp_string("bob is offline: the server keeps it.")
        .expect("an answer");
    assert_eq!(daemon.fetch("bob"), ["bob;alice;how; are you?"]);
    menu.send_control('c').expect("typed");
    menu.exp_eof().expect("Ctrl-C leaves");
}

#[test]
fn a_lost_server_is_said_in_words_and_the_menu_stays() {
    let daemon = Daemon::start();
    let mut menu = menu(&daemon, &["-u", "bob"]);
    menu.exp_string("3  Exit").expect("the menu");
    drop(daemon);
    menu.send_line("2").expect("typed");
    menu.exp_string("cannot reach the server")
        .expect("an error");
    menu.exp_string("3  Exit").expect("the menu");
    menu.send_control('d').expect("typed");
    menu.exp_eof().expect("Ctrl-D leaves");
}

#[test]
fn without_presence_it_is_the_menu_that_it_was() {
    let daemon = Daemon::start();
    let mut menu = menu(&daemon, &["-u", "al", "--dialect", "line"]);
    let head = menu.exp_string("3  Exit").expect("the menu");
    assert!(!head.contains("instant"), "{head}");
    menu.send_line("1").expect("typed");
    menu.exp_string("To:").expect("a question");
    menu.send_line("bob").expect("typed");
    menu.exp_string("Message:").expect("a question");
    menu.send_line("hi").expect("typed");
    menu.exp_string("The server has your message for bob.")
        .expect("an answer");
    choose(&mut menu, "!who");
    menu.exp_string("which does not know who is there")
        .expect("an answer");
    let rest = {
        choose(&mut menu, "3");
        menu.exp_eof().expect("the end")
    };
    assert!(!rest.contains("Who is there"), "{rest}");
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
}

#[test]
fn the_menu_counts_replies_completes_and_remembers() {
    let daemon = Daemon::start();
    daemon.store("bob", "alice", "where are you?");
    Session::of(&daemon, "alice").ask("ONLINE port=9");
    let mut menu = menu(&daemon, &["-u", "bob"]);
    menu.exp_string("1 waiting").expect("the count");
    menu.exp_string("2  Read messages (1)").expect("the count");
    choose(&mut menu, "r");
    menu.exp_string("There is no message to reply to yet.")
        .expect("an answer");
    choose(&mut menu, "2");
    menu.exp_string("~alice: where are you?")
        .expect("the message");
    choose(&mut menu, "r");
    menu.exp_string("To alice:").expect("whom");
    menu.send_line("here").expect("typed");
    menu.exp_string("the server keeps it.").expect("sent");
    choose(&mut menu, "h");
    menu.exp_string("  ~alice: where are you?")
        .expect("the history");
    choose(&mut menu, "1");
    menu.exp_string("To: ").expect("a question");
    menu.send("al\t").expect("typed");
    menu.flush().expect("typed");
    menu.exp_string("alice").expect("completed");
    menu.send_line("").expect("typed");
    menu.exp_string("Message:").expect("a question");
    menu.send_line("and you?").expect("typed");
    menu.exp_string("the server keeps it.").expect("sent");
    choose(&mut menu, "o");
    menu.exp_string("The outbox is empty.").expect("an answer");
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
    let sent = Session::of(&daemon, "alice").read_all();
    let texts: Vec<_> = sent.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["here", "and you?"]);
}

#[test]
fn what_is_longer_than_the_screen_goes_through_the_pager() {
    let daemon = Daemon::start();
    let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
    Session::of(&daemon, "al").store("bob", "", text.as_bytes());
    let mut command = daemon.client();
    command
        .args(["127.0.0.1", &daemon.port.to_string(), "-u", "bob"])
        .env("DROPLINE_SOURCE", "127.0.0.1:0")
        .env("TERM", "xterm")
        .env("PAGER", "sed 's/^/paged /'");
    let limit = u64::try_from(PATIENCE.as_millis()).expect("not long");
    let mut menu = spawn_command(command, Some(limit)).expect("a terminal");
    choose(&mut menu, "2");
    menu.exp_string("paged \tline 99").expect("the message");
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
}

#[test]
fn one_talks_line_by_line() {
    let daemon = Daemon::start();
    daemon.store("alice", "bob", "are you there?");
    let mut chat = menu(&daemon, &["-u", "alice", "chat", "bob"]);
    chat.exp_string("~bob: are you there?").expect("what waits");
    chat.exp_string("alice> ").expect("a prompt");
    chat.send_line("yes").expect("typed");
    chat.exp_string("bob is offline: the server keeps it.")
        .expect("sent");
    daemon.store("alice", "bob", "good");
    chat.send_line("what now?").expect("typed");
    chat.exp_string("~bob: good").expect("what came meanwhile");
    chat.send_control('d').expect("typed");
    chat.exp_eof().expect("the end");
    assert_eq!(
        daemon.fetch("bob"),
        ["bob;alice;yes", "bob;alice;what now?"]
    );
}
