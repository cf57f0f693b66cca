#include "redis/hosts.h"

#include "adapter/worker.h"
#include "base/address.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 8, AGAIN_MS = 30000 };

/* Of either family: IPv4 as IPv6 writes it. */
struct address {
    struct in6_addr at;
};

struct row {
    char host[HM_ADDRESS_MAX]; /* "": no member with a copy */
    bool is_literal;
    size_t n;
    struct address address[ADDRESSES_MAX];
};

struct job {
    struct worker_job base;
    struct hosts *h;
    struct row row[HM_MEMBERS_MAX];
};

struct hosts {
    struct event_base *base;
    struct worker *resolver; /* owned; NULL: not needed yet */
    struct job *job;         /* owned; is out while is_out */
    bool is_out;
    hm_ms asked_ms;
    struct row row[HM_MEMBERS_MAX];
};

static bool read_literal(const char *text, struct address *ret)
{
    struct in_addr v4;

    if (inet_pton(AF_INET6, text, &ret->at) == 1)
        return true;
    if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    memset(&ret->at, 0, sizeof ret->at);
    ret->at.s6_addr[10] = ret->at.s6_addr[11] = 0xff;
    memcpy(ret->at.s6_addr + 12, &v4, sizeof v4);
    return true;
}

/* --- names ----------------------------------------------------------------------------------- */

static void add_address(struct row *row, const struct sockaddr *a)
{
    struct address *x = &row->address[row->n];

    if (row->n == ADDRESSES_MAX)
        return;
    if (a->sa_family == AF_INET6) {
        x->at = ((const struct sockaddr_in6 *)a)->sin6_addr;
        row->n++;
    } else if (a->sa_family == AF_INET) {
        memset(&x->at, 0, sizeof x->at);
        x->at.s6_addr[10] = x->at.s6_addr[11] = 0xff;
        memcpy(x->at.s6_addr + 12, &((const struct sockaddr_in *)a)->sin_addr, 4);
        row->n++;
    }
}

static void run_job(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

    for (size_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct row *row = &job->row[slot];
        struct addrinfo *found = NULL;

        if (row->host[0] == 0 || row->is_literal)
            continue;
        row->n = 0;
        if (getaddrinfo(row->host, NULL, &hints, &found) != 0)
            continue; /* what was known before stays */
        for (const struct addrinfo *a = found; a != NULL; a = a->ai_next)
            add_address(row, a->ai_addr);
        freeaddrinfo(found);
    }
}

static void done_job(struct worker_job *base)
{
    struct job *job = (struct job *)base;
    struct hosts *h = job->h;

    h->is_out = false;
    for (size_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (job->row[slot].n > 0 && strcmp(job->row[slot].host, h->row[slot].host) == 0)
            h->row[slot] = job->row[slot];
}

static void resolve(struct hosts *h)
{
    struct hm_err err;
    bool has_names = false;

    for (size_t slot = 0; slot < HM_MEMBERS_MAX; slot++)
        has_names |= h->row[slot].host[0] != 0 && !h->row[slot].is_literal;
    if (!has_names || h->is_out)
        return;
    if (h->resolver == NULL && worker_new(h->base, "hamgr-hosts", &h->resolver, &err) != HM_OK) {
        h->resolver = NULL; /* tried again with the next question */
        return;
    }
    h->asked_ms = clock_boot_ms();
    h->job->base.run = run_job;
    h->job->base.done = done_job;
    h->job->h = h;
    memcpy(h->job->row, h->row, sizeof h->row);
    h->is_out = true;
    worker_add(h->resolver, &h->job->base);
}

/* --- the door -------------------------------------------------------------------------------- */

enum hm_rc hosts_new(struct event_base *base, struct hosts **ret, struct hm_err *err)
{
    struct hosts *h = calloc(1, sizeof *h);

    if (h != NULL)
        h->job = calloc(1, sizeof *h->job);
    if (h == NULL || h->job == NULL) {
        free(h);
        return hm_fail(err, HM_FAILED, "no memory for the members' addresses");
    }
    h->base = base;
    *ret = h;
    return HM_OK;
}

void hosts_free(struct hosts *h)
{
    if (h == NULL)
        return;
    worker_free(h->resolver);
    free(h->job);
    free(h);
}

void hosts_note(struct hosts *h, const struct record *r)
{
    bool is_new = false;

    for (size_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        struct row row = { .host = "" };

        if (r->member[slot].role == ROLE_DB)
            (void)address_host(r->member[slot].address, row.host);
        if (strcmp(row.host, h->row[slot].host) == 0)
            continue;
        row.is_literal = read_literal(row.host, &row.address[0]);
        row.n = row.is_literal;
        h->row[slot] = row;
        is_new = true;
    }
    if (is_new)
        resolve(h);
}

uint8_t hosts_find(struct hosts *h, const char *text)
{
    struct address address;
    bool is_literal = read_literal(text, &address);

    if (clock_boot_ms() - h->asked_ms > AGAIN_MS)
        resolve(h);
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        const struct row *row = &h->row[slot];

        if (row->host[0] != 0 && strcmp(row->host, text) == 0)
            return slot;
        for (size_t i = 0; is_literal && i < row->n; i++)
            if (memcmp(&row->address[i].at, &address.at, sizeof address.at) == 0)
                return slot;
    }
    return HM_STRANGER;
}
