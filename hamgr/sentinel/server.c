#include "sentinel/server_inner.h"

#include "base/clock.h"
#include "sentinel/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SWEEP_MS = 1000,
    SWEEP_SOON_MS = 10, /* when there was more to sweep */
    SWEEPS_AT_ONCE = 32,
    LOOK_MS = 50, /* for FAILOVERs that count as accepted */
};

uint64_t server_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* there is always one */
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void after(struct event *timer, long ms)
{
    const struct timeval wait = clock_timeval(ms);

    (void)event_add(timer, &wait); /* fails only without memory */
}

/* --- lists of clients ---------------------------------------------------------------------------
 */

void server_wake(struct sentinel_server *s)
{
    if (!event_pending(s->pump, EV_TIMEOUT, NULL))
        after(s->pump, 0);
}

void server_make_ready(struct client *c)
{
    if (c->is_ready)
        return;
    c->is_ready = true;
    TAILQ_INSERT_TAIL(&c->server->ready, c, queue);
    server_wake(c->server);
}

void server_hold(struct client *c)
{
    struct sentinel_server *s = c->server;

    c->is_held = true;
    s->held_n++;
    TAILQ_INSERT_TAIL(&s->held, c, queue);
    if (!event_pending(s->release, EV_TIMEOUT, NULL))
        after(s->release, LOOK_MS);
}

static void leave_held(struct client *c)
{
    if (!c->is_held)
        return;
    TAILQ_REMOVE(&c->server->held, c, queue);
    c->server->held_n--;
    c->is_held = false;
}

static void release(struct client *c)
{
    leave_held(c);
    server_make_ready(c);
}

/* Those that waited long enough. The others wait for a snapshot. */
static void on_release(evutil_socket_t fd, short what, void *arg)
{
    struct sentinel_server *s = arg;
    hm_ms now_ms = clock_boot_ms();
    struct client *c = TAILQ_FIRST(&s->held);

    (void)fd;
    (void)what;
    for (; c != NULL && c->held_ms <= now_ms; c = TAILQ_FIRST(&s->held))
        release(c);
    if (c != NULL)
        after(s->release, LOOK_MS);
}

/* Is a master settled that was not? Then whoever waits is looked at anew, a few at a time. */
static bool is_one_settled(const struct model *before, const struct model *now)
{
    for (size_t i = 0; i < now->masters_n; i++) {
        const struct model_master *m = &now->master[i];
        const struct model_master *was = model_find(before, m->name, strlen(m->name));

        if (m->unsettled_ms == HM_NEVER && was != NULL && was->unsettled_ms != HM_NEVER)
            return true;
    }
    return false;
}

static void leave_list(struct client *c)
{
    struct sentinel_server *s = c->server;

    if (s->cursor == c)
        s->cursor = TAILQ_NEXT(c, all);
    TAILQ_REMOVE(c->is_subscriber ? &s->subscribers : &s->idle, c, all);
    s->subscribers_n -= c->is_subscriber ? 1 : 0;
}

void server_note_lists(struct client *c)
{
    struct sentinel_server *s = c->server;
    bool is_subscriber = pubsub_count(&c->session.pubsub) > 0;

    c->active_ms = s->host.now_ms;
    if (is_subscriber && c->is_subscriber)
        return;
    leave_list(c);
    if (is_subscriber) { /* at the head: the round that goes on is about what was before */
        c->next_event = s->ring.next;
        TAILQ_INSERT_HEAD(&s->subscribers, c, all);
        s->subscribers_n++;
    } else
        TAILQ_INSERT_TAIL(&s->idle, c, all);
    c->is_subscriber = is_subscriber;
}

void server_forget(struct client *c)
{
    struct sentinel_server *s = c->server;

    leave_list(c);
    if (c->is_ready)
        TAILQ_REMOVE(&s->ready, c, queue);
    leave_held(c);
    for (size_t i = 0; i < SENTINEL_WAITING_MAX; i++)
        if (s->waiting[i].client == c)
            s->waiting[i] = (struct waiting){ 0 };
}

/* --- a slice of work ----------------------------------------------------------------------------
 */

static void tell_some(struct sentinel_server *s, uint64_t end_us)
{
    while (server_us() < end_us) {
        struct client *c = s->cursor;
        bool is_gone = false;

        if (c == NULL) {
            if (s->round_upto == s->ring.next)
                return;
            s->round_upto = s->ring.next;
            s->cursor = TAILQ_FIRST(&s->subscribers);
        } else if (client_tell(c, s->round_upto, end_us, &is_gone) && !is_gone)
            s->cursor = TAILQ_NEXT(c, all);
    }
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    struct sentinel_server *s = arg;
    uint64_t now_us = server_us(), end_us = now_us + SENTINEL_SLICE_US;
    uint64_t half_us = now_us + SENTINEL_SLICE_US / 2;

    (void)fd;
    (void)what;
    for (; s->release_n > 0 && !TAILQ_EMPTY(&s->held) && server_us() < half_us; s->release_n--)
        release(TAILQ_FIRST(&s->held));
    while (!TAILQ_EMPTY(&s->ready) && server_us() < half_us) {
        struct client *c = TAILQ_FIRST(&s->ready);

        TAILQ_REMOVE(&s->ready, c, queue);
        c->is_ready = false;
        client_go_on(c);
    }
    tell_some(s, end_us);
    if (s->cursor != NULL || s->round_upto != s->ring.next || !TAILQ_EMPTY(&s->ready) ||
        (s->release_n > 0 && !TAILQ_EMPTY(&s->held)))
        server_wake(s);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct sentinel_server *s = arg;
    hm_ms now_ms = clock_boot_ms();
    struct client *c = TAILQ_FIRST(&s->idle);
    int n = 0;

    (void)fd;
    (void)what;
    for (; c != NULL && n < SWEEPS_AT_ONCE && c->active_ms + s->idle_ms <= now_ms; n++) {
        client_free(c);
        c = TAILQ_FIRST(&s->idle);
    }
    after(s->sweep, n == SWEEPS_AT_ONCE ? SWEEP_SOON_MS : SWEEP_MS);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    sentinel_listen(arg);
}

/* --- snapshots ----------------------------------------------------------------------------------
 */

static void publish(void *ctx, const char *channel, const char *payload)
{
    struct sentinel_server *s = ctx;

    if (strcmp(channel, "+switch-master") == 0)
        log_info("sentinel told its clients %s %s", channel, payload);
    else
        log_debug("sentinel told its clients %s %s", channel, payload);
    pubsub_publish(&s->ring, channel, payload);
}

void sentinel_server_show(struct sentinel_server *s, const struct model *model)
{
    /* Who asks because of an event is to be answered from what the event tells. */
    if (s->model.id[0] != '\0')
        events_between(&s->model, model, publish, s);
    if (is_one_settled(&s->model, model))
        s->release_n = s->held_n;
    s->model = *model;
    if (s->release_n > 0 || (s->subscribers_n > 0 && s->round_upto != s->ring.next))
        server_wake(s);
}

/* --- FAILOVER -----------------------------------------------------------------------------------
 */

bool server_failover(void *ctx, struct session *session, const char *master)
{
    struct sentinel_server *s = ctx;

    for (size_t i = 0; i < SENTINEL_WAITING_MAX; i++) {
        if (s->waiting[i].ticket != 0)
            continue;
        s->waiting[i] = (struct waiting){
            .ticket = session->id,
            .client = (struct client *)((char *)session - offsetof(struct client, session)),
            .until_ms = s->host.now_ms + SENTINEL_ACCEPTED_MS,
        };
        session->is_waiting = true;
        log_notice("sentinel failover asked for master=%s client=%llu", master,
                   (unsigned long long)session->id);
        if (!event_pending(s->answer, EV_TIMEOUT, NULL))
            after(s->answer, LOOK_MS);
        if (s->failover != NULL && s->failover(s->ctx, session->id, master))
            return true;
        session->is_waiting = false;
        s->waiting[i] = (struct waiting){ 0 };
        return false;
    }
    return false;
}

/* Not at once: the request itself may still be on its way through the tables. */
void sentinel_server_answer(struct sentinel_server *s, uint64_t ticket, const char *error)
{
    for (size_t i = 0; i < SENTINEL_WAITING_MAX && ticket != 0; i++) {
        struct waiting *w = &s->waiting[i];

        if (w->ticket != ticket || w->is_answered)
            continue;
        w->is_answered = true;
        (void)snprintf(w->error, sizeof w->error, "%s", error != NULL ? error : "");
        after(s->answer, 0);
    }
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct sentinel_server *s = arg;
    hm_ms now_ms = clock_boot_ms();
    bool is_more = false;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < SENTINEL_WAITING_MAX; i++) {
        struct waiting w = s->waiting[i];

        if (w.ticket != 0 && (w.is_answered || w.until_ms <= now_ms)) {
            s->waiting[i] = (struct waiting){ 0 };
            client_answer(w.client, w.is_answered && w.error[0] != '\0' ? w.error : NULL);
        }
        is_more = is_more || s->waiting[i].ticket != 0;
    }
    if (is_more)
        after(s->answer, LOOK_MS);
}

void server_refused(void *ctx, const struct session *session)
{
    struct sentinel_server *s = ctx;
    char where[SESSION_ABOUT_MAX];
    uint64_t hidden;

    if (!log_repeat_starts(&s->password_told, clock_boot_ms(), &hidden))
        return;
    client_describe(ctx, session, where);
    log_warn("sentinel: a wrong user or password %s hidden=%llu", where,
             (unsigned long long)hidden);
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static bool make_timer(struct sentinel_server *s, struct event **timer, event_callback_fn then)
{
    *timer = evtimer_new(s->base, then, s);
    return *timer != NULL && event_priority_set(*timer, SENTINEL_PRIORITY) == 0;
}

static enum hm_rc set_up(struct sentinel_server *s, const struct sentinel_config *config,
                         struct hm_err *err)
{
    s->base = config->base;
    s->failover = config->failover;
    s->ctx = config->ctx;
    s->port = config->port;
    s->idle_ms = config->idle_ms != 0 ? config->idle_ms : SENTINEL_IDLE_MS;
    s->host = (struct session_host){ .model = &s->model,
                                     .started_ms = clock_boot_ms(),
                                     .clients_max = sentinel_allow_files(config->clients_max),
                                     .failover = server_failover,
                                     .describe = client_describe,
                                     .refused = server_refused,
                                     .ctx = s };
    s->host.now_ms = s->host.started_ms;
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->subscribers);
    TAILQ_INIT(&s->ready);
    TAILQ_INIT(&s->held);
    for (size_t i = 0; i < SENTINEL_LISTENS_MAX; i++)
        if (config->listen[i] != NULL)
            (void)snprintf(s->listen[i], sizeof s->listen[i], "%s", config->listen[i]);
    if (config->password != NULL) {
        s->password = strdup(config->password);
        s->host.password = s->password;
    }
    if ((config->password != NULL && s->password == NULL) || !make_timer(s, &s->pump, on_pump) ||
        !make_timer(s, &s->sweep, on_sweep) || !make_timer(s, &s->answer, on_answer) ||
        !make_timer(s, &s->again, on_again) || !make_timer(s, &s->release, on_release))
        return hm_fail(err, HM_FAILED, "cannot set up the Sentinel endpoint: no memory");
    return HM_OK;
}

enum hm_rc sentinel_server_new(const struct sentinel_config *config, struct sentinel_server **ret,
                               struct hm_err *err)
{
    struct sentinel_server *s = calloc(1, sizeof *s);
    enum hm_rc rc;

    if (s == NULL)
        return hm_fail(err, HM_FAILED, "no memory");
    rc = set_up(s, config, err);
    if (rc != HM_OK) {
        sentinel_server_free(s);
        return rc;
    }
    if (s->host.clients_max < config->clients_max)
        log_warn("sentinel clients_max=%u: descriptors allow no more (LimitNOFILE=, ulimit -n)",
                 s->host.clients_max);
    after(s->sweep, SWEEP_MS);
    sentinel_listen(s);
    *ret = s;
    return HM_OK;
}

void sentinel_server_free(struct sentinel_server *s)
{
    struct event *timers[5];

    if (s == NULL)
        return;
    sentinel_listen_free(s);
    while (!TAILQ_EMPTY(&s->idle))
        client_free(TAILQ_FIRST(&s->idle));
    while (!TAILQ_EMPTY(&s->subscribers))
        client_free(TAILQ_FIRST(&s->subscribers));
    timers[0] = s->pump;
    timers[1] = s->sweep;
    timers[2] = s->answer;
    timers[3] = s->again;
    timers[4] = s->release;
    for (size_t i = 0; i < HM_ARRAY_LEN(timers); i++)
        if (timers[i] != NULL)
            event_free(timers[i]);
    if (s->password != NULL)
        explicit_bzero(s->password, strlen(s->password));
    free(s->password);
    free(s);
}

/* --- what others want to know -------------------------------------------------------------------
 */

const char *sentinel_server_trouble(const struct sentinel_server *s)
{
    return s->trouble;
}

uint16_t sentinel_server_port(const struct sentinel_server *s)
{
    return s->host.port;
}

void sentinel_server_count(const struct sentinel_server *s, struct sentinel_counts *ret)
{
    *ret = (struct sentinel_counts){ .clients = s->host.clients_n,
                                     .subscribers = s->subscribers_n,
                                     .clients_max = s->host.clients_max,
                                     .rejected = s->host.rejected,
                                     .slow = s->slow,
                                     .buffered = s->buffered };
}
