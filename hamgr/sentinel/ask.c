/* ask.c - SENTINEL and its subcommands. */
#include "sentinel/inner.h"

#include "sentinel/glob.h"

#include <stdio.h>
#include <string.h>

enum { ANY = RESP_WORDS_MAX };

/* The master named by the third word; NULL: answered already. */
static const struct model_master *find_master(const struct call *call)
{
    const struct resp_word *name = call_word(call, 2);
    const struct model_master *m = model_find(call->host->model, name->at, name->n);

    if (m == NULL)
        resp_put_error(call->o, "ERR No such master with that name");
    return m;
}

static void take_address(const struct call *call)
{
    const struct resp_word *name = call_word(call, 2);
    const struct model_master *m = model_find(call->host->model, name->at, name->n);

    if (m == NULL) {
        resp_put_null_array(call->o);
        return;
    }
    resp_put_array(call->o, 2);
    resp_put_text(call->o, m->at.host);
    resp_put_u64(call->o, m->at.port);
}

static void take_masters(const struct call *call)
{
    const struct model *all = call->host->model;

    resp_put_array(call->o, all->masters_n);
    for (size_t i = 0; i < all->masters_n; i++)
        put_master(call->o, all, &all->master[i], call->host->now_ms);
}

static void take_master(const struct call *call)
{
    const struct model_master *m = find_master(call);

    if (m != NULL)
        put_master(call->o, call->host->model, m, call->host->now_ms);
}

static void take_replicas(const struct call *call)
{
    const struct model_master *m = find_master(call);

    if (m == NULL)
        return;
    resp_put_array(call->o, m->replicas_n);
    for (size_t i = 0; i < m->replicas_n; i++)
        put_replica(call->o, m, &m->replica[i], call->host->now_ms);
}

/* Only those whose endpoint answers: clients take all of them into their lists. */
static void take_sentinels(const struct call *call)
{
    const struct model *all = call->host->model;
    const struct model_master *m = find_master(call);

    if (m == NULL)
        return;
    resp_put_array(call->o, count_sentinels(all));
    for (size_t i = 0; i < all->sentinels_n; i++)
        if (all->sentinel[i].is_up)
            put_sentinel(call->o, m, &all->sentinel[i], call->host->now_ms);
}

/* What a Sentinel asks of its peers, hamgr asks of its voters, witnesses too. */
static void take_ckquorum(const struct call *call)
{
    const struct model_master *m = find_master(call);
    char text[256];

    if (m == NULL)
        return;
    if (m->voters_heard >= m->quorum)
        (void)snprintf(text, sizeof text,
                       "OK %u usable Sentinels. Quorum and failover authorization can be reached",
                       m->voters_heard);
    else
        (void)snprintf(text, sizeof text,
                       "NOQUORUM %u usable Sentinels. Not enough available Sentinels to reach the "
                       "specified quorum for this master. Not enough available Sentinels to reach "
                       "the majority and authorize a failover",
                       m->voters_heard);
    if (m->voters_heard >= m->quorum)
        resp_put_simple(call->o, text);
    else
        resp_put_error(call->o, text);
}

static void take_myid(const struct call *call)
{
    resp_put_text(call->o, call->host->model->id);
}

/* No vote is given to anybody: members of the cluster vote over their own links. */
static void take_is_down(const struct call *call)
{
    const struct model *all = call->host->model;
    int64_t port = 0, epoch = 0;
    bool is_down = false;

    if (!resp_number_of(call_word(call, 3), &port) || !resp_number_of(call_word(call, 4), &epoch)) {
        resp_put_error(call->o, "ERR value is not an integer or out of range");
        return;
    }
    for (size_t i = 0; i < all->masters_n; i++)
        is_down = is_down || (all->master[i].is_sdown && all->master[i].at.port == port &&
                              resp_is(call_word(call, 2), all->master[i].at.host));
    resp_put_array(call->o, 3);
    resp_put_number(call->o, is_down ? 1 : 0);
    resp_put_text(call->o, "*");
    resp_put_number(call->o, 0);
}

/* Whoever may connect could take the service from host to host: so only with a password, or by
 * somebody who is on the host already. */
static void take_failover(const struct call *call)
{
    const struct model_master *m = find_master(call);

    if (m == NULL)
        return;
    if (call->host->password == NULL && !call->s->is_local)
        resp_put_error(call->o,
                       "NOPERM hamgr obeys this from its own host only, or with a password "
                       "(sentinel_password_file); 'hamgr switchover' is the command for it");
    else if (m->is_failover)
        resp_put_error(call->o, "INPROG Failover already in progress");
    else if (m->replicas_n == 0)
        resp_put_error(call->o, "NOGOODSLAVE No suitable replica to promote");
    else if (!call->host->failover(call->host->ctx, call->s, m->name))
        resp_put_error(call->o, "ERR too many orders wait for their end: try again");
}

static void take_refused(const struct call *call)
{
    resp_put_error(call->o, "ERR hamgr's configuration rules here: change hamgr.conf, or use the "
                            "command 'hamgr'");
}

static void take_nothing(const struct call *call)
{
    resp_put_array(call->o, 0);
}

static void take_config(const struct call *call)
{
    static const struct {
        const char *name, *value;
    } table[] = { { "resolve-hostnames", "yes" }, { "announce-hostnames", "yes" },
                  { "announce-ip", "" },          { "announce-port", "0" },
                  { "sentinel-user", "" },        { "sentinel-pass", "" } };
    const struct resp_word *pattern = call_word(call, 3);
    size_t n = 0;

    if (!resp_is(call_word(call, 2), "get")) {
        take_refused(call);
        return;
    }
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++)
        n += glob_fits(pattern->at, pattern->n, table[i].name, strlen(table[i].name));
    resp_put_map(call->o, n);
    for (size_t i = 0; i < HM_ARRAY_LEN(table); i++)
        if (glob_fits(pattern->at, pattern->n, table[i].name, strlen(table[i].name))) {
            resp_put_text(call->o, table[i].name);
            resp_put_text(call->o, table[i].value);
        }
}

static void take_help(const struct call *call)
{
    static const char *const lines[] = {
        "SENTINEL <subcommand> [<arg> ...]. hamgr answers:",
        "CKQUORUM <master-name>",
        "    Whether a majority of hamgr's voters is heard.",
        "CONFIG GET <pattern>",
        "FAILOVER <master-name>",
        "    A planned switchover: 'hamgr switchover'.",
        "GET-MASTER-ADDR-BY-NAME <master-name>",
        "IS-MASTER-DOWN-BY-ADDR <ip> <port> <epoch> <runid>",
        "MASTER <master-name>",
        "MASTERS",
        "MYID",
        "PENDING-SCRIPTS",
        "REPLICAS <master-name>",
        "SENTINELS <master-name>",
        "    The other members that answer like this one.",
        "All else is a matter of hamgr.conf and of the command 'hamgr'.",
    };

    resp_put_array(call->o, HM_ARRAY_LEN(lines));
    for (size_t i = 0; i < HM_ARRAY_LEN(lines); i++)
        resp_put_simple(call->o, lines[i]);
}

/* clang-format off */
const struct call_row call_sentinel_rows[] = {
    { "ckquorum",                3, 3,   0, take_ckquorum,  NULL },
    { "config",                  4, ANY, 0, take_config,    NULL },
    { "debug",                   2, ANY, 0, take_refused,   NULL },
    { "failover",                3, 3,   0, take_failover,  NULL },
    { "flushconfig",             2, 2,   0, take_refused,   NULL },
    { "get-master-addr-by-name", 3, 3,   0, take_address,   NULL },
    { "help",                    2, 2,   0, take_help,      NULL },
    { "info-cache",              3, ANY, 0, take_nothing,   NULL },
    { "is-master-down-by-addr",  6, 6,   0, take_is_down,   NULL },
    { "master",                  3, 3,   0, take_master,    NULL },
    { "masters",                 2, 2,   0, take_masters,   NULL },
    { "monitor",                 6, 6,   0, take_refused,   NULL },
    { "myid",                    2, 2,   0, take_myid,      NULL },
    { "pending-scripts",         2, 2,   0, take_nothing,   NULL },
    { "remove",                  3, 3,   0, take_refused,   NULL },
    { "replicas",                3, 3,   0, take_replicas,  NULL },
    { "reset",                   3, 3,   0, take_refused,   NULL },
    { "sentinels",               3, 3,   0, take_sentinels, NULL },
    { "set",                     5, ANY, 0, take_refused,   NULL },
    { "simulate-failure",        3, ANY, 0, take_refused,   NULL },
    { "slaves",                  3, 3,   0, take_replicas,  NULL },
    { NULL,                      0, 0,   0, NULL,           NULL },
};
/* clang-format on */
