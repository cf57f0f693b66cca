/* twin.c - two hosts that say to be one member: somebody copied one, or gave two the same name.
 *
 * A copied voter is two voters that count as one: each could promise its vote to another candidate,
 * and two majorities could stand side by side. So a member listens to one of them only, the one
 * that it has heard all along, and tells the other; and who is told that there is another one of
 * its name talks to nobody for a while, not even to those who would listen to it: nobody can know
 * whom the other one is talking to. Should the two be told of each other, neither votes, and the
 * other members go on without. While it is mute it dials on, and says in its HELLO that it only
 * asks whether it is still refused.
 *
 * They are told apart by a number that each program draws when it starts. A program that was
 * started anew comes from the same address, after the former one has gone; that is no twin. A
 * number that comes back after another one took its place is one, wherever it comes from. */
#include "net/inner.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum {
    TOLD_MS = 3000,  /* who was told is silent for so long */
    KEEP_MS = 30000, /* a known twin does not get the place sooner after the other fell silent */
    SHOWN_MS = 15000,
};

uint64_t twin_draw(void)
{
    uint64_t instance = 0;

    while (instance == 0)
        if (getrandom(&instance, sizeof instance, 0) != (ssize_t)sizeof instance)
            return 0; /* as an older program: nobody tells us apart */
    return instance;
}

static bool is_another(const struct peer *p, const struct wire_hello *h)
{
    if (p->incarnation == 0)
        return false;
    return p->incarnation != h->incarnation ||
           (p->instance != 0 && h->instance != 0 && p->instance != h->instance);
}

static bool was_here(const struct peer *p, uint64_t instance)
{
    for (unsigned i = 0; i < LINK_FORMER_MAX; i++)
        if (instance != 0 && p->former[i] == instance)
            return true;
    return false;
}

static bool is_refused(const struct peer *p, const struct conn *c, const struct wire_hello *h,
                       hm_ms now_ms)
{
    bool is_same_host = strcmp(p->host, c->address) == 0;

    if (!is_another(p, h))
        return false;
    if (!is_same_host && strcmp(p->twin_host, c->address) == 0 && now_ms - p->heard_ms < KEEP_MS)
        return true;
    return peer_best(p) != NULL && peer_is_heard(p, now_ms) &&
           (!is_same_host || was_here(p, h->instance));
}

/* Another host is heard under that name: this one is told, and closes the connection. */
static bool refuses(struct conn *c, struct peer *p, const struct wire_hello *h, hm_ms now_ms)
{
    struct wire_hello answer = *c->cluster->config.hello;
    char why[192];

    if (!is_refused(p, c, h, now_ms))
        return false;
    (void)snprintf(p->twin_host, sizeof p->twin_host, "%s", c->address);
    p->twin_ms = now_ms;
    (void)snprintf(why, sizeof why,
                   "the host %s is called '%s', too: stop hamgrd on one of the two, and give it a "
                   "name of its own",
                   p->host, p->name);
    c->is_told = h->instance != 0 && conn_say_hello(c, &answer, "", p->host);
    if (c->is_told)
        conn_tell_refused(c, why);
    else
        conn_end(c, END_REFUSED, "%s", why);
    return true;
}

bool twin_is_about(struct conn *c, struct peer *p, const struct wire_hello *h)
{
    struct wire_hello answer = *c->cluster->config.hello;

    if (h->rival[0] != 0 && !c->is_accepted)
        twin_told(c, h->rival);
    else if (twin_is_mute(c->cluster))
        conn_end(c, END_LOST, "the host %s has our name, too", c->cluster->twin_host);
    else if (refuses(c, p, h, clock_boot_ms()))
        return true;
    else if (h->rival[0] == 0)
        return false;
    else if (!conn_say_hello(c, &answer, "", ""))
        conn_end(c, END_QUIETLY, "it only asks, and gets no answer");
    else
        c->is_told = true; /* that it is not refused here: while it is mute, it is no link */
    return true;
}

void twin_note(struct peer *p, const struct conn *c, const struct wire_hello *h)
{
    if (p->instance != 0 && p->instance != h->instance && !was_here(p, p->instance)) {
        memmove(p->former + 1, p->former, sizeof p->former - sizeof p->former[0]);
        p->former[0] = p->instance;
    }
    p->instance = h->instance;
    (void)snprintf(p->host, sizeof p->host, "%s", c->address);
}

void twin_told(struct conn *c, const char *rival)
{
    struct link_cluster *cluster = c->cluster;
    const char *self = cluster->config.hello->from;
    hm_ms now_ms = clock_boot_ms();
    uint64_t hidden;
    struct peer *p;

    (void)snprintf(cluster->twin_host, sizeof cluster->twin_host, "%s", rival);
    cluster->twin_until_ms = now_ms + hm_max_ms(TOLD_MS, 10 * cluster->config.silence_ms);
    if (log_repeat_starts(&cluster->twin_repeat, now_ms, &hidden))
        log_error("two_hosts cluster=%s member=%s other=%s why=\"another host is called '%s', too: "
                  "this one does not vote; stop hamgrd on one of the two\"",
                  cluster->name, self, rival, self);
    conn_end(c, END_LOST, "another host, %s, is called '%s', too", rival, self);
    TAILQ_FOREACH (p, &cluster->peers, in_cluster) {
        struct conn *other, *next;

        for (other = TAILQ_FIRST(&p->conns); other != NULL; other = next) {
            next = TAILQ_NEXT(other, in_peer);
            if (other->state == CONN_READY)
                conn_end(other, END_LOST, "another host, %s, is called '%s', too", rival, self);
        }
    }
}

bool twin_is_mute(const struct link_cluster *c)
{
    return c->twin_until_ms != 0 && clock_boot_ms() < c->twin_until_ms;
}

bool link_twin(const struct link_cluster *c, unsigned i, struct link_twin *ret)
{
    hm_ms now_ms = clock_boot_ms();
    const struct peer *p;

    memset(ret, 0, sizeof *ret);
    if (twin_is_mute(c) && i-- == 0) {
        ret->is_self = true;
        (void)snprintf(ret->name, sizeof ret->name, "%s", c->config.hello->from);
        (void)snprintf(ret->other, sizeof ret->other, "%s", c->twin_host);
        return true;
    }
    TAILQ_FOREACH (p, &c->peers, in_cluster) {
        if (p->twin_ms == 0 || now_ms - p->twin_ms >= SHOWN_MS || i-- != 0)
            continue;
        (void)snprintf(ret->name, sizeof ret->name, "%s", p->name);
        (void)snprintf(ret->host, sizeof ret->host, "%s", p->host);
        (void)snprintf(ret->other, sizeof ret->other, "%s", p->twin_host);
        return true;
    }
    return false;
}
