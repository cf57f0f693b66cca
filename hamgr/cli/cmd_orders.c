/* cmd_orders.c - orders to the cluster: switchover, pause, resume; and what a server lacks. */
#include "cli/print.h"

#include <string.h>

static enum ctl_exit order(struct cli *c, enum ctl_command command, json_t **ret_answer)
{
    struct ctl_request r = { .command = command, .timeout_ms = c->timeout_ms };

    if (c->service != NULL)
        (void)snprintf(r.service, sizeof r.service, "%s", c->service); /* lengths were checked */
    if (c->to != NULL)
        (void)snprintf(r.to, sizeof r.to, "%s", c->to);
    r.is_dry_run = (c->given & CLI_DRY_RUN) != 0;
    return cli_ask(c, &r, ret_answer);
}

/* --- checks ----------------------------------------------------------------------------------- */

static void print_check(struct cli *c, const json_t *check)
{
    bool is_ok = print_is(check, "ok");
    const char *member = print_text(check, "member"), *next = print_text(check, "next");
    char text[600];
    struct print_line l;

    (void)snprintf(text, sizeof text, "%s%s%s%s%s", member, member[0] != '\0' ? " " : "",
                   print_text(check, "name"), print_text(check, "text")[0] != '\0' ? ": " : "",
                   print_text(check, "text"));
    print_wrapped(c, is_ok ? PRINT_PLAIN : PRINT_RED, is_ok ? "ok    " : "FAIL  ", text);
    if (is_ok || next[0] == '\0')
        return;
    /* To be copied: as one line, however long it is. */
    print_begin(&l, c);
    (void)fputs("      next: ", c->out); /* main() looks whether it arrived */
    for (const char *s = next; *s != '\0'; s++)
        (void)fputc((unsigned char)*s < ' ' ? ' ' : *s, c->out);
    print_end(&l);
}

size_t cli_print_checks(struct cli *c, const json_t *checks)
{
    size_t i, failed = 0;
    const json_t *check;

    json_array_foreach(checks, i, check) if (!print_is(check, "ok")) failed++;
    for (int ok = 0; ok < 2; ok++) /* what is wrong comes first */
        json_array_foreach(checks, i, check) if (print_is(check, "ok") == (ok == 1))
            print_check(c, check);
    return failed;
}

/* Prints the checks of an answer, and what they come to. */
static void tell_checks(struct cli *c, enum ctl_exit rc, const json_t *answer, const char *all_well)
{
    const json_t *checks = json_object_get(answer, "checks");
    size_t failed;

    if ((c->given & CLI_JSON) != 0) {
        cli_print_json(c, answer);
        return;
    }
    failed = cli_print_checks(c, checks);
    if (rc == CTL_DONE)
        (void)fprintf(c->out, "%s\n", all_well);
    else if (print_text(answer, "error")[0] != '\0')
        (void)cli_tell_failure(c, rc, print_text(answer, "error"), NULL);
    else
        (void)fprintf(c->out, "%zu of %zu not passed\n", failed, json_array_size(checks));
}

static size_t count_failed(const json_t *checks)
{
    const json_t *check;
    size_t failed = 0, i;

    json_array_foreach(checks, i, check) failed += !print_is(check, "ok");
    return failed;
}

enum ctl_exit cli_check(struct cli *c)
{
    json_t *answer = NULL;
    enum ctl_exit rc = order(c, CTL_CHECK, &answer);

    if (answer == NULL)
        return rc;
    if (rc == CTL_DONE && count_failed(json_object_get(answer, "checks")) != 0)
        rc = CTL_FAILED;
    tell_checks(c, rc, answer, "everything is as it should be");
    json_decref(answer);
    return rc;
}

/* --- orders ----------------------------------------------------------------------------------- */

static void tell_switchover(struct cli *c, const json_t *answer)
{
    (void)fprintf(c->out, "%s is the primary now, %s was: epoch %lld, took %lld ms\n",
                  print_text(answer, "to"), print_text(answer, "from"),
                  print_number(answer, "epoch"), print_number(answer, "took_ms"));
}

enum ctl_exit cli_switchover(struct cli *c)
{
    json_t *answer = NULL;
    enum ctl_exit rc = order(c, CTL_SWITCHOVER, &answer);

    if (answer == NULL)
        return rc;
    if ((c->given & CLI_DRY_RUN) != 0)
        tell_checks(c, rc, answer, "the switchover could be done now");
    else if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        tell_switchover(c, answer);
    json_decref(answer);
    return rc;
}

static enum ctl_exit pause_or_resume(struct cli *c, enum ctl_command command, const char *done)
{
    json_t *answer = NULL;
    enum ctl_exit rc = order(c, command, &answer);

    if (answer == NULL)
        return rc;
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        print_wrapped(c, PRINT_PLAIN, "", done);
    json_decref(answer);
    return rc;
}

enum ctl_exit cli_pause(struct cli *c)
{
    return pause_or_resume(
        c, CTL_PAUSE, "paused: nobody takes over, and nothing is fenced, until 'hamgr resume'");
}

enum ctl_exit cli_resume(struct cli *c)
{
    return pause_or_resume(c, CTL_RESUME, "resumed: failover is automatic again");
}

/* --- rebuild ---------------------------------------------------------------------------------- */

static bool is_yes(struct cli *c, const char *member)
{
    char line[16] = "";

    if ((c->given & CLI_YES) != 0)
        return true;
    (void)fprintf(
        c->err,
        "The copy of %s is taken down and made anew from the primary; until that is done, it "
        "cannot take over.\nGo on? [y/N] ",
        member);
    if (c->in != NULL && fgets(line, sizeof line, c->in) != NULL &&
        (line[0] == 'y' || line[0] == 'Y'))
        return true;
    cli_complain(c, "nothing was done; a script says --yes");
    return false;
}

enum ctl_exit cli_rebuild(struct cli *c)
{
    json_t *answer = NULL;
    enum ctl_exit rc;
    char text[160];

    if (c->args_n == 0 || strlen(c->arg[0]) >= HM_NAME_MAX) {
        cli_complain(c, "of which member? 'hamgr status' shows their copies");
        return CTL_USAGE;
    }
    if (!is_yes(c, c->arg[0]))
        return CTL_USAGE;
    c->to = c->arg[0];
    rc = order(c, CTL_REBUILD, &answer);
    if (answer == NULL)
        return rc;
    (void)snprintf(text, sizeof text,
                   "the copy of %s is being made anew: 'hamgr status --watch' shows how far it is",
                   c->arg[0]);
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        print_wrapped(c, PRINT_PLAIN, "", text);
    json_decref(answer);
    return rc;
}
