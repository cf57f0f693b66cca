/* commands.c - the table of commands, and the way of a request through it. */
#include "sentinel/inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANY = RESP_WORDS_MAX, ERROR_SIZE = 512, ARGS_SHOWN = 128 };

const struct resp_word *call_word(const struct call *call, size_t n)
{
    return &call->c->word[n];
}

void call_fail(const struct call *call, const char *format, ...)
{
    char text[ERROR_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* what is too long is cut */
    va_end(args);
    resp_put_error(call->o, text);
}

/* --- HELLO and AUTH -----------------------------------------------------------------------------
 */

/* Takes the same time whatever is wrong in a word of that length. */
static bool is_password(const char *password, const struct resp_word *w)
{
    size_t n = strlen(password);
    unsigned char differs = n != w->n;

    for (size_t i = 0; i < w->n; i++)
        differs |= (unsigned char)(w->at[i] ^ password[n > 0 ? i % n : 0]);
    return differs == 0;
}

/* user may be NULL. */
static bool is_right(const struct call *call, const struct resp_word *user,
                     const struct resp_word *password)
{
    bool is_user = user == NULL || (user->n == 7 && memcmp(user->at, "default", 7) == 0);
    bool is_it =
        is_user && (call->host->password == NULL || is_password(call->host->password, password));

    if (!is_it) {
        call->host->refused(call->host->ctx, call->s);
        resp_put_error(call->o, "WRONGPASS invalid username-password pair or user is disabled.");
    }
    return is_it;
}

static void take_auth(const struct call *call)
{
    const struct resp_word *first = call_word(call, 1);

    if (call->c->words_n > 3)
        resp_put_error(call->o, "ERR syntax error");
    else if (call->c->words_n == 2 && call->host->password == NULL)
        resp_put_error(call->o, "ERR AUTH <password> called without any password configured for "
                                "the default user. Are you sure your configuration is correct?");
    else if (call->c->words_n == 2 ? is_right(call, NULL, first)
                                   : is_right(call, first, call_word(call, 2))) {
        call->s->is_known = true;
        resp_put_simple(call->o, "OK");
    }
}

static bool set_name(const struct call *call, const struct resp_word *w)
{
    char *name = NULL;

    for (size_t i = 0; i < w->n; i++)
        if (w->at[i] < '!' || w->at[i] > '~') {
            resp_put_error(call->o, "ERR Client names cannot contain spaces, newlines or special "
                                    "characters.");
            return false;
        }
    if (w->n > SESSION_NAME_MAX) {
        call_fail(call, "ERR Client names cannot be longer than %d bytes.", SESSION_NAME_MAX);
        return false;
    }
    if (w->n > 0) {
        name = strndup(w->at, w->n);
        if (name == NULL) {
            resp_put_error(call->o, "ERR no memory");
            return false;
        }
    }
    free(call->s->name);
    call->s->name = name;
    return true;
}

static void say_hello(const struct call *call)
{
    resp_put_map(call->o, 6);
    resp_put_text(call->o, "server");
    resp_put_text(call->o, "redis");
    resp_put_text(call->o, "version");
    resp_put_text(call->o, SESSION_REDIS_VERSION);
    resp_put_text(call->o, "proto");
    resp_put_number(call->o, call->s->is_resp3 ? 3 : 2);
    resp_put_text(call->o, "id");
    resp_put_number(call->o, (int64_t)call->s->id);
    resp_put_text(call->o, "mode");
    resp_put_text(call->o, "sentinel");
    resp_put_text(call->o, "modules");
    resp_put_array(call->o, 0);
}

/* The options behind the version; false: answered already. */
static bool take_options(const struct call *call, const struct resp_word **ret_name)
{
    size_t n = call->c->words_n;

    for (size_t i = 2; i < n;) {
        const struct resp_word *w = call_word(call, i);

        if (resp_is(w, "auth") && i + 2 < n) {
            if (!is_right(call, call_word(call, i + 1), call_word(call, i + 2)))
                return false;
            call->s->is_known = true;
            i += 3;
        } else if (resp_is(w, "setname") && i + 1 < n) {
            *ret_name = call_word(call, i + 1);
            i += 2;
        } else {
            call_fail(call, "ERR Syntax error in HELLO option '%.*s'", (int)w->n, w->at);
            return false;
        }
    }
    return true;
}

static void take_hello(const struct call *call)
{
    const struct resp_word *name = NULL;
    int64_t version = call->s->is_resp3 ? 3 : 2;

    if (call->c->words_n > 1 && !resp_number_of(call_word(call, 1), &version)) {
        resp_put_error(call->o, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version < 2 || version > 3) {
        resp_put_error(call->o, "NOPROTO unsupported protocol version");
        return;
    }
    if (!take_options(call, &name))
        return;
    if (!call->s->is_known) {
        resp_put_error(call->o,
                       "NOAUTH HELLO must be called with the client already authenticated, "
                       "otherwise the HELLO AUTH <user> <pass> option can be used to authenticate "
                       "the client and select the RESP protocol version at the same time");
        return;
    }
    if (name != NULL && !set_name(call, name))
        return;
    call->s->is_resp3 = call->o->is_resp3 = version == 3;
    say_hello(call);
}

/* --- the small ones -----------------------------------------------------------------------------
 */

static bool is_subscriber(const struct session *s)
{
    return pubsub_count(&s->pubsub) > 0;
}

static void take_ping(const struct call *call)
{
    const struct resp_word *text = call->c->words_n > 1 ? call_word(call, 1) : NULL;

    if (is_subscriber(call->s) && !call->s->is_resp3) {
        resp_put_array(call->o, 2);
        resp_put_text(call->o, "pong");
        resp_put_bulk(call->o, text != NULL ? text->at : "", text != NULL ? text->n : 0);
    } else if (text != NULL)
        resp_put_bulk(call->o, text->at, text->n);
    else
        resp_put_simple(call->o, "PONG");
}

static void take_echo(const struct call *call)
{
    resp_put_bulk(call->o, call_word(call, 1)->at, call_word(call, 1)->n);
}

static void take_select(const struct call *call)
{
    int64_t number = -1;

    if (!resp_number_of(call_word(call, 1), &number))
        resp_put_error(call->o, "ERR value is not an integer or out of range");
    else if (number != 0)
        resp_put_error(call->o, "ERR DB index is out of range");
    else
        resp_put_simple(call->o, "OK");
}

static void take_quit(const struct call *call)
{
    resp_put_simple(call->o, "OK");
    call->s->is_ended = true;
}

static void take_reset(const struct call *call)
{
    pubsub_done(&call->s->pubsub);
    free(call->s->name);
    call->s->name = NULL;
    call->s->is_resp3 = call->o->is_resp3 = false;
    call->s->is_known = call->host->password == NULL;
    resp_put_simple(call->o, "RESET");
}

static void take_role(const struct call *call)
{
    const struct model *m = call->host->model;

    resp_put_array(call->o, 2);
    resp_put_text(call->o, "sentinel");
    resp_put_array(call->o, m->masters_n);
    for (size_t i = 0; i < m->masters_n; i++)
        resp_put_text(call->o, m->master[i].name);
}

static void take_publish(const struct call *call)
{
    resp_put_error(call->o, "ERR Only hamgr publishes here.");
}

/* --- subscriptions ------------------------------------------------------------------------------
 */

/* The four commands differ in their first word only; name NULL: nothing was there to leave. */
static void confirm(const struct call *call, const char *what, const struct resp_word *name)
{
    resp_put_push(call->o, 3);
    resp_put_text(call->o, what);
    if (name != NULL)
        resp_put_bulk(call->o, name->at, name->n);
    else
        resp_put_null(call->o);
    resp_put_number(call->o, (int64_t)pubsub_count(&call->s->pubsub));
}

static void subscribe(const struct call *call, bool is_pattern)
{
    for (size_t i = 1; i < call->c->words_n; i++) {
        switch (pubsub_add(&call->s->pubsub, is_pattern, call_word(call, i))) {
        case PUBSUB_ADDED:
            confirm(call, is_pattern ? "psubscribe" : "subscribe", call_word(call, i));
            break;
        case PUBSUB_TOO_MANY:
            call_fail(call, "ERR no more than %d channels and patterns", PUBSUB_NAMES_MAX);
            return;
        case PUBSUB_TOO_LONG:
            call_fail(call, "ERR a channel or pattern is longer than %d bytes", PUBSUB_NAME_MAX);
            return;
        case PUBSUB_NO_MEMORY:
            resp_put_error(call->o, "ERR no memory");
            return;
        }
    }
}

static void unsubscribe(const struct call *call, bool is_pattern)
{
    const char *what = is_pattern ? "punsubscribe" : "unsubscribe";
    char text[PUBSUB_NAME_MAX];
    struct resp_word name;

    for (size_t i = 1; i < call->c->words_n; i++) {
        (void)pubsub_remove(&call->s->pubsub, is_pattern, call_word(call, i)); /* confirmed alike */
        confirm(call, what, call_word(call, i));
    }
    if (call->c->words_n > 1)
        return;
    if (!pubsub_first(&call->s->pubsub, is_pattern, &name))
        confirm(call, what, NULL);
    while (pubsub_first(&call->s->pubsub, is_pattern, &name)) {
        memcpy(text, name.at, name.n);
        name.at = text;
        (void)pubsub_remove(&call->s->pubsub, is_pattern, &name); /* it is there */
        confirm(call, what, &name);
    }
}

static void take_subscribe(const struct call *call)
{
    subscribe(call, false);
}

static void take_psubscribe(const struct call *call)
{
    subscribe(call, true);
}

static void take_unsubscribe(const struct call *call)
{
    unsubscribe(call, false);
}

static void take_punsubscribe(const struct call *call)
{
    unsubscribe(call, true);
}

/* --- the table ----------------------------------------------------------------------------------
 */

static call_take take_command, take_command_count, take_command_docs, take_command_info,
    take_command_list;

/* clang-format off */
static const struct call_row command_rows[] = {
    { "count", 2, 2,   0, take_command_count, NULL },
    { "docs",  2, ANY, 0, take_command_docs,  NULL },
    { "info",  2, ANY, 0, take_command_info,  NULL },
    { "list",  2, ANY, 0, take_command_list,  NULL },
    { NULL,    0, 0,   0, NULL,               NULL },
};

static const struct call_row rows[] = {
    /* name          words    flags                take               sub */
    { "auth",         2, ANY, CALL_UNKNOWN_MAY,    take_auth,         NULL },
    { "client",       2, ANY, 0,                   NULL,              call_client_rows },
    { "command",      1, ANY, 0,                   take_command,      command_rows },
    { "echo",         2, 2,   0,                   take_echo,         NULL },
    { "hello",        1, ANY, CALL_UNKNOWN_MAY,    take_hello,        NULL },
    { "info",         1, ANY, 0,                   call_info,         NULL },
    { "ping",         1, 2,   CALL_SUBSCRIBER_MAY, take_ping,         NULL },
    { "psubscribe",   2, ANY, CALL_SUBSCRIBER_MAY, take_psubscribe,   NULL },
    { "publish",      3, 3,   0,                   take_publish,      NULL },
    { "punsubscribe", 1, ANY, CALL_SUBSCRIBER_MAY, take_punsubscribe, NULL },
    { "quit",         1, ANY, CALL_UNKNOWN_MAY | CALL_SUBSCRIBER_MAY, take_quit, NULL },
    { "reset",        1, 1,   CALL_UNKNOWN_MAY | CALL_SUBSCRIBER_MAY, take_reset, NULL },
    { "role",         1, 1,   0,                   take_role,         NULL },
    { "select",       2, 2,   0,                   take_select,       NULL },
    { "sentinel",     2, ANY, 0,                   NULL,              call_sentinel_rows },
    { "subscribe",    2, ANY, CALL_SUBSCRIBER_MAY, take_subscribe,    NULL },
    { "unsubscribe",  1, ANY, CALL_SUBSCRIBER_MAY, take_unsubscribe,  NULL },
    { NULL,           0, 0,   0,                   NULL,              NULL },
};
/* clang-format on */

static void take_command(const struct call *call)
{
    resp_put_array(call->o, 0); /* no client needs to know how many keys PING has */
}

static void take_command_count(const struct call *call)
{
    resp_put_number(call->o, (int64_t)HM_ARRAY_LEN(rows) - 1);
}

static void take_command_docs(const struct call *call)
{
    resp_put_map(call->o, 0);
}

static void take_command_info(const struct call *call)
{
    resp_put_array(call->o, call->c->words_n - 2);
    for (size_t i = 2; i < call->c->words_n; i++)
        resp_put_null_array(call->o);
}

static void take_command_list(const struct call *call)
{
    resp_put_array(call->o, HM_ARRAY_LEN(rows) - 1);
    for (const struct call_row *r = rows; r->name != NULL; r++)
        resp_put_text(call->o, r->name);
}

/* --- from a request to its row ------------------------------------------------------------------
 */

static const struct call_row *find(const struct call_row *row, const struct resp_word *name)
{
    for (; row->name != NULL; row++)
        if (resp_is(name, row->name))
            return row;
    return NULL;
}

static void fail_unknown(const struct call *call)
{
    const struct resp_word *name = call_word(call, 0);
    char args[ARGS_SHOWN + 4];
    size_t n = 0;

    args[0] = '\0';
    for (size_t i = 1; i < call->c->words_n && n < ARGS_SHOWN; i++) {
        size_t room = ARGS_SHOWN - n;
        int shown = call_word(call, i)->n < room ? (int)call_word(call, i)->n : (int)room;

        n += (size_t)snprintf(args + n, sizeof args - n, "'%.*s' ", shown, call_word(call, i)->at);
    }
    call_fail(call, "ERR unknown command '%.*s', with args beginning with: %s",
              name->n < ARGS_SHOWN ? (int)name->n : ARGS_SHOWN, name->at, args);
}

/* Browsers can be made to send requests to any port: what looks like HTTP ends the connection. */
static bool is_http(const struct resp_word *name)
{
    return resp_is(name, "post") || resp_is(name, "host:");
}

void session_take(struct session *s, struct session_host *host, const struct resp_command *c,
                  struct resp_out *o)
{
    const struct call call = { .s = s, .host = host, .c = c, .o = o };
    const struct call_row *row, *group = NULL;

    host->commands++;
    if (is_http(&c->word[0])) {
        s->is_ended = true;
        return;
    }
    row = find(rows, &c->word[0]);
    if (row == NULL) {
        fail_unknown(&call);
        return;
    }
    if (row->sub != NULL && c->words_n > 1) {
        group = row;
        row = find(group->sub, &c->word[1]);
        if (row == NULL) {
            call_fail(&call, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                      c->word[1].n < ARGS_SHOWN ? (int)c->word[1].n : ARGS_SHOWN, c->word[1].at,
                      group->sub == call_sentinel_rows ? "SENTINEL"
                      : group->sub == call_client_rows ? "CLIENT"
                                                       : "COMMAND");
            return;
        }
    }
    if (c->words_n < row->words_min || c->words_n > row->words_max)
        call_fail(&call, "ERR wrong number of arguments for '%s%s%s' command",
                  group != NULL ? group->name : "", group != NULL ? "|" : "", row->name);
    else if (!s->is_known && !(row->flags & CALL_UNKNOWN_MAY))
        resp_put_error(o, "NOAUTH Authentication required.");
    else if (is_subscriber(s) && !s->is_resp3 && !(row->flags & CALL_SUBSCRIBER_MAY))
        call_fail(&call,
                  "ERR Can't execute '%s%s%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                  "QUIT / RESET are allowed in this context",
                  group != NULL ? group->name : "", group != NULL ? "|" : "", row->name);
    else
        row->take(&call);
}

static bool is_unsettled(const struct session_host *host, const struct model_master *m)
{
    return m->unsettled_ms != HM_NEVER && host->now_ms < m->unsettled_ms + SESSION_FRESH_MS;
}

bool session_should_wait(const struct session *s, const struct session_host *host,
                         const struct resp_command *c)
{
    const struct resp_word *w = c->word;
    bool is_about_all = c->words_n == 2 && resp_is(&w[1], "masters");
    bool is_about_one =
        c->words_n == 3 && (resp_is(&w[1], "master") || resp_is(&w[1], "get-master-addr-by-name"));

    if (!s->is_known || c->words_n < 2 || !resp_is(&w[0], "sentinel") ||
        (!is_about_all && !is_about_one))
        return false;
    for (size_t i = 0; i < host->model->masters_n; i++) {
        const struct model_master *m = &host->model->master[i];
        bool is_asked_for =
            is_about_all || (strlen(m->name) == w[2].n && memcmp(m->name, w[2].at, w[2].n) == 0);

        if (is_asked_for && is_unsettled(host, m))
            return true;
    }
    return false;
}

void session_done(struct session *s)
{
    pubsub_done(&s->pubsub);
    free(s->name);
    s->name = NULL;
}

/* --- CLIENT SETNAME is HELLO's SETNAME ----------------------------------------------------------
 */

void call_set_name(const struct call *call)
{
    if (set_name(call, call_word(call, 2)))
        resp_put_simple(call->o, "OK");
}
