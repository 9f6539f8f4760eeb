/* What the reader can take at most: a server that writes the same prepared frames to everyone, as fast as it can.

   flood PORT FRAMES ROUNDS  <one-frame

   Waits for a connection from each reader until nobody has come for a second, then writes FRAMES frames in one
   write to each, ROUNDS times. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FRAME 65536
#define MAX_READERS 20000

static int readers[MAX_READERS];

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: flood PORT FRAMES ROUNDS < one-frame\n"), 2;
    int frames = atoi(argv[2]), rounds = atoi(argv[3]), number = 0, on = 1;
    char frame[MAX_FRAME], request[4096];
    size_t size = fread(frame, 1, sizeof(frame), stdin);
    char *together = malloc(size * frames);
    for (int i = 0; i < frames; i++) memcpy(together + i * size, frame, size);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(server, (struct sockaddr *)&address, sizeof(address)) || listen(server, 4096)) return perror("listen"), 1;
    struct pollfd waiting = {.fd = server, .events = POLLIN};
    while (poll(&waiting, 1, number ? 1000 : 30000) > 0 && number < MAX_READERS) {
        int reader = accept(server, NULL, NULL);
        const char *answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        if (recv(reader, request, sizeof(request), 0) <= 0 || send(reader, answer, strlen(answer), 0) < 0) return 1;
        readers[number++] = reader;
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < number; i++)
            for (size_t sent = 0; sent < size * frames;) {
                ssize_t part = send(readers[i], together + sent, size * frames - sent, MSG_NOSIGNAL);
                if (part < 0) return perror("send"), 1;
                sent += part;
            }
    return 0;
}
