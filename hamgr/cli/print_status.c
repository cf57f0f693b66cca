/* print_status.c - the status document as a table that reads well at three in the morning. */
#include "cli/print.h"

#include <string.h>

enum { NAME_WIDTH_MAX = 20, ROLE_AT = 9, COPY_AT = 18, LAG_AT = 29, HEARD_AT = 38, NOTE_AT = 48 };

/* --- members ---------------------------------------------------------------------------------- */

static bool is_in_sync(const json_t *service, const char *name)
{
    const json_t *pair, *copy;
    size_t i, k;
    bool is_alone = false, is_there = false;

    json_array_foreach(json_object_get(service, "pairs"), i, pair)
    {
        is_alone = is_alone || print_number(pair, "need") == 0;
        json_array_foreach(json_object_get(pair, "copies"), k, copy) is_there =
            is_there || (json_is_string(copy) && strcmp(json_string_value(copy), name) == 0);
    }
    return is_there && !is_alone;
}

static void add_primary_note(struct print_line *l, const json_t *service, const json_t *m)
{
    if (!print_is(m, "is_holder"))
        print_add(l, PRINT_RED, "not the holder!");
    else if (!print_is(m, "is_healthy"))
        print_add(l, PRINT_RED, "not healthy");
    else if (json_is_null(json_object_get(service, "lease_left_ms")))
        print_add(l, PRINT_RED, "no lease known");
    else
        print_add(l, PRINT_PLAIN, "holds the lease");
}

static void add_standby_note(struct print_line *l, const json_t *service, const json_t *m)
{
    if (print_is(m, "wants_rebuild"))
        print_add(l, PRINT_RED, "must be rebuilt");
    else if (!print_is(m, "is_streaming"))
        print_add(l, PRINT_YELLOW, "does not stream");
    else if (!print_is(m, "is_healthy"))
        print_add(l, PRINT_YELLOW, "not healthy");
    else if (is_in_sync(service, print_text(m, "name")))
        print_add(l, PRINT_PLAIN, "in sync");
    else
        print_addf(l, PRINT_PLAIN, "streams from %s", print_text(m, "follows"));
}

static void add_note(struct print_line *l, const json_t *service, const json_t *m)
{
    const json_t *facts = json_object_get(m, "facts");
    const char *copy = print_text(m, "copy"), *link = print_text(m, "link");

    if (!print_is(m, "is_up")) {
        print_add(l, PRINT_RED, strcmp(link, "up") == 0 || link[0] == '\0' ? "silent" : link);
        return;
    }
    if (print_text(facts, "doing")[0] != '\0')
        print_add(l, PRINT_YELLOW, print_text(facts, "doing"));
    else if (print_is(m, "is_rebuilding") && print_number(m, "rebuilt_percent") > 0)
        print_addf(l, PRINT_YELLOW, "being rebuilt: %lld %%", print_number(m, "rebuilt_percent"));
    else if (print_is(m, "is_rebuilding"))
        print_add(l, PRINT_YELLOW, "being rebuilt");
    else if (strcmp(copy, "primary") == 0)
        add_primary_note(l, service, m);
    else if (strcmp(copy, "standby") == 0)
        add_standby_note(l, service, m);
    else if (strcmp(copy, "suspended") == 0)
        print_add(l, PRINT_RED, "fenced: acknowledges nothing");
    else if (print_is(m, "wants_rebuild"))
        print_add(l, PRINT_RED, "must be rebuilt");
    else if (print_text(facts, "trouble")[0] != '\0')
        print_add(l, PRINT_RED, print_text(facts, "trouble"));
    if (print_is(m, "is_delayed"))
        print_add(l, PRINT_DIM, ", delayed: never takes over");
    else if (print_is(m, "is_nofailover"))
        print_add(l, PRINT_DIM, ", nofailover");
}

/* What a silent member was when it was heard last stands in brackets. */
static void add_copy(struct print_line *l, const json_t *m)
{
    const char *copy = print_text(m, "copy");
    enum print_colour colour = PRINT_YELLOW;

    if (strcmp(print_text(m, "role"), "db") != 0)
        print_add(l, PRINT_PLAIN, "-");
    else if (copy[0] == '\0')
        print_add(l, PRINT_PLAIN, "?");
    else if (!print_is(m, "is_up"))
        print_addf(l, PRINT_DIM, "(%s)", copy);
    else {
        if (strcmp(copy, "primary") == 0)
            colour = print_is(m, "is_holder") ? PRINT_GREEN : PRINT_RED;
        else if (strcmp(copy, "standby") == 0)
            colour = PRINT_PLAIN;
        print_add(l, colour, copy);
    }
}

static void print_member(struct cli *c, const json_t *service, const json_t *m, unsigned shift)
{
    const json_t *lag = json_object_get(m, "lag_bytes"),
                 *heard = json_object_get(m, "heard_ms_ago");
    char text[24], name[HM_NAME_MAX * 4];
    struct print_line l;

    print_begin(&l, c);
    (void)snprintf(name, sizeof name, "%.*s", NAME_WIDTH_MAX, print_text(m, "name"));
    print_to(&l, 2);
    print_add(&l, print_is(m, "is_self") ? PRINT_BOLD : PRINT_PLAIN, name);
    print_to(&l, ROLE_AT + shift);
    print_add(&l, PRINT_PLAIN, print_text(m, "role"));
    print_to(&l, COPY_AT + shift);
    add_copy(&l, m);
    print_to(&l, LAG_AT + shift);
    if (json_is_integer(lag) && print_is(m, "is_up"))
        print_bytes(text, (uint64_t)json_integer_value(lag));
    else
        (void)snprintf(text, sizeof text, "-");
    print_add(&l, PRINT_PLAIN, text);
    print_to(&l, HEARD_AT + shift);
    if (json_is_integer(heard))
        print_span(text, json_integer_value(heard));
    else
        (void)snprintf(text, sizeof text, "never");
    print_add(&l, print_is(m, "is_up") ? PRINT_PLAIN : PRINT_RED,
              print_is(m, "is_self") ? "self" : text);
    print_to(&l, NOTE_AT + shift);
    add_note(&l, service, m);
    print_end(&l);
}

/* By how many columns names are longer than usual. */
static unsigned shift_of(const json_t *members)
{
    const json_t *m;
    size_t i, longest = 0;

    json_array_foreach(members, i, m) if (strlen(print_text(m, "name")) > longest) longest =
        strlen(print_text(m, "name"));
    if (longest > NAME_WIDTH_MAX)
        longest = NAME_WIDTH_MAX;
    return longest + 3 > ROLE_AT ? (unsigned)(longest + 3 - ROLE_AT) : 0;
}

static void print_titles(struct cli *c, unsigned shift)
{
    static const struct {
        unsigned at;
        const char *title;
    } titles[] = { { ROLE_AT, "role" },
                   { COPY_AT, "copy" },
                   { LAG_AT, "lag" },
                   { HEARD_AT, "heard" },
                   { NOTE_AT, "note" } };
    struct print_line l;

    print_begin(&l, c);
    print_to(&l, 2);
    print_add(&l, PRINT_DIM, "member");
    for (size_t i = 0; i < HM_ARRAY_LEN(titles); i++) {
        print_to(&l, titles[i].at + shift);
        print_add(&l, PRINT_DIM, titles[i].title);
    }
    print_end(&l);
}

/* --- a service -------------------------------------------------------------------------------- */

static void add_holder(struct print_line *l, const json_t *s)
{
    const char *holder = print_text(s, "holder");
    bool is_live = json_is_integer(json_object_get(s, "lease_left_ms"));

    if (holder[0] == '\0')
        print_add(l, PRINT_RED, "no primary yet");
    else if (is_live)
        print_addf(l, PRINT_GREEN, "primary %s", holder);
    else
        print_addf(l, PRINT_RED, "no lease known, last primary %s", holder);
}

static void print_head(struct cli *c, const json_t *s)
{
    const json_t *left = json_object_get(s, "lease_left_ms");
    struct print_line l;
    char text[24];

    print_begin(&l, c);
    print_add(&l, PRINT_BOLD, print_text(s, "name"));
    print_addf(&l, PRINT_PLAIN, " (%s)  ", print_text(s, "kind"));
    add_holder(&l, s);
    if (print_is(s, "is_paused"))
        print_add(&l, PRINT_YELLOW, "  PAUSED");
    print_addf(&l, PRINT_PLAIN, "  epoch %lld  %s", print_number(s, "epoch"),
               print_text(s, "durability"));
    if (strcmp(print_text(s, "goal"), print_text(s, "durability")) != 0)
        print_addf(&l, PRINT_YELLOW, " (goal %s)", print_text(s, "goal"));
    if (json_is_integer(left)) {
        print_span(text, json_integer_value(left));
        print_addf(&l, PRINT_PLAIN, "  lease %s", text);
    }
    print_end(&l);
}

/* "log kept here for db2 16 MB, db3 1.2 GB (away)" */
static void print_slots(struct cli *c, const json_t *s)
{
    const json_t *slots = json_object_get(s, "slots"), *slot;
    char text[400] = "log kept here for ", size[24];
    size_t i, n = strlen(text);

    json_array_foreach(slots, i, slot)
    {
        const char *member = print_text(slot, "member");

        print_bytes(size, (uint64_t)print_number(slot, "held_bytes"));
        if (n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s%s", i > 0 ? ", " : "",
                                  member[0] != '\0' ? member : print_text(slot, "name"), size,
                                  print_is(slot, "is_active") ? " (streams)" : "");
    }
    if (i > 0)
        print_wrapped(c, PRINT_DIM, "  ", text);
}

/* "redis 7.0.15 on db1: offset 1234, 1 of 1 replicas online, at most 0 bytes behind" */
static void print_detail(struct cli *c, const json_t *s, const json_t *m)
{
    const json_t *facts = json_object_get(m, "facts");
    char text[400];

    if (print_text(facts, "detail")[0] == '\0')
        return;
    (void)snprintf(text, sizeof text, "%s %s on %s: %s", print_text(s, "kind"),
                   print_text(facts, "version"), print_text(m, "name"),
                   print_text(facts, "detail"));
    print_wrapped(c, PRINT_DIM, "  ", text);
}

/* What stalls, in words, and how fast the primary commits. */
static void print_health(struct cli *c, const json_t *m)
{
    const json_t *facts = json_object_get(m, "facts"), *commits = json_object_get(facts, "commits");
    const char *verdict = print_text(facts, "verdict"), *stall = print_text(facts, "stall");
    char text[400], ago[24];

    if (stall[0] != '\0') {
        (void)snprintf(text, sizeof text, "%s is %s: %s", print_text(m, "name"),
                       strcmp(verdict, "well") == 0 ? "late" : verdict, stall);
        print_wrapped(c, strcmp(verdict, "gray") == 0 ? PRINT_RED : PRINT_YELLOW, "  ", text);
    }
    if (json_is_object(commits) && print_is(m, "is_holder")) {
        print_span(ago, print_number(commits, "worst_ms_ago"));
        (void)snprintf(text, sizeof text,
                       "commits on %s take %.1f ms, 99 %% less than %.1f ms; worst %.1f ms, %s ago",
                       print_text(m, "name"), json_number_value(json_object_get(commits, "p50_ms")),
                       json_number_value(json_object_get(commits, "p99_ms")),
                       json_number_value(json_object_get(commits, "worst_ms")), ago);
        print_wrapped(c, PRINT_DIM, "  ", text);
    }
}

static void print_service(struct cli *c, const json_t *s, const char *node)
{
    const json_t *members = json_object_get(s, "members"), *m;
    const json_t *change = json_object_get(s, "switchover");
    unsigned shift = shift_of(members);
    char text[400];
    size_t i;

    print_head(c, s);
    (void)snprintf(text, sizeof text, "%s is %s: %s (rule %lld)", node, print_text(s, "state"),
                   print_text(s, "why"), print_number(s, "rule"));
    print_wrapped(c, PRINT_DIM, "  ", text);
    if (json_is_object(change)) {
        (void)snprintf(text, sizeof text, "a switchover to %s is under way",
                       print_text(change, "to"));
        print_wrapped(c, PRINT_YELLOW, "  ", text);
    }
    json_array_foreach(members, i, m)
    {
        const char *doing = print_text(json_object_get(m, "facts"), "doing");

        if (doing[0] != '\0') { /* whole: the note may have no room for it */
            (void)snprintf(text, sizeof text, "under way on %s: %s", print_text(m, "name"), doing);
            print_wrapped(c, PRINT_YELLOW, "  ", text);
        }
    }
    json_array_foreach(members, i, m)
    {
        print_detail(c, s, m);
        print_health(c, m);
    }
    print_titles(c, shift);
    json_array_foreach(members, i, m) print_member(c, s, m, shift);
    print_slots(c, s);
}

static void empty_line(struct cli *c)
{
    struct print_line l;

    print_begin(&l, c);
    print_end(&l);
}

void cli_print_status(struct cli *c, const json_t *status)
{
    const json_t *warnings = json_object_get(status, "warnings"), *j;
    struct print_line l;
    size_t i;

    print_begin(&l, c);
    print_add(&l, PRINT_PLAIN, "cluster ");
    print_add(&l, PRINT_BOLD, print_text(status, "cluster"));
    print_addf(&l, PRINT_PLAIN, ", seen by %s at %s", print_text(status, "node"),
               print_text(status, "time"));
    print_end(&l);
    json_array_foreach(json_object_get(status, "services"), i, j)
    {
        empty_line(c);
        print_service(c, j, print_text(status, "node"));
    }
    empty_line(c);
    if (json_array_size(warnings) == 0)
        print_wrapped(c, PRINT_GREEN, "", "nothing to worry about");
    json_array_foreach(warnings, i, j)
        print_wrapped(c, PRINT_YELLOW, "! ", json_is_string(j) ? json_string_value(j) : "");
}
