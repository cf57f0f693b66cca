/* report_explain.c - who could take over and why not, in words and numbers. */
#include "core/explain.h"
#include "core/rules.h"
#include "daemon/report_inner.h"
#include "wire/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RULE_UNFIT 35 /* its copy is no healthy standby on the record's history */
#define RULE_LAGS 36

enum { TEXT_MAX = 400 };

/* --- words ------------------------------------------------------------------------------------ */

/* What it is about a copy that may not lead. */
static const char *unfit_text(const struct report *r, const struct report_service *s, uint8_t slot)
{
    const struct record *rec = report_record(s->core);
    struct report_member m;

    report_look(r, s, slot, &m);
    if (m.gossip.wants_rebuild)
        return "its copy diverged and must be rebuilt";
    if (m.gossip.copy != COPY_STANDBY)
        return NULL; /* the state itself says enough */
    if (!m.gossip.is_healthy)
        return "its server does not answer, or does not reach its disk";
    if (!m.gossip.is_final)
        return "it has not read all of its log yet";
    if (((rec->voters >> slot) & 1) == 0)
        return "it is being removed";
    if (rec->kind == SERVICE_REDIS)
        return "its server was restarted, or went another way: nobody can say what it lacks";
    return "its copy is not on the history of this cluster";
}

static void refused_text(const struct report *r, const struct report_service *s, uint8_t slot,
                         const struct explained *e, char text[TEXT_MAX])
{
    const struct rule *row = rule_find(e->rule);
    struct report_member m;
    const char *unfit;

    report_look(r, s, slot, &m);
    unfit = e->rule == RULE_UNFIT ? unfit_text(r, s, slot) : NULL;
    if (unfit != NULL)
        (void)snprintf(text, TEXT_MAX, "%s", unfit);
    else if (e->rule == RULE_UNFIT)
        (void)snprintf(text, TEXT_MAX, "its copy is no standby but %s",
                       copy_state_name(m.gossip.copy));
    else if (e->rule == RULE_LAGS)
        (void)snprintf(text, TEXT_MAX,
                       "%" PRIu64 " bytes behind the primary: max_lag_bytes allows %" PRIu64,
                       e->behind, report_record(s->core)->max_lag_bytes);
    else
        (void)snprintf(text, TEXT_MAX, "%s", row != NULL ? row->because : "?");
}

static void member_text(const struct report *r, const struct report_service *s, uint8_t slot,
                        const struct explanation *x, char text[TEXT_MAX])
{
    const struct explained *e = &x->member[slot];

    switch (e->verdict) {
    case EXPLAIN_LEADS:
        (void)snprintf(text, TEXT_MAX, "it is the primary");
        return;
    case EXPLAIN_HOLDS:
        (void)snprintf(
            text, TEXT_MAX,
            x->leader_copy == COPY_PRIMARY
                ? "it holds the lease; its primary is not the copy that the record names"
                : "it holds the lease, and its copy is not the one that the record names");
        return;
    case EXPLAIN_CAN:
        if (e->rank == 0)
            (void)snprintf(text, TEXT_MAX, "it would be the next primary");
        else
            (void)snprintf(text, TEXT_MAX, "%u would go first", e->rank);
        return;
    case EXPLAIN_LOST:
        (void)snprintf(text, TEXT_MAX, "supposed to be lost");
        return;
    case EXPLAIN_SILENT:
        (void)snprintf(text, TEXT_MAX, "nothing is heard from it");
        return;
    case EXPLAIN_REFUSED:
        refused_text(r, s, slot, e, text);
        return;
    case EXPLAIN_FEW_LOGS:
        (void)snprintf(text, TEXT_MAX,
                       "a commit may be known only to copies that are not heard: %u of %u needed",
                       e->logs, e->needed);
        return;
    case EXPLAIN_NO_VOTES:
        (void)snprintf(text, TEXT_MAX, "no majority of the %u voters would be left", x->voters);
        return;
    case EXPLAIN_NONE:
    case EXPLAIN_VERDICTS_N:
        break;
    }
    text[0] = '\0';
}

static const char *name_of(const struct record *rec, uint8_t slot)
{
    return slot < HM_MEMBERS_MAX ? rec->member[slot].name : "nobody";
}

static void takeover_text(const struct record *rec, const struct explanation *x,
                          char text[TEXT_MAX])
{
    int n =
        snprintf(text, TEXT_MAX, "%s takes over, about %" PRId64 ".%" PRId64 " s after the loss; ",
                 name_of(rec, x->successor), x->within_ms / 1000, x->within_ms % 1000 / 100);

    if (rec->durability != DURABILITY_ASYNC)
        (void)snprintf(text + n, (size_t)(TEXT_MAX - n), "nothing acknowledged is lost");
    else
        (void)snprintf(text + n, (size_t)(TEXT_MAX - n),
                       "%" PRIu64 " bytes of log are not there yet, %" PRIu64
                       " could be missing at most (async)",
                       x->at_risk, x->at_risk_most);
}

static void outcome_text(const struct record *rec, const struct explanation *x, char text[TEXT_MAX])
{
    const char *leader = name_of(rec, x->leader);
    char stuck[REPORT_STUCK];

    switch (x->outcome) {
    case OUTCOME_STAYS:
        if (!x->commits_wait)
            (void)snprintf(text, TEXT_MAX, "%s stays primary and goes on", leader);
        else if (rec->goal == DURABILITY_STRICT)
            (void)snprintf(text, TEXT_MAX,
                           "%s stays primary; commits wait until a standby is back (strict)",
                           leader);
        else
            (void)snprintf(text, TEXT_MAX,
                           "%s stays primary; commits wait for about %" PRId64 ".%" PRId64
                           " s, then it goes on without them",
                           leader, x->within_ms / 1000, x->within_ms % 1000 / 100);
        return;
    case OUTCOME_TAKEOVER:
        takeover_text(rec, x, text);
        return;
    case OUTCOME_NOBODY:
        if (report_stuck(rec, x, stuck))
            (void)snprintf(text, TEXT_MAX, "no primary: %s", stuck);
        else
            (void)snprintf(text, TEXT_MAX, "no primary: nobody may take over");
        return;
    case OUTCOME_STOPS:
        (void)snprintf(text, TEXT_MAX,
                       "no primary: %u of %u voters are no majority, whoever leads is suspended "
                       "until %u are back",
                       x->votes, x->voters, x->majority);
        return;
    case EXPLAIN_OUTCOMES_N:
        break;
    }
    text[0] = '\0';
}

/* --- documents -------------------------------------------------------------------------------- */

static json_t *member_of(const struct report *r, const struct report_service *s, uint8_t slot,
                         const struct explanation *x)
{
    const struct record *rec = report_record(s->core);
    const struct explained *e = &x->member[slot];
    const bool is_refused = e->verdict == EXPLAIN_REFUSED;
    const bool can = e->verdict == EXPLAIN_CAN;
    char text[TEXT_MAX];

    member_text(r, s, slot, x, text);
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "name", rec->member[slot].name, "verdict",
                     explain_verdict_name(e->verdict), "why", ctl_text(text), "rule",
                     is_refused ? json_integer(e->rule) : json_null(), "rank",
                     can ? json_integer(e->rank) : json_null(), "lag_bytes",
                     e->has_gossip ? json_integer((json_int_t)e->behind) : json_null(), "logs",
                     e->needed != 0 ? json_integer(e->logs) : json_null(), "logs_needed",
                     e->needed != 0 ? json_integer(e->needed) : json_null());
}

static json_t *members_of(const struct report *r, const struct report_service *s,
                          const struct explanation *x)
{
    json_t *list = json_array();
    int rc = 0;

    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (x->member[slot].verdict != EXPLAIN_NONE)
            rc |= json_array_append_new(list, member_of(r, s, (uint8_t)slot, x));
    return rc == 0 ? list : NULL;
}

static json_t *name_or_null(const struct record *rec, uint8_t slot)
{
    return slot < HM_MEMBERS_MAX ? json_string(rec->member[slot].name) : json_null();
}

static json_t *service_of(const struct report *r, const struct report_service *s, uint16_t lost)
{
    const struct record *rec = report_record(s->core);
    struct explanation x;
    char text[TEXT_MAX];
    bool is_takeover;

    core_explain(s->core, lost, &x);
    is_takeover = x.outcome == OUTCOME_TAKEOVER;
    outcome_text(rec, &x, text);
    return json_pack("{s:s,s:s,s:o,s:o,s:s,s:o,s:o,s:b,s:b,s:{s:i,s:i,s:i},s:o}", "name",
                     s->settings->name, "durability", durability_name(rec->durability), "leader",
                     name_or_null(rec, x.leader), "successor", name_or_null(rec, x.successor),
                     "outcome", explain_outcome_name(x.outcome), "text", ctl_text(text),
                     "at_risk_bytes",
                     is_takeover ? json_integer((json_int_t)x.at_risk) : json_null(),
                     "commits_wait", (int)x.commits_wait, "is_last_majority",
                     (int)x.is_last_majority, "voters", "n", (int)x.voters, "heard", (int)x.votes,
                     "majority", (int)x.majority, "members", members_of(r, s, &x));
}

static enum hm_rc find_slots(const struct report_service *s, const struct ctl_request *request,
                             uint16_t *ret_slots, struct hm_err *err)
{
    const struct record *rec = report_record(s->core);

    *ret_slots = 0;
    for (size_t i = 0; i < request->members_n; i++) {
        uint8_t slot = record_find_name(rec, request->member[i]);

        if (slot == HM_NOBODY)
            return hm_fail(err, HM_BAD_INPUT, "there is no member '%s'", request->member[i]);
        *ret_slots |= (uint16_t)(1u << slot);
    }
    return HM_OK;
}

enum hm_rc report_explain(const struct report *r, const struct ctl_request *request, json_t **ret,
                          struct hm_err *err)
{
    json_t *list = json_array();
    bool is_whole = true;

    for (size_t i = 0; i < r->services_n; i++) {
        const struct report_service *s = &r->service[i];
        enum hm_rc rc;
        uint16_t lost;

        if (request->service[0] != '\0' && strcmp(request->service, s->settings->name) != 0)
            continue;
        rc = find_slots(s, request, &lost, err);
        if (rc != HM_OK) {
            json_decref(list);
            return rc;
        }
        is_whole = json_array_append_new(list, service_of(r, s, lost)) == 0 && is_whole;
    }
    *ret = NULL;
    if (request->service[0] != '\0' && json_array_size(list) == 0) {
        json_decref(list);
        return hm_fail(err, HM_BAD_INPUT, "there is no service '%s'", request->service);
    }
    if (is_whole)
        *ret = json_pack("{s:s,s:s,s:o}", "cluster", r->settings->cluster, "node",
                         r->settings->node, "services", list);
    else
        json_decref(list);
    return HM_OK;
}
