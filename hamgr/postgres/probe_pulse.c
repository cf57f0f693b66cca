/* probe_pulse.c - the third connection.
 *
 * A primary commits something on it when nobody else does: a server that answers SELECT but cannot
 * flush is not healthy, and the question about it must not wait behind that. A standby that
 * receives nothing is asked on it, by the replication protocol, which timeline it has replayed:
 * SQL does not tell. */
#include "postgres/probe.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So often an idle primary writes: rarely enough to cost nothing. */
#define PULSE_MS 1000
/* So often a busy one does, for the history of latencies; and so soon after the last one it does
 * when it was busy and is not any more, which may be the beginning of a stall. */
#define SAMPLE_MS 5000
#define AGAIN_MS 500
/* The deadline of a write is no deadline of the connection: were it opened anew while the disk
 * stalls, one stuck process would be added each time. */
#define PULSE_LIMIT_MS 600000
#define THIRD_REOPEN_MS 500

static const char pulse_sql[] = "SELECT pg_logical_emit_message(true, 'hamgr', '')";
static const char identify_sql[] = "IDENTIFY_SYSTEM";

static void on_third_up(void *ctx)
{
    struct probe *p = ctx;

    p->third_why[0] = 0;
    probe_keep_third(p, &p->running);
}

static void on_third_down(void *ctx, const char *why)
{
    struct probe *p = ctx;

    (void)snprintf(p->third_why, sizeof p->third_why, "%.*s", (int)sizeof p->third_why - 1, why);
}

static void open_third(struct probe *p, bool is_pulse)
{
    const struct settings_timing *t = &p->s->config.settings->timing;
    struct conn_config config = { .base = p->s->config.base,
                                  .connect_ms = t->check_timeout_ms,
                                  .reopen_ms = THIRD_REOPEN_MS,
                                  .on_up = on_third_up,
                                  .on_down = on_third_down,
                                  .ctx = p };
    char conninfo[sizeof p->s->conninfo + 32];
    struct hm_err err;

    (void)snprintf(conninfo, sizeof conninfo, "%s%s", p->s->conninfo,
                   is_pulse ? "" : " replication=database");
    config.conninfo = conninfo;
    if (conn_new(&config, &p->third, &err) != HM_OK) {
        p->third = NULL;
        probe_trouble(p, "%s", err.text);
        return;
    }
    p->is_third_pulse = is_pulse;
    conn_open(p->third, false);
}

void probe_drop_third(struct probe *p)
{
    conn_free(p->third);
    p->third = NULL;
    p->is_pulse_out = false;
    p->is_identify_out = false;
}

static void on_pulse(void *ctx, enum conn_outcome outcome, const PGresult *result, const char *why)
{
    struct probe *p = ctx;

    (void)result;
    p->is_pulse_out = false;
    p->is_pulse_seen = true;
    if (outcome == CONN_ANSWERED)
        gray_note_returned(p);
    else if (outcome == CONN_REFUSED)
        probe_trouble(p, "hamgr cannot write: %s", why);
    if (p->s->seen.stalled_ms > 0)
        probe_look(p);
}

static bool is_pulse_due(struct probe *p, bool has_moved, hm_ms now_ms)
{
    bool was_busy = p->has_moved;

    p->has_moved = has_moved;
    if (has_moved)
        return now_ms >= p->pulse_ms + SAMPLE_MS;
    return now_ms >= p->pulse_ms + (was_busy ? AGAIN_MS : PULSE_MS);
}

static void keep_pulse(struct probe *p, const struct copy *c)
{
    hm_ms now_ms = clock_boot_ms();
    bool has_moved;

    if (p->is_pulse_seen)
        p->pulse_offset = c->at.offset; /* what moved was our own */
    p->is_pulse_seen = false;
    has_moved = c->at.offset != p->pulse_offset;
    p->pulse_offset = c->at.offset;
    if (has_moved)
        gray_note_alive(p);
    if (p->is_pulse_out || !is_pulse_due(p, has_moved, now_ms))
        return;
    p->pulse_ms = now_ms;
    gray_note_pulse(p);
    p->is_pulse_out = conn_ask(p->third, pulse_sql, PULSE_LIMIT_MS, on_pulse, p);
}

/* systemid, timeline, xlogpos, dbname */
static void on_identify(void *ctx, enum conn_outcome outcome, const PGresult *result,
                        const char *why)
{
    struct probe *p = ctx;
    uint64_t timeline;

    (void)why;
    p->is_identify_out = false;
    if (outcome != CONN_ANSWERED || PQntuples(result) != 1 || PQnfields(result) < 2)
        return;
    timeline = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    if (p->identify_server_id != p->server_id)
        return; /* it was asked of an earlier life */
    if (timeline > p->path) {
        p->path = timeline;
        probe_ask_history(p);
    }
    if (!p->is_path_certain)
        probe_look(p);
    p->is_path_certain = true;
}

void probe_keep_third(struct probe *p, const struct copy *c)
{
    bool is_wanted = c->state == COPY_PRIMARY || (c->state == COPY_STANDBY && !p->is_receiving);
    bool is_pulse = c->state == COPY_PRIMARY;
    hm_ms timeout_ms = p->s->config.settings->timing.check_timeout_ms;

    if (p->third != NULL && (!is_wanted || is_pulse != p->is_third_pulse))
        probe_drop_third(p);
    if (is_wanted && p->third == NULL)
        open_third(p, is_pulse);
    if (p->third == NULL || !conn_is_up(p->third))
        return;
    if (is_pulse)
        keep_pulse(p, c);
    else if (!p->is_identify_out) {
        p->identify_server_id = p->server_id;
        p->is_identify_out = conn_ask(p->third, identify_sql, timeout_ms, on_identify, p);
    }
}
