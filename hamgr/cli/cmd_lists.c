/* cmd_lists.c - hamgr history, hamgr member list. */
#include "cli/print.h"

#include <string.h>

/* "2026-11-20T11:00:00Z  the clone from db1 failed: no room (12 times, last ...)" */
static void print_event(struct cli *c, const json_t *e)
{
    char text[400], more[64] = "";

    if (print_number(e, "times") > 1)
        (void)snprintf(more, sizeof more, " (%lld times, last %.24s)", print_number(e, "times"),
                       print_text(e, "last"));
    (void)snprintf(text, sizeof text, "%.24s  %.200s%s", print_text(e, "time"),
                   print_text(e, "text"), more);
    print_wrapped(c, PRINT_PLAIN, "    ", text);
}

/* Only what this member saw: others are asked there. */
static void print_events(struct cli *c, const json_t *events)
{
    struct print_line l;

    if (json_array_size(events) == 0)
        return;
    print_begin(&l, c);
    print_addf(&l, PRINT_DIM, "  on %s itself", print_text(json_array_get(events, 0), "member"));
    print_end(&l);
    for (size_t k = json_array_size(events); k > 0; k--) /* the newest first */
        print_event(c, json_array_get(events, k - 1));
}

void cli_print_history(struct cli *c, const json_t *history)
{
    const json_t *services = json_object_get(history, "services"), *s, *change;
    struct print_line l;
    size_t i, k;

    json_array_foreach(services, i, s)
    {
        const json_t *changes = json_object_get(s, "changes");

        print_begin(&l, c);
        print_add(&l, PRINT_BOLD, print_text(s, "name"));
        if (json_array_size(changes) == 0)
            print_add(&l, PRINT_PLAIN, "  no primary yet");
        print_end(&l);
        for (k = json_array_size(changes); k > 0; k--) { /* the newest first */
            change = json_array_get(changes, k - 1);
            print_begin(&l, c);
            print_addf(&l, PRINT_PLAIN, "  epoch %lld", print_number(change, "epoch"));
            print_to(&l, 14);
            print_add(&l, PRINT_PLAIN, print_text(change, "time"));
            print_to(&l, 36);
            print_add(&l, PRINT_BOLD, print_text(change, "holder"));
            print_to(&l, 46);
            print_add(&l, PRINT_PLAIN, print_text(change, "reason"));
            print_end(&l);
        }
        print_events(c, json_object_get(s, "events"));
    }
}

static void print_listed(struct cli *c, const json_t *m)
{
    const json_t *heard = json_object_get(m, "heard_ms_ago");
    bool is_up = print_is(m, "is_up");
    struct print_line l;
    char text[24] = "never";

    print_begin(&l, c);
    print_add(&l, print_is(m, "is_self") ? PRINT_BOLD : PRINT_PLAIN, print_text(m, "name"));
    print_to(&l, 12);
    print_add(&l, PRINT_PLAIN, print_text(m, "role"));
    print_to(&l, 22);
    print_add(&l, PRINT_PLAIN, print_text(m, "address"));
    print_to(&l, 46);
    if (json_is_integer(heard))
        print_span(text, json_integer_value(heard));
    print_add(&l, is_up ? PRINT_PLAIN : PRINT_RED, print_is(m, "is_self") ? "self" : text);
    print_to(&l, 56);
    print_add(&l, is_up ? PRINT_PLAIN : PRINT_RED,
              print_is(m, "is_self") ? "-" : print_text(m, "link"));
    print_end(&l);
}

void cli_print_members(struct cli *c, const json_t *members)
{
    static const struct {
        unsigned at;
        const char *title;
    } titles[] = {
        { 0, "member" }, { 12, "role" }, { 22, "address" }, { 46, "heard" }, { 56, "link" }
    };
    const json_t *m;
    struct print_line l;
    size_t i;

    print_begin(&l, c);
    for (i = 0; i < HM_ARRAY_LEN(titles); i++) {
        if (i > 0)
            print_to(&l, titles[i].at);
        print_add(&l, PRINT_DIM, titles[i].title);
    }
    print_end(&l);
    json_array_foreach(json_object_get(members, "members"), i, m) print_listed(c, m);
}

static enum ctl_exit list(struct cli *c, enum ctl_command command,
                          void (*print)(struct cli *c, const json_t *answer))
{
    struct ctl_request r = { .command = command };

    if (c->service != NULL)
        (void)snprintf(r.service, sizeof r.service, "%s", c->service); /* its length was checked */
    return cli_show(c, &r, print);
}

enum ctl_exit cli_history(struct cli *c)
{
    enum ctl_exit rc = list(c, CTL_HISTORY, cli_print_history);

    if (rc == CTL_DONE && (c->given & CLI_JSON) == 0)
        cli_tell_diverged(c);
    return rc;
}

enum ctl_exit cli_member_list(struct cli *c)
{
    return list(c, CTL_MEMBERS, cli_print_members);
}
