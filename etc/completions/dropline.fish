# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_dropline_global_optspecs
    string join \n d/server= u/user= s/source= dialect= colour= v/verbose h/help V/version
end

function __fish_dropline_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_dropline_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_dropline_using_subcommand
    set -l cmd (__fish_dropline_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c dropline -n "__fish_dropline_needs_command" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_needs_command" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_needs_command" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_needs_command" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_needs_command" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_needs_command" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_needs_command" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_needs_command" -s V -l version -d 'Print version'
complete -c dropline -n "__fish_dropline_needs_command" -a "send" -d 'Send a message and print its handle, such as bob/17. If the server cannot take the message now, queue it in the outbox to be sent later (exit status 75)'
complete -c dropline -n "__fish_dropline_needs_command" -a "read" -d 'Print the messages waiting for you, and acknowledge them afterwards'
complete -c dropline -n "__fish_dropline_needs_command" -a "follow" -d 'Print messages as they arrive, until interrupted'
complete -c dropline -n "__fish_dropline_needs_command" -a "who" -d 'List the registered users, and whether they are online'
complete -c dropline -n "__fish_dropline_needs_command" -a "status" -d 'Print the status of a message that you have sent: waiting, read or expired'
complete -c dropline -n "__fish_dropline_needs_command" -a "history" -d 'Print messages that you have read and the server still keeps, newest last'
complete -c dropline -n "__fish_dropline_needs_command" -a "count" -d 'Print the number of messages waiting for you; the exit status is 1 if there are none'
complete -c dropline -n "__fish_dropline_needs_command" -a "outbox" -d 'List the messages that could not be sent yet, or were refused'
complete -c dropline -n "__fish_dropline_needs_command" -a "chat" -d 'Chat with NAME, line by line'
complete -c dropline -n "__fish_dropline_needs_command" -a "run" -d 'Run a command, and send NAME its result, its duration and its last lines of output; the exit status is that of the command'
complete -c dropline -n "__fish_dropline_needs_command" -a "config" -d 'Print the settings in force, and where each is set'
complete -c dropline -n "__fish_dropline_needs_command" -a "completion" -d 'Print a completion script for a shell'
complete -c dropline -n "__fish_dropline_needs_command" -a "man" -d 'Print the manual page'
complete -c dropline -n "__fish_dropline_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dropline -n "__fish_dropline_using_subcommand send" -l ttl -d 'Time to live of the message: seconds, or 10m, 2h, 1d; at most 36600d' -r
complete -c dropline -n "__fish_dropline_using_subcommand send" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand send" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand send" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand send" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand send" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand send" -s i -l instant -d 'Send from client to client if NAME is online, else through the server'
complete -c dropline -n "__fish_dropline_using_subcommand send" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand send" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand read" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand read" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand read" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand read" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand read" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand read" -l peek -d 'Leave the messages waiting'
complete -c dropline -n "__fish_dropline_using_subcommand read" -l json -d 'Print one JSON object per line'
complete -c dropline -n "__fish_dropline_using_subcommand read" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand read" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand follow" -l exec -d 'Run CMD for each message, with the text on standard input, instead of printing it' -r
complete -c dropline -n "__fish_dropline_using_subcommand follow" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand follow" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand follow" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand follow" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand follow" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand follow" -l json -d 'Print one JSON object per line'
complete -c dropline -n "__fish_dropline_using_subcommand follow" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand follow" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand who" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand who" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand who" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand who" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand who" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand who" -l json -d 'Print one JSON object per line'
complete -c dropline -n "__fish_dropline_using_subcommand who" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand who" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand status" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand status" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand status" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand status" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand status" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand status" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand status" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand history" -l from -d 'Print only messages from NAME, verified or not; ~NAME selects the unverified ones' -r
complete -c dropline -n "__fish_dropline_using_subcommand history" -s n -d 'Maximum number of messages' -r
complete -c dropline -n "__fish_dropline_using_subcommand history" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand history" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand history" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand history" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand history" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand history" -l json -d 'Print one JSON object per line'
complete -c dropline -n "__fish_dropline_using_subcommand history" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand history" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand count" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand count" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand count" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand count" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand count" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand count" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand count" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -l drop -d 'Discard the message whose id begins with ID' -r
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -l send -d 'Send the messages now, including those that were refused'
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -l json -d 'Print one JSON object per line'
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand outbox" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand chat" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand chat" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand chat" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand chat" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand chat" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand chat" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand chat" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand run" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand run" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand run" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand run" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand run" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand run" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand run" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand config" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand config" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand config" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand config" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand config" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand config" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand config" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand completion" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand completion" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand completion" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand completion" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand completion" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand completion" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand completion" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand man" -s d -l server -d 'Server: a host, with its port if that is not 8282, or the path of a Unix socket, which contains a slash (./NAME in the working directory) [default: the socket of the daemon of this machine, or of your own]' -r
complete -c dropline -n "__fish_dropline_using_subcommand man" -s u -l user -d 'Your user name; any other than your login needs a server, such as -d localhost [default: your login]' -r
complete -c dropline -n "__fish_dropline_using_subcommand man" -s s -l source -d 'Local address for instant messages; port 0 chooses a free port [default: the local address of the connection to the server, and port 8283 or, if that is in use, a free port]' -r
complete -c dropline -n "__fish_dropline_using_subcommand man" -l dialect -d 'Protocol dialect: auto, session, line (for the old menu server) or framed (for the old chat server) [default: auto]' -r -f -a "auto\t'The session dialect, or the line dialect if the server supports no other'
session\t'The native dialect: ids, acknowledgements, presence'
line\t'The dialect of the old menu server: mailboxes only'
framed\t'The dialect of the old chat server'"
complete -c dropline -n "__fish_dropline_using_subcommand man" -l colour -d 'When to use colours: auto, always or never [default: auto]' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set or TERM is dumb'
always\t'Everywhere'
never\t'Nowhere'"
complete -c dropline -n "__fish_dropline_using_subcommand man" -s v -l verbose -d 'Print more details on standard error'
complete -c dropline -n "__fish_dropline_using_subcommand man" -s h -l help -d 'Print help'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "send" -d 'Send a message and print its handle, such as bob/17. If the server cannot take the message now, queue it in the outbox to be sent later (exit status 75)'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "read" -d 'Print the messages waiting for you, and acknowledge them afterwards'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "follow" -d 'Print messages as they arrive, until interrupted'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "who" -d 'List the registered users, and whether they are online'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "status" -d 'Print the status of a message that you have sent: waiting, read or expired'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "history" -d 'Print messages that you have read and the server still keeps, newest last'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "count" -d 'Print the number of messages waiting for you; the exit status is 1 if there are none'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "outbox" -d 'List the messages that could not be sent yet, or were refused'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "chat" -d 'Chat with NAME, line by line'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "run" -d 'Run a command, and send NAME its result, its duration and its last lines of output; the exit status is that of the command'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "config" -d 'Print the settings in force, and where each is set'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "completion" -d 'Print a completion script for a shell'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "man" -d 'Print the manual page'
complete -c dropline -n "__fish_dropline_using_subcommand help; and not __fish_seen_subcommand_from send read follow who status history count outbox chat run config completion man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
