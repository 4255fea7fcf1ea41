//! Tests of the menu in a pseudo-terminal.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use rexpect::session::{PtySession, spawn_command};

use crate::support::menu::{Menu, menu_command, signal_to, spawn, wait_until_gone};
use crate::support::others::{for_others, public_dir};
use crate::support::session::Session;
use crate::support::tmux::Tmux;
use crate::support::wire::instant;
use crate::support::{Daemon, PATIENCE, skip};

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
fn the_menu_reads_a_message_stored_with_nc() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon.ask("store;Kyriakos;george;hi Kyriakos"),
        "Message accepted and stored:\n"
    );
    let mut menu = menu(&daemon, &["-u", "Kyriakos"]);
    menu.exp_string(&format!("Kyriakos@127.0.0.1:{}", daemon.port))
        .expect("the user and the server");
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
fn the_menu_prompts_for_a_missing_name() {
    let test = "the_menu_prompts_for_a_missing_name";
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can switch to a uid without a login");
    }
    let daemon = Daemon::in_dir(public_dir(), "", &[]);
    let mut command = for_others(&menu_command(&daemon), daemon.path());
    command
        .env("DROPLINE_STATE_DIR", "/nowhere")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .uid(54_321);
    let mut menu = spawn(command);
    menu.exp_string("Your name:").expect("a question");
    menu.send_line("no/name").expect("typed");
    menu.exp_string("Invalid name").expect("a hint");
    menu.send_line("alice").expect("typed");
    menu.exp_string("alice@127.0.0.1").expect("the menu");
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
}

#[test]
fn sends_a_message_and_tolerates_invalid_input() {
    let daemon = Daemon::start();
    let mut menu = menu(&daemon, &["-u", "alice"]);
    choose(&mut menu, "9");
    menu.exp_string("Type 1, 2 or 3.").expect("a hint");
    choose(&mut menu, "1");
    menu.exp_string("To:").expect("a question");
    menu.send_line("bob").expect("typed");
    menu.exp_string("Message:").expect("a question");
    menu.send_line("how; are you?").expect("typed");
    menu.exp_string("bob is offline: the server keeps it.")
        .expect("an answer");
    menu.exp_string("note: no user bob is registered yet")
        .expect("a note");
    assert_eq!(daemon.fetch("bob"), ["bob;alice;how; are you?"]);
    menu.send_control('c').expect("typed");
    menu.exp_eof().expect("Ctrl-C leaves");
}

#[test]
fn a_lost_server_is_reported_and_the_menu_stays() {
    let daemon = Daemon::start();
    let mut menu = menu(&daemon, &["-u", "bob"]);
    menu.exp_string("3  Exit").expect("the menu");
    drop(daemon);
    menu.send_line("2").expect("typed");
    menu.exp_string("cannot reach the server")
        .expect("an error");
    menu.exp_string("3  Exit").expect("the menu");
    menu.exp_string("> ").expect("the prompt");
    menu.send_control('d').expect("typed");
    menu.exp_eof().expect("Ctrl-D leaves");
}

#[test]
fn the_menu_of_the_line_dialect_has_no_presence() {
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
    menu.exp_string("does not report who is online")
        .expect("an answer");
    let rest = {
        choose(&mut menu, "3");
        menu.exp_eof().expect("the end")
    };
    assert!(!rest.contains("Who is online"), "{rest}");
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
}

#[test]
fn counts_messages_replies_and_completes_names() {
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
    menu.exp_string("To alice:").expect("a question");
    menu.send_line("here").expect("typed");
    menu.exp_string("The server has your message for alice.")
        .expect("sent");
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
    menu.exp_string("The server has your message for alice.")
        .expect("sent");
    // Names to complete: carol has sent a message, and dave, who is unknown to the server, gets one.
    daemon.store("bob", "carol", "read me");
    choose(&mut menu, "2");
    menu.exp_string("~carol: read me").expect("the message");
    choose(&mut menu, "!send dave");
    menu.send_line("hi").expect("typed");
    menu.send_line(".").expect("typed");
    menu.exp_string("note: no user dave is registered yet")
        .expect("a note");
    // The names from the server are cached for ten seconds.
    std::thread::sleep(Duration::from_secs(10));
    for (typed, name) in [("!send ca\t", "carol"), ("!send da\t", "dave")] {
        menu.exp_string("3  Exit").expect("the menu");
        menu.send(typed).expect("typed");
        menu.flush().expect("typed");
        menu.exp_string(name).expect("completed");
        menu.send_line("").expect("typed");
        menu.exp_string("Several lines")
            .expect("a name is accepted");
        menu.send_control('c').expect("typed");
        menu.exp_string("discarded")
            .expect("the message is discarded");
    }
    choose(&mut menu, "o");
    menu.exp_string("The outbox is empty.").expect("an answer");
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
    let sent = Session::of(&daemon, "alice").read_all();
    let texts: Vec<_> = sent.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["here", "and you?"]);
}

#[test]
fn output_longer_than_the_screen_goes_through_the_pager() {
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

/// Opens bob's menu with this pager.
fn menu_with_pager(daemon: &Daemon, pager: &str) -> Menu {
    let mut command = menu_command(daemon);
    command.args(["-u", "bob"]).env("PAGER", pager);
    Menu::of(command, daemon, "bob")
}

#[test]
fn one_pager_runs_at_a_time_and_no_notice_overwrites_it() {
    let daemon = Daemon::start();
    let mut al = Session::of(&daemon, "al");
    for number in 0..250 {
        al.store("bob", "", format!("number-{number}.").as_bytes());
    }
    let pager = "sh -c 'cat; echo page''d; read -r key </dev/tty; echo do''ne'";
    let mut bob = menu_with_pager(&daemon, pager);
    bob.resize(12, 80);
    bob.line("2");
    bob.expect("number-249.");
    bob.expect("paged");
    bob.line("");
    bob.expect("done");
    bob.expect("?  Help");
    for choice in ["h", "2"] {
        if choice == "2" {
            al.store("bob", "", "long\n".repeat(100).as_bytes());
        }
        bob.line(choice);
        bob.expect("paged");
        let id = [choice.as_bytes()[0]; 16];
        let text = format!("hi-{choice}");
        instant(&daemon, bob.address, id, ("al", "bob"), text.as_bytes());
        al.store("bob", "", b"by the server");
        // Leave time for an erroneous notice to be drawn.
        std::thread::sleep(Duration::from_millis(1_500));
        bob.line("");
        let meanwhile = bob.screen.exp_string("done").expect("the end of it");
        assert!(
            !meanwhile.contains("~al") && !meanwhile.contains("wait"),
            "{meanwhile}"
        );
        let since = bob.screen.exp_string(&format!("~al: hi-{choice}"));
        let since = since.expect("the instant message");
        assert!(
            !since.contains("wait"),
            "no notice is due, because the menu shows the count: {since}"
        );
    }
    bob.leave();
}

#[test]
fn every_end_of_the_menu_restores_the_terminal() {
    let daemon = Daemon::start();
    let text = "long\n".repeat(100);
    let pager = "sh -c 'cat; stty raw -echo </dev/tty; trap \"stty sane </dev/tty; exit\" TERM; \
                 echo page''d; while :; do sleep 0.1; done'";
    for is_paging in [false, true] {
        for signal in [
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGKILL,
        ] {
            // A shell owns the terminal before and after the menu.
            let mut command = menu_command(&daemon);
            command.args(["-u", "bob"]).env("PAGER", pager);
            let after = "echo status-$?; sleep 0.5; stty -g; echo the''end";
            let shell = in_shell(&command, "echo $$; stty -g", after);
            let mut screen = spawn(shell);
            let shell_pid = screen.read_line().expect("a pid");
            let before = screen.read_line().expect("the mode");
            screen.exp_string("3  Exit").expect("the menu");
            screen.exp_string("> ").expect("the prompt");
            let menu = child_of(&shell_pid);
            if is_paging {
                Session::of(&daemon, "al").store("bob", "", text.as_bytes());
                screen.send_line("2").expect("typed");
                screen.exp_string("paged").expect("the pager");
            }
            signal_to(menu, signal);
            if is_paging && signal == Signal::SIGINT {
                // The menu leaves SIGINT to the pager.
                std::thread::sleep(Duration::from_millis(300));
                signal_to(menu, Signal::SIGTERM);
            }
            screen.exp_string("status-").expect("its exit status");
            screen.read_line().expect("the status");
            let after = screen.exp_string("theend").expect("the mode");
            let after = after.lines().find(|line| line.contains(':'));
            assert_eq!(after, Some(before.as_str()), "{signal} {is_paging}");
        }
    }
}

#[test]
fn a_pager_starts_with_no_blocked_signals() {
    let daemon = Daemon::start();
    Session::of(&daemon, "al").store("bob", "", "long\n".repeat(100).as_bytes());
    // The shell itself reads the file, because a shell blocks all signals around a fork.
    let mut bob = menu_with_pager(
        &daemon,
        "sh -c 'while read -r line; do case $line in SigBlk*) echo \"$line\";; esac; done </proc/self/status; cat >/dev/null'",
    );
    bob.line("2");
    let blocked = bob
        .screen
        .exp_regex("SigBlk:\\s+[0-9a-f]+")
        .expect("the signal mask")
        .1;
    assert!(blocked.ends_with("0000000000000000"), "{blocked}");
    bob.expect("3  Exit");
    bob.leave();
}

#[test]
fn a_pager_does_not_outlive_a_killed_menu() {
    let daemon = Daemon::start();
    Session::of(&daemon, "al").store("bob", "", "long\n".repeat(100).as_bytes());
    // A pager that restores the screen on SIGTERM, and one that ignores SIGTERM.
    for trap in ["echo given''-back; exit", ":"] {
        let pager =
            format!("sh -c 'trap \"{trap}\" TERM; echo page''d-$$; while :; do sleep 0.1; done'");
        let mut command = menu_command(&daemon);
        command.args(["-u", "bob"]).env("PAGER", pager);
        let mut screen = spawn(in_shell(&command, "echo $$", "read -r key; echo the''end"));
        let shell_pid = screen.read_line().expect("a pid");
        choose(&mut screen, "2");
        screen.exp_string("paged-").expect("the pager");
        let pager = screen.read_line().expect("a pid");
        signal_to(child_of(&shell_pid), Signal::SIGKILL);
        if trap != ":" {
            screen
                .exp_string("given-back")
                .expect("the output of its trap");
        }
        wait_until_gone(pager.parse().expect("a number"));
        screen.send_line("").expect("typed");
        screen.exp_string("theend").expect("the shell continues");
    }
}

/// Returns a shell command that runs `before`, `command` and `after`.
fn in_shell(command: &Command, before: &str, after: &str) -> Command {
    let line = shlex_of(command);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; {line}; {after}")]);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell
}

/// Quotes a command for a shell.
fn shlex_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| format!("'{}'", word.to_str().expect("text")));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the only child of a process.
fn child_of(pid: &str) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).expect("readable");
    list.trim().parse().expect("one child")
}

#[test]
fn a_wrapped_line_is_redrawn_once_after_the_last_resize() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    bob.resize(12, 40);
    bob.screen.send(&"x".repeat(97)).expect("typed");
    bob.screen.flush().expect("typed");
    let row = |count| "x".repeat(count);
    bob.expect(&format!("> {}\r\n{}\r\n{}", row(38), row(40), row(3)));
    bob.screen.send("yy!").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("yy!");
    for columns in [41, 50, 60, 70] {
        bob.resize(12, columns);
    }
    // Three rows are cleared, and two are drawn.
    let cleared = bob.screen.exp_string("\r\x1b[K> ").expect("drawn anew");
    assert!(
        cleared.ends_with(&"\r\x1b[K\x1b[A".repeat(2)),
        "{cleared:?}"
    );
    assert_eq!(cleared.matches("\x1b[A").count(), 2, "{cleared:?}");
    bob.expect(&format!("{}\r\n{}yy!", row(68), row(29)));
    // With the cursor above the last row, the editor makes room for the rows below.
    bob.screen.send("\x01").expect("typed");
    bob.screen.flush().expect("typed");
    bob.screen.send("a").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("\x1bD\x1b[1A");
    bob.expect("> a");
    bob.screen.send_control('c').expect("typed");
    bob.expect("> ");
    bob.leave();
}

#[test]
fn a_resize_preserves_the_text_above_the_line() {
    let test = "a_resize_preserves_the_text_above_the_line";
    if !Tmux::is_there() {
        return skip(test, "tmux is not installed");
    }
    let daemon = Daemon::start();
    let mut command = menu_command(&daemon);
    command.args(["-u", "bob"]);
    let tmux = Tmux::run(&command, 24, 80);
    tmux.expect("?  Help");
    let screen = tmux.all();
    let address = screen
        .split_once("instant messages on ")
        .expect("the address")
        .1;
    let address = address.split_whitespace().next().expect("the address");
    let address = address.parse().expect("an address");
    let mut count = 0_u8;
    let mut notice = || {
        count += 1;
        let id = [count; 16];
        let text = format!("notice-{count}.");
        instant(&daemon, address, id, ("al", "bob"), text.as_bytes());
        text
    };
    let mut notices = Vec::new();
    let sizes = [
        (12, 40),
        (24, 80),
        (30, 100),
        (12, 40),
        (5, 40),
        (24, 90),
        (24, 20),
        (8, 60),
        (24, 41),
        (24, 79),
    ];
    for (turn, (rows, columns)) in sizes.into_iter().enumerate() {
        if turn % 4 == 0 {
            tmux.press(&["C-e", "C-u"]);
        }
        notices.push(notice());
        tmux.send("long long text と日本語 😀😀 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字");
        if turn % 3 == 1 {
            tmux.press(&["Home", "Right"]);
        }
        tmux.resize(rows, columns);
        if turn % 2 == 1 {
            tmux.press(&["End"]);
        }
        // tmux has the new size already, and sends SIGWINCH a moment later.
        notices.push(notice());
        tmux.expect(&notices[notices.len() - 1]);
        tmux.send("字");
    }
    notices.push(notice());
    tmux.expect(&notices[notices.len() - 1]);
    let all = tmux.all();
    for text in notices {
        assert!(all.contains(&text), "{text} was lost:\n{all}");
    }
    tmux.press(&["C-e", "C-u"]);
    tmux.send("3");
    tmux.press(&["Enter"]);
}

#[test]
fn ctrl_c_discards_a_line_and_leaves_the_menu_from_an_empty_one() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    for text in ["3", "!send al"] {
        bob.screen.send(text).expect("typed");
        bob.screen.flush().expect("typed");
        bob.expect(text);
        bob.screen.send_control('c').expect("typed");
        bob.expect("> ");
    }
    bob.line("1");
    bob.expect("To: ");
    bob.screen.send("alx").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("alx");
    bob.screen.send_control('c').expect("typed");
    bob.expect("To: ");
    bob.screen.send_control('c').expect("typed");
    bob.expect("?  Help");
    bob.expect("> ");
    bob.screen.send_control('c').expect("typed");
    bob.screen.exp_eof().expect("Ctrl-C leaves");
}

#[test]
fn the_up_key_recalls_a_discarded_message() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    bob.line("1");
    bob.expect("To: ");
    bob.line("al");
    bob.expect("Message: ");
    bob.screen.send("much was written").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("much was written");
    bob.screen.send_control('c').expect("typed");
    bob.expect("press the up arrow to get it back");
    bob.expect("> ");
    // A message of several lines is recalled as well.
    bob.line("!send al");
    bob.expect("| ");
    bob.line("first");
    bob.expect("| ");
    bob.screen.send("second").expect("typed");
    bob.screen.flush().expect("typed");
    bob.expect("second");
    bob.screen.send_control('c').expect("typed");
    bob.expect("press the up arrow to get it back");
    bob.line("!send al");
    bob.expect("| ");
    let up = "\x1b[A";
    bob.screen.send(&up.repeat(2)).expect("typed");
    bob.line("");
    bob.expect("| ");
    bob.line(".");
    bob.expect("the server keeps it");
    bob.line("1");
    bob.expect("To: ");
    bob.line("al");
    bob.expect("Message: ");
    bob.screen.send_control('c').expect("typed");
    bob.expect("discarded.");
    bob.leave();
    assert_eq!(Session::of(&daemon, "al").read_all()[0].1, "first\nsecond");
}

#[test]
fn help_stays_on_a_small_screen() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    for (rows, columns) in [(12, 40), (24, 80)] {
        bob.resize(rows, columns);
        bob.line("?");
        bob.expect("~bob");
        let after = bob.screen.exp_string("> ").expect("a prompt");
        assert_eq!(after.contains("3  Exit"), rows > 12, "{after}");
    }
    bob.leave();
}

#[test]
fn the_status_is_printed_before_the_menu() {
    let daemon = Daemon::start();
    let mut bob = Menu::open(&daemon, "bob");
    bob.line("!status");
    bob.expect("in the session dialect");
    let before = bob.screen.exp_string("3  Exit").expect("the menu");
    assert!(before.contains("Datagrams: "), "{before}");
    bob.leave();
}

#[test]
fn the_menu_names_the_server_that_it_waits_for() {
    let daemon = Daemon::start();
    daemon.signal(Signal::SIGSTOP);
    let mut menu = menu(&daemon, &["-u", "bob"]);
    menu.exp_string(&format!(
        "Connecting to 127.0.0.1:{} as bob ...",
        daemon.port
    ))
    .expect("the name of the server");
    daemon.signal(Signal::SIGCONT);
    choose(&mut menu, "3");
    menu.exp_eof().expect("the end");
}

#[test]
fn a_server_that_does_not_answer_is_reported() {
    let daemon = Daemon::start();
    Session::of(&daemon, "al").store("bob", "", b"hello");
    let mut bob = Menu::open(&daemon, "bob");
    for choice in ["w", "h", "2"] {
        daemon.signal(Signal::SIGSTOP);
        bob.line(choice);
        bob.expect("does not answer yet");
        daemon.signal(Signal::SIGCONT);
        bob.expect("3  Exit");
    }
    bob.leave();
    // Commands report it as well.
    daemon.signal(Signal::SIGSTOP);
    let mut who = daemon.client();
    let mut who = spawn({
        who.args(["-u", "bob", "who"]);
        who
    });
    who.exp_string("does not answer yet").expect("a word");
    daemon.signal(Signal::SIGCONT);
    assert!(who.exp_eof().expect("the end").contains("bob"));
}

#[test]
fn a_lost_and_restored_server_is_reported_once() {
    let daemon = Daemon::start();
    let port = daemon.port.to_string();
    let mut bob = Menu::open(&daemon, "bob");
    assert!(!bob.so_far.contains("Connecting"), "{}", bob.so_far);
    bob.screen.send("half a li").expect("typed");
    bob.screen.flush().expect("typed");
    let dir = daemon.kill_family();
    bob.expect("has stopped responding; messages");
    let daemon = Daemon::in_dir(dir, "", &["-p", &port]);
    let meanwhile = bob.screen.exp_string("is back.").expect("a notice");
    assert!(!meanwhile.contains("stopped"), "{meanwhile}");
    bob.expect("> half a li");
    bob.screen.send_control('c').expect("typed");
    bob.expect("> ");
    bob.leave();
    drop(daemon);
}

#[test]
fn chat_sends_and_shows_messages_line_by_line() {
    let daemon = Daemon::start();
    daemon.store("alice", "bob", "are you there?");
    let mut chat = menu(&daemon, &["-u", "alice", "chat", "bob"]);
    chat.exp_string("~bob: are you there?")
        .expect("the waiting message");
    chat.exp_string("alice> ").expect("a prompt");
    chat.send_line("yes").expect("typed");
    chat.exp_string("bob is offline: the server keeps it.")
        .expect("sent");
    // Messages are shown as they arrive, and the line being typed is preserved.
    chat.send("what ").expect("typed");
    chat.flush().expect("typed");
    chat.exp_string("what ").expect("seen");
    daemon.store("alice", "bob", "good");
    chat.exp_string("~bob: good").expect("the message");
    daemon.store("alice", "carol", "lunch?");
    chat.exp_string("[from ~carol] lunch?").expect("the sender");
    chat.send_line("now?").expect("typed");
    chat.exp_string("bob is offline: the server keeps it.")
        .expect("sent");
    // A key before the prompt would be discarded.
    chat.exp_string("alice> ").expect("a prompt");
    chat.send_control('d').expect("typed");
    chat.exp_eof().expect("the end");
    assert_eq!(
        daemon.fetch("bob"),
        ["bob;alice;yes", "bob;alice;what now?"]
    );
}
