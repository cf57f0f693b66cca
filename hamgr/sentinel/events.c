#include "sentinel/events.h"

#include "base/text.h"

#include <string.h>

static const struct model_replica *find_replica(const struct model_master *m,
                                                const struct model_place *at)
{
    for (size_t i = 0; i < m->replicas_n; i++)
        if (model_is_same_place(&m->replica[i].at, at))
            return &m->replica[i];
    return NULL;
}

static const struct model_sentinel *find_sentinel(const struct model *m, const char *id)
{
    for (size_t i = 0; i < m->sentinels_n; i++)
        if (strcmp(m->sentinel[i].id, id) == 0)
            return &m->sentinel[i];
    return NULL;
}

/* --- payloads -----------------------------------------------------------------------------------
 */

enum { PAYLOAD_SIZE = 320 };

struct teller {
    events_told *tell;
    void *ctx;
    struct text text;
    char payload[PAYLOAD_SIZE];
};

static struct text *begin(struct teller *t)
{
    text_init(&t->text, t->payload, sizeof t->payload);
    return &t->text;
}

static void end(struct teller *t, const char *channel)
{
    t->tell(t->ctx, channel, t->payload);
}

static void add_place(struct text *t, const struct model_place *at)
{
    text_add(t, at->host);
    text_add_char(t, ' ');
    text_add_u64(t, at->port);
}

/* "master NAME IP PORT" */
static struct text *begin_master(struct teller *t, const struct model_master *m)
{
    struct text *text = begin(t);

    text_add(text, "master ");
    text_add(text, m->name);
    text_add_char(text, ' ');
    add_place(text, &m->at);
    return text;
}

/* "slave IP:PORT IP PORT @ NAME IP PORT", the last two of the master. */
static struct text *begin_slave(struct teller *t, const struct model_place *at,
                                const struct model_master *m)
{
    struct text *text = begin(t);
    char name[MODEL_PLACE_TEXT];

    model_place_text(at, name);
    text_add(text, "slave ");
    text_add(text, name);
    text_add_char(text, ' ');
    add_place(text, at);
    text_add(text, " @ ");
    text_add(text, m->name);
    text_add_char(text, ' ');
    add_place(text, &m->at);
    return text;
}

static void tell_master(struct teller *t, const char *channel, const struct model_master *m)
{
    (void)begin_master(t, m);
    end(t, channel);
}

static void tell_slave(struct teller *t, const char *channel, const struct model_place *at,
                       const struct model_master *m)
{
    (void)begin_slave(t, at, m);
    end(t, channel);
}

static void tell_sentinel(struct teller *t, const char *channel, const struct model_sentinel *s,
                          const struct model_master *m)
{
    struct text *text = begin(t);

    text_add(text, "sentinel ");
    text_add(text, s->id);
    text_add_char(text, ' ');
    add_place(text, &s->at);
    text_add(text, " @ ");
    text_add(text, m->name);
    text_add_char(text, ' ');
    add_place(text, &m->at);
    end(t, channel);
}

static void tell_odown(struct teller *t, const struct model_master *m)
{
    struct text *text = begin_master(t, m);

    text_add(text, " #quorum ");
    text_add_u64(text, m->voters_heard);
    text_add_char(text, '/');
    text_add_u64(text, m->quorum);
    end(t, "+odown");
}

static void tell_epoch(struct teller *t, const struct model_master *m)
{
    text_add_u64(begin(t), m->epoch);
    end(t, "+new-epoch");
}

static void tell_role(struct teller *t, const char *channel, const struct model_place *at,
                      const struct model_master *m, enum model_role role)
{
    struct text *text = begin_slave(t, at, m);

    text_add(text, " new reported role is ");
    text_add(text, role == MODEL_ROLE_MASTER ? "master" : "slave");
    end(t, channel);
}

/* --- a new master -------------------------------------------------------------------------------
 */

static void tell_vote(struct teller *t, const struct model_master *m)
{
    struct text *text = begin(t);

    text_add(text, m->by);
    text_add_char(text, ' ');
    text_add_u64(text, m->epoch);
    end(t, "+vote-for-leader");
}

static void tell_switch(struct teller *t, const struct model_master *old,
                        const struct model_master *now)
{
    struct text *text = begin(t);

    text_add(text, now->name);
    text_add_char(text, ' ');
    add_place(text, &old->at);
    text_add_char(text, ' ');
    add_place(text, &now->at);
    end(t, "+switch-master");
}

static void tell_new_replica(struct teller *t, const struct model_replica *r,
                             const struct model_master *m)
{
    tell_slave(t, "+slave", &r->at, m);
    if (!r->is_up)
        tell_slave(t, "+sdown", &r->at, m);
}

/* Until it is declared, the old master is what the others belong to. */
static void tell_failover(struct teller *t, const struct model *all, const struct model_master *old,
                          const struct model_master *now)
{
    const struct model_sentinel *leader = find_sentinel(all, now->by);

    if (!now->is_planned && !old->is_sdown)
        tell_master(t, "+sdown", old);
    if (!now->is_planned && !old->is_odown)
        tell_odown(t, old);
    tell_epoch(t, now);
    if (!old->is_failover)
        tell_master(t, "+try-failover", old);
    tell_vote(t, now);
    tell_master(t, "+elected-leader", old);
    tell_master(t, "+failover-state-select-slave", old);
    tell_slave(t, "+selected-slave", &now->at, old);
    tell_slave(t, "+failover-state-send-slaveof-noone", &now->at, old);
    tell_slave(t, "+failover-state-wait-promotion", &now->at, old);
    tell_role(t, "-role-change", &now->at, old, MODEL_ROLE_MASTER);
    tell_slave(t, "+promoted-slave", &now->at, old);
    tell_master(t, "+failover-state-reconf-slaves", old);
    tell_master(t, "+failover-end", old);
    if (leader != NULL)
        tell_sentinel(t, "+config-update-from", leader, old);
    tell_switch(t, old, now);
    for (size_t i = 0; i < now->replicas_n; i++)
        tell_new_replica(t, &now->replica[i], now);
    if (now->is_sdown)
        tell_master(t, "+sdown", now);
}

/* --- the same master ----------------------------------------------------------------------------
 */

static void compare_state(struct teller *t, const struct model_master *old,
                          const struct model_master *now)
{
    if (now->epoch != old->epoch)
        tell_epoch(t, now);
    if (old->run_id[0] != '\0' && now->run_id[0] != '\0' && strcmp(old->run_id, now->run_id) != 0)
        tell_master(t, "+reboot", now);
    if (now->is_sdown && !old->is_sdown)
        tell_master(t, "+sdown", now);
    if (now->is_odown && !old->is_odown)
        tell_odown(t, now);
    if (now->is_failover && !old->is_failover)
        tell_master(t, "+try-failover", now);
    if (!now->is_failover && old->is_failover)
        tell_master(t, "-failover-abort-not-elected", now);
    if (!now->is_sdown && old->is_sdown)
        tell_master(t, "-sdown", now);
    if (!now->is_odown && old->is_odown)
        tell_master(t, "-odown", now);
}

static void compare_replica(struct teller *t, const struct model_replica *old,
                            const struct model_replica *now, const struct model_master *m)
{
    if (old->run_id[0] != '\0' && now->run_id[0] != '\0' && strcmp(old->run_id, now->run_id) != 0)
        tell_slave(t, "+reboot", &now->at, m);
    if (now->reported != old->reported && now->reported == MODEL_ROLE_SLAVE)
        tell_slave(t, "+convert-to-slave", &now->at, m);
    if (now->reported != old->reported)
        tell_role(t, now->reported == MODEL_ROLE_SLAVE ? "+role-change" : "-role-change", &now->at,
                  m, now->reported);
    if (now->is_up != old->is_up)
        tell_slave(t, now->is_up ? "-sdown" : "+sdown", &now->at, m);
    if (now->is_linked && !old->is_linked)
        tell_slave(t, "+slave-reconf-done", &now->at, m);
}

static void compare_replicas(struct teller *t, const struct model_master *old,
                             const struct model_master *now)
{
    bool is_one_gone = false;

    for (size_t i = 0; i < now->replicas_n; i++) {
        const struct model_replica *was = find_replica(old, &now->replica[i].at);

        if (was != NULL)
            compare_replica(t, was, &now->replica[i], now);
        else
            tell_new_replica(t, &now->replica[i], now);
    }
    for (size_t i = 0; i < old->replicas_n; i++)
        is_one_gone = is_one_gone || find_replica(now, &old->replica[i].at) == NULL;
    if (is_one_gone) /* a Sentinel forgets a replica only by SENTINEL RESET */
        tell_master(t, "+reset-master", now);
}

static void compare_sentinels(struct teller *t, const struct model *before, const struct model *now,
                              const struct model_master *m)
{
    for (size_t i = 0; i < now->sentinels_n; i++) {
        const struct model_sentinel *s = &now->sentinel[i];
        const struct model_sentinel *was = find_sentinel(before, s->id);

        if (s->is_up && (was == NULL || (!was->is_up && was->heard_ms == HM_NEVER)))
            tell_sentinel(t, "+sentinel", s, m);
        else if (was != NULL && s->is_up != was->is_up)
            tell_sentinel(t, s->is_up ? "-sdown" : "+sdown", s, m);
    }
}

static void tell_monitor(struct teller *t, const struct model_master *m)
{
    struct text *text = begin_master(t, m);

    text_add(text, " quorum ");
    text_add_u64(text, m->quorum);
    end(t, "+monitor");
    for (size_t i = 0; i < m->replicas_n; i++)
        tell_new_replica(t, &m->replica[i], m);
}

void events_between(const struct model *before, const struct model *now, events_told *tell,
                    void *ctx)
{
    struct teller t = { .tell = tell, .ctx = ctx };

    for (size_t i = 0; i < now->masters_n; i++) {
        const struct model_master *m = &now->master[i];
        const struct model_master *old = model_find(before, m->name, strlen(m->name));

        if (old == NULL) {
            tell_monitor(&t, m);
        } else if (!model_is_same_place(&old->at, &m->at)) {
            tell_failover(&t, now, old, m);
        } else {
            compare_state(&t, old, m);
            compare_replicas(&t, old, m);
        }
        compare_sentinels(&t, before, now, m);
    }
}
