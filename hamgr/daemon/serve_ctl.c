#include "daemon/serve_ctl.h"

#include "wire/ctl.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CALLS_MAX = 32,   /* clients at once */
    PATIENCE_S = 5,   /* to send a request, and to take its answer */
    ACCEPT_WAIT_S = 1 /* after accept() failed: no descriptor is free */
};

enum call_phase {
    CALL_READS,   /* the request is not there yet */
    CALL_WAITS,   /* handed over: somebody will answer */
    CALL_ANSWERS, /* the answer is on its way out */
};

/* A client, and its request. It lives until the answer has left; while it waits it also outlives
 * its client, because somebody holds a pointer to it. */
struct serve_call {
    struct serve_ctl *s;     /* borrowed */
    struct bufferevent *bev; /* owned; NULL: the client has left */
    struct event *limit;     /* owned: its patience ends */
    enum call_phase phase;
    struct serve_call *next;
};

struct serve_ctl {
    struct event_base *base;         /* borrowed */
    struct evconnlistener *listener; /* owned, and its socket */
    struct event *accept_again;      /* owned */
    serve_ctl_heard *on_request;
    void *ctx;
    struct serve_call *calls; /* owned list */
    unsigned calls_n;
    struct sockaddr_un address;
    dev_t dev; /* of the socket in the file system, to remove no other one */
    ino_t ino;
};

static const struct timeval patience = { .tv_sec = PATIENCE_S };

/* --- a call ends ------------------------------------------------------------------------------ */

static void drop_client(struct serve_call *call)
{
    if (call->bev != NULL)
        bufferevent_free(call->bev);
    call->bev = NULL;
    if (call->limit != NULL)
        event_free(call->limit);
    call->limit = NULL;
}

static void call_free(struct serve_call *call)
{
    struct serve_call **at = &call->s->calls;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->s->calls_n--;
    drop_client(call);
    free(call);
}

/* The client is of no use any more. */
static void give_up(struct serve_call *call)
{
    if (call->phase == CALL_WAITS)
        drop_client(call); /* serve_answer() frees the rest */
    else
        call_free(call);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    struct serve_call *call = arg;

    (void)fd;
    (void)what;
    if (call->phase == CALL_READS) {
        /* Later events of this call find it answered: its patience then covers the answer. */
        call->phase = CALL_WAITS;
        serve_fail(call, HM_TIMED_OUT, "the request did not come in time", NULL);
    } else {
        give_up(call);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

static void send_text(struct serve_call *call, const char *text)
{
    if (call->bev == NULL) {
        call_free(call);
        return;
    }
    call->phase = CALL_ANSWERS;
    if (bufferevent_write(call->bev, text, strlen(text)) != 0 ||
        bufferevent_write(call->bev, "\n", 1) != 0 || event_add(call->limit, &patience) != 0)
        call_free(call);
}

void serve_answer(struct serve_call *call, enum hm_rc rc, json_t *answer)
{
    char *text = NULL;

    HM_BUG_ON(call->phase != CALL_WAITS);
    if (answer != NULL && json_object_set_new(answer, "rc", json_integer(ctl_exit_of(rc))) == 0)
        text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    send_text(call, text != NULL ? text : "{\"rc\":1,\"error\":\"hamgrd has no memory left\"}");
    free(text);
}

static json_t *failure(const char *error, const char *next)
{
    return next != NULL ? json_pack("{s:o,s:o}", "error", ctl_text(error), "next", ctl_text(next))
                        : json_pack("{s:o}", "error", ctl_text(error));
}

void serve_fail(struct serve_call *call, enum hm_rc rc, const char *error, const char *next)
{
    serve_answer(call, rc, failure(error, next));
}

/* --- requests --------------------------------------------------------------------------------- */

static void take_line(struct serve_call *call, const char *line, size_t size)
{
    json_t *request = NULL;
    struct hm_err err;
    enum hm_rc rc;

    (void)event_del(call->limit); /* fails for no event that was made */
    call->phase = CALL_WAITS;
    rc = ctl_parse(line, size, &request, &err);
    if (rc != HM_OK)
        serve_fail(call, rc, err.text, "hamgr and hamgrd may be of different versions");
    else
        call->s->on_request(call->s->ctx, call, request); /* the call may be gone now */
    json_decref(request);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct serve_call *call = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    char line[CTL_REQUEST_MAX + 1];
    struct evbuffer_ptr end;
    ev_ssize_t size;

    if (call->phase != CALL_READS) {                       /* one request to a connection */
        (void)evbuffer_drain(in, evbuffer_get_length(in)); /* fails for a frozen buffer only */
        return;
    }
    end = evbuffer_search(in, "\n", 1, NULL);
    size = evbuffer_copyout(in, line, sizeof line);
    if (end.pos < 0 && size <= CTL_REQUEST_MAX)
        return; /* the rest is on its way */
    (void)evbuffer_drain(in, evbuffer_get_length(in));
    take_line(call, line, end.pos >= 0 ? (size_t)end.pos : (size_t)size);
}

/* True if the client closed its whole end, not only the direction to us. */
static bool has_left(struct bufferevent *bev)
{
    struct pollfd p = { .fd = bufferevent_getfd(bev) };

    return poll(&p, 1, 0) != 0;
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    struct serve_call *call = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    char line[CTL_REQUEST_MAX + 1];
    ev_ssize_t size;

    if (!(what & BEV_EVENT_EOF) || has_left(bev)) {
        give_up(call);
        return;
    }
    size = evbuffer_copyout(in, line, sizeof line);
    if (call->phase == CALL_READS && size > 0)
        take_line(call, line, (size_t)size);
    else if (call->phase == CALL_READS)
        call_free(call);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct serve_call *call = arg;

    (void)bev;
    if (call->phase == CALL_ANSWERS)
        call_free(call);
}

/* --- clients come ----------------------------------------------------------------------------- */

static bool is_obeyed(evutil_socket_t fd)
{
    struct ucred who;
    socklen_t size = sizeof who;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

/* Says why in one packet, which a new connection always takes, and closes. */
static void turn_away(evutil_socket_t fd, enum hm_rc rc, const char *error, const char *next)
{
    json_t *answer = failure(error, next);
    char text[300];
    size_t size;

    (void)json_object_set_new(answer, "rc", json_integer(ctl_exit_of(rc)));
    size = json_dumpb(answer, text, sizeof text - 1, JSON_COMPACT);
    json_decref(answer);
    if (size > 0 && size < sizeof text) {
        text[size++] = '\n';
        (void)send(fd, text, size,
                   MSG_DONTWAIT | MSG_NOSIGNAL); /* the client sees the end anyway */
    }
    (void)close(fd); /* nothing was written that could be lost */
}

static struct serve_call *call_new(struct serve_ctl *s, evutil_socket_t fd)
{
    struct serve_call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->s = s;
    call->limit = evtimer_new(s->base, on_limit, call);
    if (call->limit == NULL || event_add(call->limit, &patience) != 0)
        goto failed;
    call->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (call->bev == NULL)
        goto failed;
    bufferevent_setcb(call->bev, on_readable, on_written, on_end, call);
    bufferevent_setwatermark(call->bev, EV_READ, 0, CTL_REQUEST_MAX + 1);
    if (bufferevent_enable(call->bev, EV_READ | EV_WRITE) != 0) {
        (void)bufferevent_setfd(call->bev, -1); /* the caller closes it */
        goto failed;
    }
    return call;

failed:
    drop_client(call);
    free(call);
    return NULL;
}

static void on_client(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int size,
                      void *arg)
{
    struct serve_ctl *s = arg;
    struct serve_call *call;

    (void)l;
    (void)from;
    (void)size;
    if (!is_obeyed(fd)) {
        turn_away(fd, HM_REFUSED, "only root and hamgrd's own user are obeyed", "use sudo");
        return;
    }
    if (s->calls_n >= CALLS_MAX) {
        turn_away(fd, HM_FAILED, "hamgrd has too many requests at once", "try again");
        return;
    }
    call = call_new(s, fd);
    if (call == NULL) {
        turn_away(fd, HM_FAILED, "hamgrd has no memory left", NULL);
        return;
    }
    call->next = s->calls;
    s->calls = call;
    s->calls_n++;
}

/* The connection stays in the kernel's queue and would wake the loop at once, for ever. */
static void on_accept_failed(struct evconnlistener *l, void *arg)
{
    struct serve_ctl *s = arg;
    const struct timeval wait = { .tv_sec = ACCEPT_WAIT_S };

    if (event_add(s->accept_again, &wait) == 0)
        (void)evconnlistener_disable(l); /* if it fails, we are called again */
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct serve_ctl *s = arg;

    (void)fd;
    (void)what;
    (void)evconnlistener_enable(s->listener); /* fails only without memory, as accept() did */
}

/* --- the socket ------------------------------------------------------------------------------- */

/* Makes room for our socket: one without a listener is left over from a crash. */
static enum hm_rc clear_path(const struct sockaddr_un *address, struct hm_err *err)
{
    struct stat st;
    int fd, failed;

    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? HM_OK
                               : hm_fail_errno(err, "cannot look at '%s'", address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return hm_fail(err, HM_FAILED, "'%s' is no socket: remove it", address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make a socket");
    failed = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    (void)close(fd); /* nothing was sent */
    if (failed == 0 || failed == EAGAIN)
        return hm_fail(err, HM_REFUSED, "another hamgrd listens on '%s'", address->sun_path);
    if (failed != ECONNREFUSED && failed != ENOENT) {
        errno = failed;
        return hm_fail_errno(err, "cannot connect to '%s'", address->sun_path);
    }
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return hm_fail_errno(err, "cannot remove '%s'", address->sun_path);
    return HM_OK;
}

static enum hm_rc open_socket(const struct sockaddr_un *address, int *ret_fd, struct hm_err *err)
{
    const mode_t mode = 0660;
    enum hm_rc rc;
    int fd;

    rc = clear_path(address, err);
    if (rc != HM_OK)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make a socket");
    /* The mode of the socket itself is the most that bind() gives to the path, so that it is never
     * open to everybody; the umask may have taken more away, which chmod() puts right. */
    if (fchmod(fd, mode) != 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        rc = hm_fail_errno(err, "cannot listen on '%s'", address->sun_path);
        goto failed;
    }
    if (chmod(address->sun_path, mode) != 0 || listen(fd, CALLS_MAX) != 0) {
        rc = hm_fail_errno(err, "cannot listen on '%s'", address->sun_path);
        (void)unlink(address->sun_path); /* a left-over is replaced by the next start */
        goto failed;
    }
    *ret_fd = fd;
    return HM_OK;

failed:
    (void)close(fd); /* nobody is connected */
    return rc;
}

enum hm_rc serve_ctl_new(struct event_base *base, const char *path, serve_ctl_heard *on_request,
                         void *ctx, struct serve_ctl **ret, struct hm_err *err)
{
    struct serve_ctl *s;
    struct stat st;
    enum hm_rc rc;
    int fd = -1;

    if (strlen(path) >= sizeof s->address.sun_path)
        return hm_fail(err, HM_FAILED, "'%s' is too long for a socket's path", path);
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return hm_fail(err, HM_FAILED, "no memory");
    s->base = base;
    s->on_request = on_request;
    s->ctx = ctx;
    s->address.sun_family = AF_UNIX;
    memcpy(s->address.sun_path, path, strlen(path) + 1);
    rc = open_socket(&s->address, &fd, err);
    if (rc != HM_OK)
        goto failed;
    if (lstat(path, &st) == 0) {
        s->dev = st.st_dev;
        s->ino = st.st_ino;
    }
    s->listener = evconnlistener_new(base, on_client, s,
                                     LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (s->listener == NULL)
        (void)close(fd); /* nobody is connected */
    s->accept_again = evtimer_new(base, on_accept_again, s);
    if (s->listener == NULL || s->accept_again == NULL) {
        rc = hm_fail(err, HM_FAILED, "cannot listen on '%s': no memory", path);
        goto failed;
    }
    evconnlistener_set_error_cb(s->listener, on_accept_failed);
    *ret = s;
    return HM_OK;

failed:
    serve_ctl_free(s);
    return rc;
}

void serve_ctl_free(struct serve_ctl *s)
{
    struct stat st;

    if (s == NULL)
        return;
    while (s->calls != NULL)
        call_free(s->calls);
    if (s->accept_again != NULL)
        event_free(s->accept_again);
    if (s->listener != NULL)
        evconnlistener_free(s->listener);
    /* By now another hamgrd may have made its own. A left-over is replaced by the next start. */
    if (s->ino != 0 && lstat(s->address.sun_path, &st) == 0 && st.st_dev == s->dev &&
        st.st_ino == s->ino)
        (void)unlink(s->address.sun_path);
    free(s);
}
