/* fuzz_resp.c - a client of the Sentinel endpoint: whatever it says, and however it is cut, it gets
 * the same replies, which fit their buffer. The first byte says how: a password, RESP3, pieces. */
#include "sentinel/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLIES_MAX = 1 << 20, INPUT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct model model;
static struct session_host host;

static bool failover(void *ctx, struct session *s, const char *master)
{
    (void)ctx;
    (void)s;
    (void)master;
    return true;
}

static void describe(void *ctx, const struct session *s, char text[SESSION_ABOUT_MAX])
{
    (void)ctx;
    (void)s;
    (void)snprintf(text, SESSION_ABOUT_MAX, "addr=?");
}

static void refused(void *ctx, const struct session *s)
{
    (void)ctx;
    (void)s;
}

static void make_model(void)
{
    struct model_master *m = &model.master[0];

    memset(&model, 0, sizeof model);
    model.masters_n = 1;
    model.sentinels_n = 1;
    model.sentinel[0].is_up = true;
    (void)snprintf(m->name, sizeof m->name, "m");
    (void)snprintf(m->at.host, sizeof m->at.host, "10.0.0.1");
    m->unsettled_ms = HM_NEVER;
    m->replicas_n = 2;
    m->is_sdown = true;
}

/* Writes the replies to all of it, and returns their length; each piece is `step` bytes longer. */
static size_t talk(const uint8_t *data, size_t size, size_t step, unsigned how, char *out)
{
    static struct resp_command command;
    static char in[RESP_COMMAND_MAX];
    char why[RESP_ERROR_MAX];
    struct session s = { .id = 1, .is_local = true, .is_known = host.password == NULL };
    size_t used = 0, fed = 0, consumed;
    struct resp_out o;

    resp_out_init(&o, out, REPLIES_MAX, false);
    s.is_resp3 = o.is_resp3 = (how & 2) != 0;
    while (!s.is_ended && !o.is_full) {
        enum resp_result r =
            resp_parse(in, used, s.is_known ? RESP_WORDS_MAX : 10, &command, &consumed, why);

        if (r == RESP_BAD) {
            resp_put_error(&o, why);
            break;
        }
        if (r == RESP_MORE) {
            size_t n = size - fed < step ? size - fed : step;

            if (used >= RESP_COMMAND_MAX || (n > 0 && used + n > RESP_COMMAND_MAX))
                abort();
            if (n == 0)
                break;
            memcpy(in + used, data + fed, n);
            used += n;
            fed += n;
            continue;
        }
        if (command.words_n > 0)
            session_take(&s, &host, &command, &o);
        if (consumed > used || consumed == 0)
            abort();
        pubsub_tell(&s.pubsub, "+switch-master", "m 10.0.0.1 6379 10.0.0.2 6379", &o);
        memmove(in, in + consumed, used - consumed);
        used -= consumed;
        s.is_waiting = false;
    }
    session_done(&s);
    return o.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char whole[REPLIES_MAX], cut[REPLIES_MAX];
    size_t whole_n, cut_n;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    make_model();
    host = (struct session_host){ .model = &model,
                                  .password = (data[0] & 1) != 0 ? "pw" : NULL,
                                  .failover = failover,
                                  .describe = describe,
                                  .refused = refused };
    whole_n = talk(data + 1, size - 1, size, data[0], whole);
    host.commands = 0;
    cut_n = talk(data + 1, size - 1, 1u + (data[0] >> 2) % 7, data[0], cut);
    if (whole_n != cut_n || memcmp(whole, cut, cut_n) != 0)
        abort();
    return 0;
}
