/* about.c - CLIENT and INFO: what a client asks about itself and about the endpoint. */
#include "sentinel/inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ANY = RESP_WORDS_MAX, ABOUT_SIZE = 4096, INFO_SIZE = 4096 + HM_SERVICES_MAX * 192 };

/* --- CLIENT -------------------------------------------------------------------------------------
 */

static void take_get_name(const struct call *call)
{
    if (call->s->name != NULL)
        resp_put_text(call->o, call->s->name);
    else
        resp_put_null(call->o);
}

static void take_id(const struct call *call)
{
    resp_put_number(call->o, (int64_t)call->s->id);
}

/* CLIENT LIST, too: a client sees itself, so that the answer is as short with 10,000 of them. */
static void take_about(const struct call *call)
{
    const struct session *s = call->s;
    char where[SESSION_ABOUT_MAX], text[ABOUT_SIZE];
    int n;

    call->host->describe(call->host->ctx, s, where);
    n = snprintf(text, sizeof text,
                 "id=%llu %s name=%s age=%lld idle=0 flags=%s db=0 sub=%u psub=%u ssub=0 multi=-1 "
                 "cmd=client user=default redir=-1 resp=%d\n",
                 (unsigned long long)s->id, where, s->name != NULL ? s->name : "",
                 (long long)((call->host->now_ms - s->began_ms) / 1000),
                 pubsub_count(&s->pubsub) > 0 ? "P" : "N", s->pubsub.channels_n,
                 s->pubsub.patterns_n, s->is_resp3 ? 3 : 2);
    resp_put_verbatim(call->o, text, (size_t)n);
}

/* Accepted, and of no effect: newer servers know it, and clients say it at every connection. */
static void take_ok(const struct call *call)
{
    resp_put_simple(call->o, "OK");
}

static void take_help(const struct call *call)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> ...]. hamgr answers:",
        "GETNAME",
        "ID",
        "INFO",
        "LIST",
        "    This client alone.",
        "NO-EVICT (ON|OFF)",
        "SETINFO <name> <value>",
        "SETNAME <name>",
    };

    resp_put_array(call->o, HM_ARRAY_LEN(lines));
    for (size_t i = 0; i < HM_ARRAY_LEN(lines); i++)
        resp_put_simple(call->o, lines[i]);
}

/* clang-format off */
const struct call_row call_client_rows[] = {
    { "getname",  2, 2,   0, take_get_name, NULL },
    { "help",     2, 2,   0, take_help,     NULL },
    { "id",       2, 2,   0, take_id,       NULL },
    { "info",     2, 2,   0, take_about,    NULL },
    { "list",     2, ANY, 0, take_about,    NULL },
    { "no-evict", 3, 3,   0, take_ok,       NULL },
    { "setinfo",  4, 4,   0, take_ok,       NULL },
    { "setname",  3, 3,   0, call_set_name, NULL },
    { NULL,       0, 0,   0, NULL,          NULL },
};
/* clang-format on */

/* --- INFO ---------------------------------------------------------------------------------------
 */

struct page {
    char text[INFO_SIZE];
    size_t n;
};

static void add(struct page *p, const char *format, ...) HM_PRINTF(2, 3);
static void add(struct page *p, const char *format, ...)
{
    size_t room = sizeof p->text - p->n;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(p->text + p->n, room, format, args);
    va_end(args);
    HM_BUG_ON(n < 0 || (size_t)n >= room); /* INFO_SIZE is for the most services and names */
    p->n += (size_t)n;
}

static void add_server(struct page *p, const struct call *call)
{
    const struct session_host *h = call->host;
    hm_ms up_s = (h->now_ms - h->started_ms) / 1000;

    add(p, "# Server\r\nredis_version:%s\r\nredis_mode:sentinel\r\nhamgr_version:%s\r\n",
        SESSION_REDIS_VERSION, HAMGR_VERSION);
    add(p, "arch_bits:%zu\r\nprocess_id:%ld\r\nrun_id:%s\r\ntcp_port:%u\r\n", 8 * sizeof(void *),
        (long)getpid(), h->model->id, h->port);
    add(p, "uptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n\r\n", (long long)up_s,
        (long long)(up_s / 86400));
}

static void add_clients(struct page *p, const struct call *call)
{
    add(p, "# Clients\r\nconnected_clients:%u\r\nmaxclients:%u\r\nblocked_clients:0\r\n\r\n",
        call->host->clients_n, call->host->clients_max);
}

static void add_stats(struct page *p, const struct call *call)
{
    const struct session_host *h = call->host;

    add(p,
        "# Stats\r\ntotal_connections_received:%llu\r\ntotal_commands_processed:%llu\r\n"
        "rejected_connections:%llu\r\n\r\n",
        (unsigned long long)h->connections, (unsigned long long)h->commands,
        (unsigned long long)h->rejected);
}

static void add_sentinel(struct page *p, const struct call *call)
{
    const struct model *all = call->host->model;
    char address[MODEL_PLACE_TEXT];

    add(p,
        "# "
        "Sentinel\r\nsentinel_masters:%zu\r\nsentinel_tilt:0\r\nsentinel_tilt_since_seconds:-1\r\n"
        "sentinel_running_scripts:0\r\nsentinel_scripts_queue_length:0\r\n"
        "sentinel_simulate_failure_flags:0\r\n",
        all->masters_n);
    for (size_t i = 0; i < all->masters_n; i++) {
        const struct model_master *m = &all->master[i];

        model_place_text(&m->at, address);
        add(p, "master%zu:name=%s,status=%s,address=%s,slaves=%zu,sentinels=%u\r\n", i, m->name,
            m->is_odown   ? "odown"
            : m->is_sdown ? "sdown"
                          : "ok",
            address, m->replicas_n, count_sentinels(all) + 1);
    }
    add(p, "\r\n");
}

static bool is_wanted(const struct call *call, const char *section)
{
    if (call->c->words_n == 1)
        return true;
    for (size_t i = 1; i < call->c->words_n; i++) {
        const struct resp_word *w = call_word(call, i);

        if (resp_is(w, section) || resp_is(w, "all") || resp_is(w, "everything") ||
            resp_is(w, "default"))
            return true;
    }
    return false;
}

void call_info(const struct call *call)
{
    static const struct {
        const char *name;
        void (*add)(struct page *p, const struct call *call);
    } sections[] = { { "server", add_server },
                     { "clients", add_clients },
                     { "stats", add_stats },
                     { "sentinel", add_sentinel } };
    struct page page = { .n = 0 };

    for (size_t i = 0; i < HM_ARRAY_LEN(sections); i++)
        if (is_wanted(call, sections[i].name))
            sections[i].add(&page, call);
    if (page.n >= 2)
        page.n -= 2; /* the blank line is between sections */
    resp_put_bulk(call->o, page.text, page.n);
}
