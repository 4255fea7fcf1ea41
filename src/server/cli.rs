//! The command line of `droplined`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use ipnet::IpNet;

use crate::config::{self, DEFAULTS};

/// The flags, which override the configuration file.
#[derive(Debug, Parser)]
#[command(
    name = "droplined",
    version,
    about = "Messaging daemon: accepts messages, stores them in a spool, and delivers them",
    after_help = "Without -d it stays in the foreground and logs to standard error. SIGINT (Ctrl-C) and SIGTERM end it: \
                  running requests finish first; a second signal ends it at once. On SIGHUP it reads its \
                  configuration again, on SIGUSR1 it logs its status."
)]
pub(super) struct Cli {
    #[arg(short, long, value_name = "PORT", conflicts_with = "bare_port", help = format!(
        "TCP port; 0 lets the kernel choose, and the log says which [default: {}]", DEFAULTS.port
    ))]
    port: Option<u16>,

    /// TCP port, as with -p
    #[arg(value_name = "PORT")]
    bare_port: Option<u16>,

    /// Address to listen on; may be given several times [default: all, IPv6 and IPv4]
    #[arg(long, value_name = "ADDR")]
    pub(super) bind: Vec<IpAddr>,

    /// Network whose clients are served without authentication, in addition to those of the configuration (default:
    /// this machine); may be given several times
    #[arg(long, value_name = "CIDR", value_parser = config::network)]
    pub(super) open_network: Vec<IpNet>,

    /// Directory that holds the messages
    #[arg(long, value_name = "DIR")]
    pub(super) spool: Option<PathBuf>,

    /// Directory for runtime state: the pid file, the socket, who is online; may be emptied at a reboot
    #[arg(long, value_name = "DIR")]
    pub(super) run_dir: Option<PathBuf>,

    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Detach from the terminal and log to syslog; the command exits when the daemon listens
    #[arg(short, long)]
    pub(super) daemon: bool,

    /// Check the configuration, report what is wrong with it, and exit
    #[arg(long)]
    pub(super) check: bool,

    /// Write the port and a newline to this descriptor when the daemon listens
    #[arg(long, value_name = "N")]
    pub(super) ready_fd: Option<i32>,

    /// Log debug messages as well
    #[arg(short, long)]
    pub(super) verbose: bool,
}

impl Cli {
    /// Makes the paths absolute, because a daemon that detaches changes its working directory.
    pub(super) fn absolute(mut self) -> Self {
        for path in [&mut self.spool, &mut self.run_dir, &mut self.config] {
            if let Some(absolute) = path
                .as_ref()
                .and_then(|path| std::path::absolute(path).ok())
            {
                *path = Some(absolute);
            }
        }
        self
    }

    /// Returns the port of `-p` or of the bare argument.
    pub(super) fn port(&self) -> Option<u16> {
        self.port.or(self.bare_port)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_port_is_given_in_two_ways() {
        let port = |args: &[&str]| Cli::try_parse_from(args).map(|cli| cli.port());
        assert_eq!(port(&["droplined", "-p", "9"]).ok(), Some(Some(9)));
        assert_eq!(port(&["droplined", "9"]).ok(), Some(Some(9)));
        assert_eq!(port(&["droplined"]).ok(), Some(None));
        assert!(port(&["droplined", "-p", "9", "9"]).is_err());
        assert!(port(&["droplined", "65536"]).is_err());
    }
}
