#include "parts.h"

#include "core/narrate.h"
#include "core/rules.h"

#include <stdarg.h>
#include <string.h>

/* What happened, in few bytes: it becomes text only when somebody reads it. */

static void print_state(const struct sim *w, const struct sim_trace_entry *t, FILE *out)
{
    const struct rule *r = rule_find((uint16_t)t->c);

    fprintf(out, "%-4s %s -> %s  [%u: %s] epoch=%lu", w->host[t->host].name,
            core_state_name((enum core_state)t->other), core_state_name((enum core_state)t->a),
            t->c, r != NULL ? r->because : "?", (unsigned long)t->b);
}

static void print_entry(const struct sim *w, const struct sim_trace_entry *t, FILE *out)
{
    const char *name = t->host < w->hosts_n ? w->host[t->host].name : "-";

    fprintf(out, "%6ld.%03ld.%03ld %s ", (long)(t->at_us / SIM_S), (long)(t->at_us / SIM_MS % 1000),
            (long)(t->at_us % 1000),
            w->plan.services_n < 2 ? ""
            : t->service == 0      ? "pg"
                                   : "redis");
    switch ((enum sim_tale)t->what) {
    case TALE_TEXT:
        fprintf(out, "%-4s %s", name, t->text);
        if (t->a != 0)
            fprintf(out, " (order %lu: %s)", (unsigned long)t->a, hm_rc_text((enum hm_rc)t->b));
        break;
    case TALE_STATE:
        print_state(w, t, out);
        break;
    case TALE_SEND:
        fprintf(out, "%-4s    sends %s to %s  ballot=%lu version=%lu%s%s", name,
                msg_type_name((enum msg_type)(t->c & 255)), w->host[t->other].name,
                (unsigned long)t->a, (unsigned long)t->b, t->c >> 8 != 0 ? ": " : "",
                t->c >> 8 != 0 ? refusal_text((enum refusal)(t->c >> 8)) : "");
        break;
    case TALE_EFFECT:
        fprintf(out, "%-4s    %s", name, core_effect_name((enum core_effect_type)t->c));
        if (t->c == DO_FENCE)
            fprintf(out, " %s", fence_mode_name((enum fence_mode)t->other));
        else if (t->c == DO_FOLLOW || t->c == DO_CLONE || t->c == DO_REWIND || t->c == DO_FETCH ||
                 t->c == DO_RESCUE)
            fprintf(out, " slot %u", t->other);
        break;
    case TALE_FAULT:
        fprintf(out, "---- fault: %s %s%s%s", sim_fault_name(t->c), name, t->text ? " " : "",
                t->text ? t->text : "");
        break;
    case TALE_HEAL:
        fprintf(out, "---- healed: %s %s", sim_fault_name(t->c), name);
        break;
    case TALE_ACK:
        fprintf(out, "%-4s    acknowledges up to %lu", name, (unsigned long)t->a);
        break;
    case TALE_SERVER:
        fprintf(out, "%-4s    server %s at %lu", name, t->text, (unsigned long)t->a);
        break;
    case TALE_FENCE:
        fprintf(out, "%-4s    fence %s: %s%s", name, t->text,
                fence_mode_name((enum fence_mode)t->other), t->c != 0 ? ", gate open" : "");
        break;
    case TALE_DONE:
        fprintf(out, "%-4s    %s %s at %lu", name, core_effect_name((enum core_effect_type)t->c),
                t->a != 0 ? "done" : "failed", (unsigned long)t->b);
        break;
    case TALE_ORDER:
        fprintf(out, "---- order %lu to %s: kind %u, slot %u", (unsigned long)t->a, name, t->c,
                t->other);
        break;
    }
    fputc('\n', out);
}

/* What repeats with every heartbeat would hide the rest. */
static bool is_noise(const struct sim *w, const struct sim_trace_entry *t)
{
    if (w->is_verbose)
        return false;
    if (t->what == TALE_SEND)
        return (t->c & 255) == MSG_RENEW || (t->c & 255) == MSG_RENEW_ANSWER ||
               (t->c & 255) == MSG_GOSSIP;
    return t->what == TALE_EFFECT && (t->c == DO_FENCE || t->c == DO_PERSIST);
}

void sim_tell(struct sim *w, enum sim_tale what, unsigned int service, unsigned int host,
              unsigned int other, uint32_t c, uint64_t a, uint64_t b, const char *text)
{
    struct sim_trace_entry *t = &w->trace[w->trace_n % SIM_TRACE_MAX];

    *t = (struct sim_trace_entry){
        .at_us = w->now_us,
        .what = (uint8_t)what,
        .host = (uint8_t)host,
        .service = (uint8_t)service,
        .other = (uint8_t)other,
        .c = c,
        .a = a,
        .b = b,
        .text = text,
    };
    if (is_noise(w, t))
        return;
    w->trace_n++;
    if (w->is_traced)
        print_entry(w, t, stdout);
}

void sim_print_trace(const struct sim *w, FILE *out, unsigned int lines)
{
    uint32_t n = w->trace_n < lines ? w->trace_n : lines;

    if (n > SIM_TRACE_MAX - 1)
        n = SIM_TRACE_MAX - 1;
    for (uint32_t i = w->trace_n - n; i != w->trace_n; i++)
        print_entry(w, &w->trace[i % SIM_TRACE_MAX], out);
}

void sim_violated(struct sim *w, const char *invariant, const char *format, ...)
{
    va_list args;

    if (w->is_violated)
        return;
    w->is_violated = true;
    w->violated_us = w->now_us;
    (void)snprintf(w->violated, sizeof w->violated, "%s", invariant);
    va_start(args, format);
    (void)vsnprintf(w->what, sizeof w->what, format, args);
    va_end(args);
}
