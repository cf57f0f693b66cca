/* listen.c - the port of the endpoint: clients come in, as many as there is room for. */
#include "sentinel/server_inner.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 511,
    ACCEPTS_AT_ONCE = 16,
    AGAIN_S = 2,         /* after a failure to listen or accept */
    SEND_BUFFER = 65536, /* of the kernel, for each client: a slow one costs no more */
    EVICT_IDLE_MS = 10000,
    KEEP_IDLE_S = 300, /* as real servers: clients that vanished are noticed after ten minutes */
    KEEP_EVERY_S = 100,
    KEEP_TIMES = 3,
};

unsigned sentinel_allow_files(unsigned clients_max)
{
    rlim_t wanted = (rlim_t)clients_max + SENTINEL_FILES_KEPT;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return clients_max;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* what it did is looked at next */
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
            return clients_max;
    }
    if (limit.rlim_cur >= wanted)
        return clients_max;
    return limit.rlim_cur > 2 * SENTINEL_FILES_KEPT
               ? (unsigned)(limit.rlim_cur - SENTINEL_FILES_KEPT)
               : (unsigned)(limit.rlim_cur / 2);
}

/* --- one client ---------------------------------------------------------------------------------
 */

static void tune(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = { { IPPROTO_TCP, TCP_NODELAY, 1 },
                    { SOL_SOCKET, SO_KEEPALIVE, 1 },
                    { IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S },
                    { IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S },
                    { IPPROTO_TCP, TCP_KEEPCNT, KEEP_TIMES } };

    for (size_t i = 0; i < HM_ARRAY_LEN(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].option, &options[i].value,
                         sizeof options[i].value); /* a wish */
}

static bool is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

/* Whoever connects to an address of this host from that very address is on this host. */
static bool is_local(int fd, const struct sockaddr_storage *peer)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    return getsockname(fd, (struct sockaddr *)&own, &size) == 0 && is_same_host(&own, peer);
}

/* Who needs to know where the master is comes before who has not asked for long. */
static bool make_room(struct sentinel_server *s)
{
    struct client *oldest = TAILQ_FIRST(&s->idle);

    if (s->host.clients_n < s->host.clients_max)
        return true;
    if (oldest == NULL || oldest->active_ms + EVICT_IDLE_MS > s->host.now_ms)
        return false;
    client_free(oldest);
    return true;
}

static void turn_away(struct sentinel_server *s, int fd)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    uint64_t hidden;

    s->host.rejected++;
    if (log_repeat_starts(&s->full_told, s->host.now_ms, &hidden))
        log_warn("sentinel clients=%u: no more are let in", s->host.clients_n);
    (void)send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* the end tells, too */
    (void)close(fd);                                                    /* nothing was promised */
}

/* --- the listeners ------------------------------------------------------------------------------
 */

static void again_soon(struct sentinel_server *s)
{
    const struct timeval wait = { .tv_sec = AGAIN_S };

    (void)event_add(s->again, &wait); /* fails only without memory */
}

/* No descriptor or no memory: the connection stays in the kernel's queue, and would wake the loop
 * at once, for ever. */
static void stop_for_now(struct sentinel_server *s, int why)
{
    uint64_t hidden;

    if (log_repeat_starts(&s->files_told, clock_boot_ms(), &hidden))
        log_warn("sentinel cannot accept: %s", strerror(why));
    for (size_t i = 0; i < SENTINEL_LISTENS_MAX; i++)
        if (s->listener[i] != NULL)
            (void)event_del(s->listener[i]); /* fails for no event that was made */
    again_soon(s);
}

static void on_client(evutil_socket_t listener, short what, void *arg)
{
    struct sentinel_server *s = arg;

    (void)what;
    s->host.now_ms = clock_boot_ms();
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            stop_for_now(s, errno);
        if (fd < 0)
            return;
        s->host.connections++;
        if (!make_room(s)) {
            turn_away(s, fd);
            continue;
        }
        tune(fd);
        if (!client_new(s, fd, is_local(fd, &peer)))
            log_warn("sentinel: no memory for a client");
    }
}

static bool read_address(const char *host, uint16_t port, struct sockaddr_storage *ret,
                         socklen_t *ret_size)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof *ret);
    if (evutil_inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_size = sizeof *v4;
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    *ret_size = sizeof *v6;
    return evutil_inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

static enum hm_rc open_socket(const char *host, uint16_t port, int *ret_fd, struct hm_err *err)
{
    const int on = 1, send_buffer = SEND_BUFFER;
    struct sockaddr_storage at;
    socklen_t size = 0;
    enum hm_rc rc;
    int fd;

    if (!read_address(host, port, &at, &size))
        return hm_fail(err, HM_BAD_INPUT, "'%s' is no address", host);
    fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make a socket");
    /* Inherited by the clients' sockets; a wish, as SO_REUSEADDR is. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&at, size) != 0 || listen(fd, BACKLOG) != 0) {
        rc = hm_fail_errno(err, "cannot listen on %s port %u", host, port);
        (void)close(fd); /* nobody is connected */
        return rc;
    }
    *ret_fd = fd;
    return HM_OK;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    if (getsockname(fd, (struct sockaddr *)&own, &size) != 0)
        return 0;
    return ntohs(own.ss_family == AF_INET ? ((struct sockaddr_in *)&own)->sin_port
                                          : ((struct sockaddr_in6 *)&own)->sin6_port);
}

static enum hm_rc listen_on(struct sentinel_server *s, size_t i, struct hm_err *err)
{
    int fd = -1;
    enum hm_rc rc = open_socket(s->listen[i], s->port, &fd, err);

    if (rc != HM_OK)
        return rc;
    s->listener[i] = event_new(s->base, fd, EV_READ | EV_PERSIST, on_client, s);
    if (s->listener[i] == NULL || event_priority_set(s->listener[i], SENTINEL_PRIORITY) != 0 ||
        event_add(s->listener[i], NULL) != 0) {
        (void)close(fd); /* nobody is connected */
        if (s->listener[i] != NULL)
            event_free(s->listener[i]);
        s->listener[i] = NULL;
        return hm_fail(err, HM_FAILED, "no memory");
    }
    if (i == 0)
        s->host.port = port_of(fd);
    return HM_OK;
}

void sentinel_listen(struct sentinel_server *s)
{
    struct hm_err err;
    uint64_t hidden;

    for (size_t i = 0; i < SENTINEL_LISTENS_MAX; i++) {
        if (s->listen[i][0] == '\0')
            continue;
        if (s->listener[i] != NULL) {
            (void)event_add(s->listener[i], NULL); /* it may have been stopped for now */
            continue;
        }
        if (listen_on(s, i, &err) == HM_OK) {
            log_notice("sentinel listens address=%s port=%u", s->listen[i], s->host.port);
        } else if (i > 0) {
            log_info("sentinel: %s", err.text); /* it would have been a convenience */
            s->listen[i][0] = '\0';
        } else {
            (void)snprintf(s->trouble, sizeof s->trouble, "%s", err.text);
            if (log_repeat_starts(&s->trouble_told, clock_boot_ms(), &hidden))
                log_error("sentinel: %s: clients cannot ask this member", err.text);
            again_soon(s);
            return;
        }
    }
    s->trouble[0] = '\0';
    if (log_repeat_ends(&s->trouble_told))
        log_notice("sentinel listens again");
}

void sentinel_listen_free(struct sentinel_server *s)
{
    for (size_t i = 0; i < SENTINEL_LISTENS_MAX; i++) {
        if (s->listener[i] == NULL)
            continue;
        (void)close(event_get_fd(s->listener[i])); /* who waits is turned away by the kernel */
        event_free(s->listener[i]);
        s->listener[i] = NULL;
    }
}
