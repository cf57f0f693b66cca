#include "postgres/streams.h"

#include <stdlib.h>
#include <string.h>

enum { STILL_TOLD_MS = 2000 }; /* a standby that was lost is out of a sync pair by then */

void streams_forget(struct service *s)
{
    memset(s->facts.replay, 0, sizeof s->facts.replay);
    s->facts.is_replay_paused = s->facts.has_waiting = false;
    s->facts.waiting = 0;
}

static void note(struct streams *t, struct service *s, uint8_t slot, uint64_t copy_id,
                 const struct service_replay *seen, hm_ms now_ms)
{
    if (t->copy_id[slot] != copy_id)
        t->behind[slot] = (struct behind){ .n = 0 };
    t->copy_id[slot] = copy_id;
    behind_note(&t->behind[slot], seen->received, seen->replayed, now_ms);
    s->facts.replay[slot] = *seen;
    s->facts.replay[slot].behind_ms = behind_ms(&t->behind[slot], now_ms);
}

void streams_take_senders(struct streams *t, struct service *s, const char *list, struct copy *c,
                          hm_ms now_ms)
{
    streams_forget(s);
    while (*list != 0) {
        struct service_replay seen = { .is_known = true };
        size_t length = strcspn(list, " ");
        char name[64], *end;
        uint64_t copy_id;
        uint8_t slot;

        if (length < sizeof name && list[length] == ' ') {
            memcpy(name, list, length);
            name[length] = 0;
            if (postgres_slot_parse(&s->record, name, &slot, &copy_id)) {
                seen.received = strtoull(list + length, &end, 10);
                seen.replayed = strtoull(end, NULL, 10);
                c->standby[slot].is_streaming = true;
                c->standby[slot].copy_id = copy_id;
                c->standby[slot].flushed = seen.received;
                note(t, s, slot, copy_id, &seen, now_ms);
            }
        }
        list += strcspn(list, ",");
        list += *list == ',';
    }
}

/* Changes with every byte that anybody confirms. */
static uint64_t sum_of_flushed(const struct copy *c)
{
    uint64_t sum = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (c->standby[slot].is_streaming)
            sum += c->standby[slot].flushed;
    return sum;
}

void streams_take_waiting(struct streams *t, struct service *s, unsigned int waiting,
                          const struct copy *c, hm_ms now_ms)
{
    const char *service = s->config.service->name;
    uint64_t flushed = sum_of_flushed(c), hidden;

    s->facts.has_waiting = true;
    s->facts.waiting = waiting;
    if (waiting == 0 || flushed != t->flushed) {
        t->flushed = flushed;
        t->still_since_ms = now_ms;
        if (log_repeat_ends(&t->waiting))
            log_notice("commits wait no longer service=%s", service);
    } else if (now_ms >= t->still_since_ms + STILL_TOLD_MS &&
               log_repeat_starts(&t->waiting, now_ms, &hidden)) {
        log_warn("commits wait service=%s sessions=%u: no standby confirms anything: see 'hamgr "
                 "status'",
                 service, waiting);
    }
}

void streams_take_own(struct streams *t, struct service *s, uint64_t received, uint64_t replayed,
                      bool is_paused, hm_ms now_ms)
{
    const struct service_replay seen = { .is_known = received != 0,
                                         .received = received,
                                         .replayed = replayed };

    streams_forget(s);
    s->facts.is_replay_paused = is_paused;
    if (s->self < HM_MEMBERS_MAX)
        note(t, s, s->self, s->notes.copy_id, &seen, now_ms);
}
