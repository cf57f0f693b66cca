/* rescue.c - tail rescue: in async a primary whose server died, but not its host, still has the log
 * that nobody else has. The candidate fetches it before its own record is drawn up, so that the
 * next stretch of history begins where the last one really ended (ARCHITECTURE 7.5). */
#include "core/inner.h"

static const struct gossip *old_holder(const struct core *c, const struct record *r)
{
    if (r->epoch == 0 || r->kind != SERVICE_POSTGRES || r->durability != DURABILITY_ASYNC ||
        r->holder == c->self || c->config.rescue_timeout_ms == 0)
        return NULL;
    return view_recent(&c->view, r->holder, c->now_ms - 2 * core_heartbeat_ms(c));
}

/* It gave the lease away, which it does only once no process of its server is left, and starts none
 * before somebody took over. */
static bool is_dead(const struct record *r, const struct gossip *g)
{
    return g != NULL && g->released && g->copy == COPY_DOWN && g->epoch == r->epoch &&
           g->copy_id == r->copy_id;
}

bool core_awaits_dead_end(const struct core *c)
{
    const struct record *r = core_base(c);
    const struct gossip *g = old_holder(c, r);

    return is_dead(r, g) && !g->is_final;
}

uint8_t core_rescue_source(const struct core *c, struct position *ret_upto)
{
    const struct record *r = core_base(c);
    const struct gossip *g = old_holder(c, r);
    const struct freeze_answer *mine = &c->answers[c->self];

    if (!is_dead(r, g) || !g->is_final || !mine->is_there)
        return HM_NOBODY;
    /* A log that goes on over a change of timeline is streamed, or lost: that is rare, and the
     * files have other names. */
    if (g->at.timeline != mine->at.timeline || g->at.offset <= mine->at.offset ||
        g->at.offset - mine->at.offset > c->config.rescue_bytes ||
        !record_is_on_history(r, &g->at, g->began_epoch))
        return HM_NOBODY;
    *ret_upto = g->at;
    return r->holder;
}

void core_begin_rescue(struct core *c)
{
    c->rescue_from = core_rescue_source(c, &c->rescue_upto);
    c->attempt_until_ms =
        c->now_ms + 2 * c->config.rescue_timeout_ms; /* the adapter gives up first */
}

/* The log ends where the copy now says; the record must begin its next stretch there. */
void core_end_rescue(struct core *c)
{
    struct freeze_answer *mine = &c->answers[c->self];

    if (c->copy.at.timeline == mine->at.timeline && c->copy.at.offset > mine->at.offset)
        mine->at = c->copy.at;
}

void core_want_rescued(struct core *c)
{
    struct core_effect *e;

    if (guard_is_rescued(c) || guard_rescue_is_over(c))
        return;
    e = core_ask_copy(c, DO_RESCUE, c->rescue_upto.offset);
    if (e == NULL)
        return;
    e->copy.member = c->rescue_from;
    e->copy.ballot = c->mine;
    e->copy.upto = c->rescue_upto;
}

bool core_gives_log(const struct core *c, uint64_t incarnation, const struct ballot *ballot,
                    const struct position *from, uint32_t size)
{
    const struct ballot *promised = &c->voter.durable.promised;
    const struct copy *copy = &c->copy;

    if (c->released_at_ms == HM_PAST || core_is_holder_state(c->state) ||
        copy->state != COPY_DOWN || !copy->is_final || c->op.type != DO_SEND)
        return false;
    if (ballot_compare(ballot, promised) != 0 || promised->incarnation != incarnation)
        return false;
    return from->timeline == copy->at.timeline && from->offset < copy->at.offset && size > 0 &&
           size <= copy->at.offset - from->offset;
}
