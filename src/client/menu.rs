//! The menu: send, read, exit, each request over a connection of its own.

use std::io;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::command::read::read;
use super::link::Server;
use super::view;
use crate::name::Name;

/// Why the menu was left otherwise than by its Exit.
#[derive(Debug, thiserror::Error)]
pub(super) enum MenuError {
    /// The terminal is gone, or is none.
    #[error("cannot use the terminal: {0}")]
    Terminal(String),
}

impl From<io::Error> for MenuError {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error.to_string())
    }
}

/// What was typed at a prompt; `None` when the person wants to leave (Ctrl-C, Ctrl-D).
type Typed = Option<String>;

/// Runs the menu until the person leaves it. Asks for the name when there is none.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) fn run(server: &Server, user: Option<Name>) -> Result<(), MenuError> {
    let editor = DefaultEditor::new().map_err(|e| MenuError::Terminal(e.to_string()))?;
    let mut prompt = Prompt { editor };
    let user = match user {
        Some(user) => user,
        None => match prompt.ask_name("Your name: ")? {
            Some(user) => user,
            None => return Ok(()),
        },
    };
    view::show(&format!(" dropline   {user}@{server}"))?;
    loop {
        view::show(" 1  Send a message\n 2  Read messages\n 3  Exit")?;
        let Some(choice) = prompt.ask("> ")? else {
            return Ok(());
        };
        match choice.trim().to_ascii_lowercase().as_str() {
            "1" | "s" | "send" => send(&mut prompt, server, &user)?,
            "2" | "r" | "read" => show_waiting(server, &user)?,
            "3" | "q" | "x" | "exit" | "quit" => return Ok(()),
            "" => {}
            _ => view::show("Type 1, 2 or 3.")?,
        }
    }
}

fn send(prompt: &mut Prompt, server: &Server, user: &Name) -> Result<(), MenuError> {
    let Some(to) = prompt.ask_name("To: ")? else {
        return Ok(());
    };
    let Some(text) = prompt.ask("Message: ")? else {
        return Ok(());
    };
    match server.store(&to, user, text.as_bytes()) {
        Ok(()) => view::show(&format!("The server has your message for {to}."))?,
        Err(e) => view::complain(&e),
    }
    Ok(())
}

fn show_waiting(server: &Server, user: &Name) -> Result<(), MenuError> {
    match read(server, user) {
        Ok(0) => view::show(&format!("No messages for {user}."))?,
        Ok(_) => {}
        Err(e) => view::complain(&e),
    }
    Ok(())
}

struct Prompt {
    editor: DefaultEditor,
}

impl Prompt {
    fn ask(&mut self, what: &str) -> Result<Typed, MenuError> {
        match self.editor.readline(what) {
            Ok(line) => Ok(Some(line)),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
            Err(e) => Err(MenuError::Terminal(e.to_string())),
        }
    }

    /// Asks until there is a name.
    fn ask_name(&mut self, what: &str) -> Result<Option<Name>, MenuError> {
        loop {
            let Some(text) = self.ask(what)? else {
                return Ok(None);
            };
            match text.trim().parse() {
                Ok(name) => return Ok(Some(name)),
                Err(e) => view::show(&format!("That is not a name: {e}."))?,
            }
        }
    }
}
