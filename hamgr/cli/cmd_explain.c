/* cmd_explain.c - hamgr explain, hamgr what-if lose: who could take over, and why not. */
#include "cli/print.h"

#include <string.h>

enum { NAME_AT = 2, CAN_AT = 12, LAG_AT = 22, WHY_AT = 32 };

static enum print_colour colour_of(const char *verdict)
{
    if (strcmp(verdict, "can") == 0 || strcmp(verdict, "leads") == 0)
        return PRINT_GREEN;
    return strcmp(verdict, "lost") == 0 ? PRINT_DIM : PRINT_YELLOW;
}

static void print_member(struct cli *c, const json_t *m)
{
    const char *verdict = print_text(m, "verdict");
    bool has_lag = json_is_integer(json_object_get(m, "lag_bytes"));
    char first[80], lag[24] = "-";
    struct print_line l;

    if (has_lag)
        print_bytes(lag, (uint64_t)print_number(m, "lag_bytes"));
    print_begin(&l, c);
    print_to(&l, NAME_AT);
    print_add(&l, PRINT_BOLD, print_text(m, "name"));
    print_to(&l, CAN_AT);
    print_add(&l, colour_of(verdict), verdict);
    print_to(&l, LAG_AT);
    print_add(&l, PRINT_PLAIN, lag);
    print_end(&l);
    (void)snprintf(first, sizeof first, "%*s", CAN_AT, "");
    print_wrapped(c, PRINT_PLAIN, first, print_text(m, "why"));
}

static void print_titles(struct cli *c)
{
    struct print_line l;

    print_begin(&l, c);
    print_to(&l, NAME_AT);
    print_add(&l, PRINT_DIM, "member");
    print_to(&l, CAN_AT);
    print_add(&l, PRINT_DIM, "take over");
    print_to(&l, LAG_AT);
    print_add(&l, PRINT_DIM, "lag");
    print_end(&l);
}

static void print_service(struct cli *c, const json_t *s, bool is_what_if)
{
    const json_t *voters = json_object_get(s, "voters"), *m;
    const char *leader = print_text(s, "leader");
    struct print_line l;
    size_t i;

    print_begin(&l, c);
    print_add(&l, PRINT_BOLD, print_text(s, "name"));
    print_addf(&l, PRINT_PLAIN, "  primary %s  %s  %lld of %lld voters%s",
               leader[0] != '\0' ? leader : "none", print_text(s, "durability"),
               print_number(voters, "heard"), print_number(voters, "n"),
               is_what_if ? " left" : " heard");
    print_end(&l);
    if (is_what_if)
        print_wrapped(c, PRINT_BOLD, "  ", print_text(s, "text"));
    if (print_is(s, "is_last_majority"))
        print_wrapped(c, PRINT_YELLOW, "! ", "one voter fewer, and nobody could be primary");
    print_titles(c);
    json_array_foreach(json_object_get(s, "members"), i, m) print_member(c, m);
}

static void print_services(struct cli *c, const json_t *answer, bool is_what_if)
{
    const json_t *s;
    size_t i;

    json_array_foreach(json_object_get(answer, "services"), i, s)
    {
        if (i > 0)
            (void)fputc('\n', c->out); /* main() looks whether it arrived */
        print_service(c, s, is_what_if);
    }
}

void cli_print_explain(struct cli *c, const json_t *answer)
{
    print_services(c, answer, false);
}

void cli_print_what_if(struct cli *c, const json_t *answer)
{
    print_services(c, answer, true);
}

static enum ctl_exit explain(struct cli *c, void (*print)(struct cli *c, const json_t *answer))
{
    struct ctl_request r = { .command = CTL_EXPLAIN };

    if (c->service != NULL)
        (void)snprintf(r.service, sizeof r.service, "%s", c->service); /* its length was checked */
    for (; r.members_n < c->args_n; r.members_n++)
        if (snprintf(r.member[r.members_n], HM_NAME_MAX, "%s", c->arg[r.members_n]) >=
            HM_NAME_MAX) {
            cli_complain(c, "'%s' is no member's name: it has more than %d letters",
                         c->arg[r.members_n], HM_NAME_MAX - 1);
            return CTL_USAGE;
        }
    return cli_show(c, &r, print);
}

enum ctl_exit cli_explain(struct cli *c)
{
    return explain(c, cli_print_explain);
}

enum ctl_exit cli_what_if(struct cli *c)
{
    if (c->args_n > 0)
        return explain(c, cli_print_what_if);
    cli_complain(c, "lose which members? 'hamgr what-if lose db1' says what would be then");
    return CTL_USAGE;
}
