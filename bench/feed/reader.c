/* The load of bench/feed: many readers of a feed in one process, cheap enough not to be what is measured.

   reader PORT CONNECTIONS EXPECT SECONDS PATH [HEADER...]

   Opens CONNECTIONS to 127.0.0.1:PORT, asks each for PATH ("%d" in it is the connection's number), says
   "ready" once all feeds have begun, and counts events until each connection has EXPECT of them or SECONDS
   have passed. An event is known by its run_id, "bench-" and the moment of its making in nanoseconds
   (CLOCK_MONOTONIC), so the time from there to here is counted as well. At the end: one line of JSON. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1 << 20)
#define CARRY 64                     /* a mark that the end of a read cut through */
#define STEP_NS 10000LL              /* resolution of latencies: 10 us */
#define STEPS 6000000                /* up to a minute */
#define MARK "\"run_id\":\"bench-"
#define DIGITS 19
#define CONNECTS 200                 /* under way at once: below a listen queue's usual length */

typedef struct {
    int fd, headed, answered, kept;
    uint32_t events;
    char carry[CARRY];
} Conn;

static Conn *conns;
static uint32_t *steps;
static uint64_t events, bytes, late;
static int answered, complete;
static uint32_t expect;
static int64_t first_ns, last_ns;
static char buffer[CARRY + CHUNK + 1];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void count(Conn *conn, const char *digits, int64_t now) {
    int64_t made = 0;
    for (int i = 0; i < DIGITS; i++) made = made * 10 + (digits[i] - '0');
    int64_t step = (now - made) / STEP_NS;
    if (step < 0) step = 0;
    if (step >= STEPS) late++, step = STEPS - 1;
    steps[step]++;
    events++;
    if (!first_ns) first_ns = now;
    last_ns = now;
    if (++conn->events == expect) complete++;
}

/* Look through what was read; keep the end, where a mark may have been cut through. */
static void scan(Conn *conn, char *start, size_t length, int64_t now) {
    const size_t whole = sizeof(MARK) - 1 + DIGITS;
    char *at = start, *end = start + length;
    for (;;) {
        char *mark = memmem(at, end - at, MARK, sizeof(MARK) - 1);
        if (!mark || end - mark < (ptrdiff_t)whole) {
            size_t tail = mark ? (size_t)(end - mark) : sizeof(MARK) - 2;
            if (tail > (size_t)(end - at)) tail = end - at;
            memcpy(conn->carry, end - tail, tail);
            conn->kept = tail;
            return;
        }
        count(conn, mark + sizeof(MARK) - 1, now);
        at = mark + whole;
    }
}

static int begun(size_t length) {
    return memmem(buffer, length, "\n: h", 4) || memmem(buffer, length, "\nid: ", 5);
}

static int readable(Conn *conn) {
    memcpy(buffer, conn->carry, conn->kept);
    ssize_t got = recv(conn->fd, buffer + conn->kept, CHUNK, 0);
    if (got < 0) return errno == EAGAIN ? 0 : -1;
    if (got == 0) return -1;
    bytes += got;
    if (!conn->headed) {
        conn->headed = 1;
        buffer[conn->kept + got] = 0;
        if (strncmp(buffer, "HTTP/1.1 200", 12)) {
            fprintf(stderr, "answered: %.300s\n", buffer);
            exit(1);
        }
    }
    /* Only the first comment or id says that the feed has begun: what is published before may not come. */
    if (!conn->answered && begun(conn->kept + got)) conn->answered = 1, answered++;
    scan(conn, buffer, conn->kept + got, now_ns());
    return 0;
}

static int percentile(double part) {
    uint64_t wanted = (uint64_t)(events * part), seen = 0;
    for (int step = 0; step < STEPS; step++)
        if ((seen += steps[step]) > wanted) return step;
    return STEPS - 1;
}

static void connect_to(Conn *conn, int number, int port, const char *path, int headers, char **header, int poll) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    conn->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof(address))) die("connect");
    char target[1024], request[4096];
    snprintf(target, sizeof(target), path, number);
    int size = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", target);
    for (int i = 0; i < headers; i++) size += snprintf(request + size, sizeof(request) - size, "%s\r\n", header[i]);
    size += snprintf(request + size, sizeof(request) - size, "\r\n");
    if (send(conn->fd, request, size, 0) != size) die("send");
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, conn->fd, &wanted)) die("epoll_ctl");
}

static int turn(int poll, int milliseconds) {
    struct epoll_event ready[512];
    int number = epoll_wait(poll, ready, 512, milliseconds), lost = 0;
    for (int i = 0; i < number; i++) {
        Conn *conn = ready[i].data.ptr;
        if (readable(conn) < 0) {
            epoll_ctl(poll, EPOLL_CTL_DEL, conn->fd, NULL);
            close(conn->fd);
            lost++;
        }
    }
    return lost;
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "usage: reader PORT CONNECTIONS EXPECT SECONDS PATH [HEADER...]\n"), 2;
    int port = atoi(argv[1]), number = atoi(argv[2]), lost = 0;
    expect = atoi(argv[3]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    conns = calloc(number, sizeof(Conn));
    steps = calloc(STEPS, sizeof(uint32_t));
    int poll = epoll_create1(0);
    for (int i = 0; i < number; i++) {
        connect_to(&conns[i], i, port, argv[5], argc - 6, argv + 6, poll);
        while (i - answered >= CONNECTS) lost += turn(poll, 1000);
    }
    int64_t patience = now_ns() + 120000000000LL;
    while (answered < number && !lost && now_ns() < patience) lost += turn(poll, 1000);
    printf("ready %d\n", answered);
    fflush(stdout);
    int64_t end = now_ns() + (int64_t)(atof(argv[4]) * 1e9);
    while (complete < number && now_ns() < end) lost += turn(poll, 20);
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < number; i++) {
        if (conns[i].events < least) least = conns[i].events;
        if (conns[i].events > most) most = conns[i].events;
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"events\": %lu, \"bytes\": %lu, \"seconds\": %.4f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, "
           "\"least\": %u, \"most\": %u, \"lost\": %d, \"late\": %lu, \"cpu\": %.2f}\n",
           events, bytes, (last_ns - first_ns) / 1e9, percentile(0.5) * STEP_NS / 1e6,
           percentile(0.99) * STEP_NS / 1e6, number ? least : 0, most, lost, late, cpu);
    return 0;
}
