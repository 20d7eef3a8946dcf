/* The least that a proxy process can do: bytes from one client connection to one origin connection and back, nothing parsed, one thread, epoll.
   What it costs is the kernel's share of every proxy on this machine. usage: floor PORT ORIGIN_PORT (both on 127.0.0.1) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 1 << 17, READY = 512 };

struct side {
    int fd;
    struct side *other;         /* NULL: the listener */
    char *kept;                 /* owned: what the other side's read brought and this socket did not take */
    size_t kept_n;
};

static char piece[PIECE];
static struct side *graves[2 * READY];
static int n_graves;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int set, struct side *side, int how, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = side};
    if (epoll_ctl(set, how, side->fd, &event) < 0) die("epoll_ctl");
}

static struct side *side_new(int set, int fd) {
    int on = 1;
    struct side *side = calloc(1, sizeof *side);
    if (side == NULL || fd < 0) die("connection");
    side->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(set, side, EPOLL_CTL_ADD, EPOLLIN);
    return side;
}

static void accept_one(int set, int listener, const struct sockaddr_in *origin) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    int out = socket(AF_INET, SOCK_STREAM, 0);
    if (out < 0 || connect(out, (const struct sockaddr *)origin, sizeof *origin) < 0) die("connect");
    struct side *client = side_new(set, fd), *server = side_new(set, out);
    client->other = server;
    server->other = client;
}

static void end(struct side *side) {
    for (int i = 0; i < 2; i++, side = side->other) {
        close(side->fd);
        side->fd = -1;
        graves[n_graves++] = side;
    }
}

/* What does not fit is kept, and the sender is not read until it has left. */
static void move_on(int set, struct side *from) {
    struct side *to = from->other;
    ssize_t n = recv(from->fd, piece, PIECE, MSG_DONTWAIT), sent;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || ((sent = send(to->fd, piece, n, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 && errno != EAGAIN)) {
        end(from);
        return;
    }
    if (sent == n) return;
    sent = sent < 0 ? 0 : sent;
    to->kept_n = n - sent;
    to->kept = malloc(to->kept_n);
    if (to->kept == NULL) die("malloc");
    for (size_t i = 0; i < to->kept_n; i++) to->kept[i] = piece[sent + i];
    watch(set, from, EPOLL_CTL_MOD, 0);
    watch(set, to, EPOLL_CTL_MOD, EPOLLOUT);
}

static void flush(int set, struct side *to) {
    ssize_t sent = send(to->fd, to->kept, to->kept_n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return;
    for (size_t i = sent; i < to->kept_n; i++) to->kept[i - sent] = to->kept[i];
    to->kept_n -= sent;
    if (to->kept_n) return;
    free(to->kept);
    to->kept = NULL;
    watch(set, to, EPOLL_CTL_MOD, EPOLLIN);
    watch(set, to->other, EPOLL_CTL_MOD, EPOLLIN);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT ORIGIN_PORT\n");
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in origin = address;
    struct epoll_event events[READY];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0);
    origin.sin_port = htons(atoi(argv[2]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) die("bind");
    struct side *door = calloc(1, sizeof *door);
    door->fd = listener;
    watch(set, door, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int n = epoll_wait(set, events, READY, -1);
        for (int i = 0; i < n; i++) {
            struct side *side = events[i].data.ptr;
            if (side->other == NULL) accept_one(set, listener, &origin);
            else if (side->fd >= 0 && side->kept != NULL) flush(set, side);
            else if (side->fd >= 0) move_on(set, side);
        }
        while (n_graves) {
            struct side *side = graves[--n_graves];
            free(side->kept);
            free(side);
        }
    }
}
