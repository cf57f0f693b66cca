#include "parts.h"

#include "core/narrate.h"

/* Where everybody stood when a run ended: members, records, copies. */

static void print_pairs(const struct record *r, FILE *out)
{
    fprintf(out, " pairs");
    for (unsigned int i = 0; i < r->pairs_n; i++) {
        fprintf(out, " ({");
        for (unsigned int j = 0; j < r->pairs[i].n; j++)
            fprintf(out, "%s%u:%lu", j > 0 ? " " : "", r->pairs[i].copies[j].member,
                    (unsigned long)r->pairs[i].copies[j].copy_id);
        fprintf(out, "} %u)", r->pairs[i].need);
    }
}

static void print_record(const struct sim_node *n, FILE *out)
{
    const struct record *r = &n->file.record;

    fprintf(out, "       disk: promised %lu/%u accepted %lu/%u",
            (unsigned long)n->file.promised.counter, n->file.promised.member,
            (unsigned long)n->file.accepted.counter, n->file.accepted.member);
    if (n->file.accepted.counter != 0) {
        fprintf(out, " v%lu epoch %lu holder %u copy %lu %s goal %s voters %x old %x%s tl",
                (unsigned long)r->version, (unsigned long)r->epoch, r->holder,
                (unsigned long)r->copy_id, durability_name(r->durability), durability_name(r->goal),
                r->voters, r->old_voters, r->is_paused ? " paused" : "");
        for (unsigned int i = r->timelines_n > 3 ? r->timelines_n - 3u : 0; i < r->timelines_n; i++)
            fprintf(out, " %lx(e%lu)@%lu", (unsigned long)r->timelines[i].timeline,
                    (unsigned long)r->timelines[i].epoch, (unsigned long)r->timelines[i].start);
        print_pairs(r, out);
        fprintf(out, " last known %lu", (unsigned long)r->last_known.offset);
    }
    fputc('\n', out);
}

static void print_copy(const struct sim *w, unsigned int s, unsigned int h, FILE *out)
{
    const struct sim_db *db = SIM_DB(w, s, h);
    struct copy c;

    sim_copy_now(w, s, h, &c);
    fprintf(out,
            "       copy %s id %lu%s at %lx@%lu (flushed %lu) began %lu follows %d%s%s%s flag %d "
            "names %d fence %s%s branch %u%s\n",
            copy_state_name(c.state), (unsigned long)db->copy_id, db->was_primary ? " was" : "",
            (unsigned long)c.at.timeline, (unsigned long)db->end, (unsigned long)db->flushed,
            (unsigned long)db->began_epoch, db->follows == SIM_NOWHERE ? -1 : db->follows,
            db->is_streaming ? " streams" : "", db->is_final ? "" : " not final",
            c.is_healthy ? "" : " sick", db->flag, (int)db->names.state, fence_mode_name(c.fence),
            c.is_gate_open ? " gate open" : "", db->branch,
            db->op.type != DO_SEND ? core_effect_name(db->op.type) : "");
}

/* What this member heard of the primary, and what keeps it from being followed or waited for. */
static void print_view(const struct core *c, FILE *out)
{
    fprintf(out, "       saw the primary of epoch %lu at %lu%s%s", (unsigned long)c->seen_epoch,
            (unsigned long)c->seen_offset, c->wants_rebuild ? ", wants rebuild" : "",
            c->config.is_nofailover ? ", nofailover" : "");
    for (unsigned int slot = 0; slot < HM_MEMBERS_MAX; slot++)
        if (c->heard[slot].epoch != 0)
            fprintf(out, ", %u told of epoch %lu at %lu", slot, (unsigned long)c->heard[slot].epoch,
                    (unsigned long)c->heard[slot].offset);
    fputc('\n', out);
}

void sim_print_state(const struct sim *w, FILE *out)
{
    for (unsigned int s = 0; s < w->plan.services_n; s++)
        for (unsigned int h = 0; h < w->hosts_n; h++) {
            const struct sim_node *n = &w->node[s][h];
            const struct sim_host *host = &w->host[h];

            fprintf(out, "  %-4s %s%s%s%s", host->name, host->is_on ? "on" : "OFF",
                    host->is_paused ? " PAUSED" : "",
                    host->daemon.is_running ? host->daemon.is_paused ? " hamgrd paused" : ""
                                            : " no hamgrd",
                    host->helper.is_running ? host->helper.is_paused ? " helper paused" : ""
                                            : " no helper");
            if (sim_core_is_alive(w, h) && n->is_there)
                fprintf(out, " %s [%u: %s] valid for %ld ms", core_state_name(n->core.state),
                        n->core.rule, core_why(&n->core),
                        core_valid_until(&n->core) == HM_PAST
                            ? -1L
                            : (long)(core_valid_until(&n->core) - sim_local_ms(w, h)));
            fputc('\n', out);
            if (n->has_file)
                print_record(n, out);
            if (n->is_db)
                print_copy(w, s, h, out);
            if (sim_core_is_alive(w, h) && n->is_there)
                print_view(&n->core, out);
        }
}
