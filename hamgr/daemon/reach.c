#include "daemon/reach.h"

#include "base/address.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 3000 };

struct try_job {
    struct worker_job job; /* first */
    struct daemon *daemon;
    uint64_t id;
    reach_told *then;
    char address[HM_ADDRESS_MAX];
    char why[128]; /* empty: somebody listens */
};

/* 0, or an errno. */
static int connect_to(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(int);
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int number = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, at->ai_addr, at->ai_addrlen) != 0)
        number = errno;
    if (number == EINPROGRESS) {
        number = ETIMEDOUT;
        if (poll(&p, 1, CONNECT_MS) > 0 &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
            number = errno;
    }
    (void)close(fd); /* nothing was said */
    return number;
}

static void run_try(struct worker_job *job)
{
    struct try_job *t = (struct try_job *)job;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char host[HM_ADDRESS_MAX], port[8];
    int number;

    if (!address_split(t->address, host, port)) {
        (void)snprintf(t->why, sizeof t->why, "it is not HOST:PORT");
        return;
    }
    number = getaddrinfo(host, port, &hints, &found);
    if (number != 0) {
        (void)snprintf(t->why, sizeof t->why, "%s", gai_strerror(number));
        return;
    }
    number = connect_to(found);
    if (number != 0)
        (void)snprintf(t->why, sizeof t->why, "%s", strerror(number));
    freeaddrinfo(found);
}

static void done_try(struct worker_job *job)
{
    struct try_job *t = (struct try_job *)job;

    t->then(t->daemon, t->id, t->why[0] != '\0' ? t->why : NULL);
    free(t);
}

struct worker *reach_worker(struct daemon *d)
{
    struct hm_err err;

    if (d->reach == NULL && worker_new(d->loop.base, "hamgr-reach", &d->reach, &err) != HM_OK)
        log_error("%s", err.text);
    return d->reach;
}

bool reach(struct daemon *d, const char *address, uint64_t id, reach_told *then)
{
    struct try_job *t = calloc(1, sizeof *t);

    if (t == NULL || reach_worker(d) == NULL) {
        free(t);
        return false;
    }
    t->job.run = run_try;
    t->job.done = done_try;
    t->daemon = d;
    t->id = id;
    t->then = then;
    (void)snprintf(t->address, sizeof t->address, "%s", address);
    worker_add(d->reach, &t->job);
    return true;
}
