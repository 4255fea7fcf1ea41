/*
 * A minimal server that forks a child for each connection: it accepts, forks, reads a line, replies and exits. It
 * stores nothing. scripts/bench compares droplined with it.
 *
 *   forkd PORT     listens on 127.0.0.1
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int client)
{
	static const char answer[] = "Message accepted and stored:\n";
	char request[4096];
	size_t length = 0;
	ssize_t n;

	do {
		n = read(client, request + length, sizeof request - length);
		if (n <= 0)
			_exit(1);
		length += (size_t)n;
	} while (!memchr(request, '\n', length) && length < sizeof request);
	_exit(write(client, answer, sizeof answer - 1) < 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, client;

	if (argc != 2 || listener < 0)
		return 64;
	here.sin_port = htons((unsigned short)atoi(argv[1]));
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096))
		return 69;
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps the children */
	for (;;) {
		client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		if (fork() == 0) {
			close(listener);
			serve(client);
		}
		close(client);
	}
}
