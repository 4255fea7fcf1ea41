//! The menu, in a pseudo-terminal.

use rexpect::session::{PtySession, spawn_command};

use crate::support::{Daemon, PATIENCE};

fn menu(daemon: &Daemon, args: &[&str]) -> PtySession {
    let mut command = daemon.client();
    command
        .args(["127.0.0.1", &daemon.port.to_string()])
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
