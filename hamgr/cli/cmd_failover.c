/* cmd_failover.c - hamgr failover --force: a person decides who goes on: one member alone, when a
 * majority is lost; or the data of one member, when nobody may be promoted by the rules. */
#include "cli/print.h"

#include <string.h>

/* "db1 (silent for 3 min), w1 (never heard)" */
static void list_others(const json_t *answer, char *text, size_t size)
{
    const json_t *m, *heard;
    char span[24];
    size_t i, n = 0;

    text[0] = '\0';
    json_array_foreach(json_object_get(answer, "others"), i, m)
    {
        heard = json_object_get(m, "heard_ms_ago");
        if (json_is_integer(heard))
            print_span(span, json_integer_value(heard));
        n += (size_t)snprintf(text + n, size - n, "%s%s (%s%s)", i > 0 ? ", " : "",
                              print_text(m, "name"),
                              json_is_integer(heard) ? "silent for " : "never heard",
                              json_is_integer(heard) ? span : "");
        if (n >= size)
            return;
    }
}

/* "db2 (standby, 1200 bytes more than here), w1"; as far as their logs can be compared */
static void list_copies(const json_t *answer, char *text, size_t size)
{
    long long here = print_number(answer, "position");
    const json_t *m;
    size_t i, n = 0;

    text[0] = '\0';
    json_array_foreach(json_object_get(answer, "others"), i, m)
    {
        const json_t *position = json_object_get(m, "position");
        long long more = (long long)json_integer_value(position) - here;

        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? ", " : "", print_text(m, "name"));
        if (n < size && json_is_string(json_object_get(m, "copy")))
            n += (size_t)snprintf(text + n, size - n, " (%s%s", print_text(m, "copy"),
                                  json_is_true(json_object_get(m, "is_up")) ? "" : ", silent");
        if (n < size && json_is_integer(position) && more == 0)
            n += (size_t)snprintf(text + n, size - n, ", as much log as here");
        else if (n < size && json_is_integer(position))
            n += (size_t)snprintf(text + n, size - n, ", %lld bytes %s than here",
                                  more < 0 ? -more : more, more < 0 ? "less" : "more");
        if (n < size && json_is_string(json_object_get(m, "copy")))
            n += (size_t)snprintf(text + n, size - n, ")");
        if (n >= size)
            return;
    }
}

/* A majority lives, and nobody may be promoted by the rules. */
static void tell_kept(struct cli *c, const json_t *answer)
{
    char others[500], text[1000];

    list_copies(answer, others, sizeof others);
    (void)snprintf(text, sizeof text,
                   "The data of %s, as they are, go on as service %s in a new epoch. All members "
                   "stay; the other copies are made anew from it.",
                   print_text(answer, "node"), print_text(answer, "service"));
    print_wrapped(c, PRINT_BOLD, "", text);
    (void)snprintf(text, sizeof text, "%s", print_text(answer, "loss"));
    print_wrapped(c, PRINT_YELLOW, "may be lost:  ", text);
    print_wrapped(c, PRINT_PLAIN, "the others:   ", others);
}

static bool keeps_members(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "keeps_members"));
}

static void tell_alone(struct cli *c, const json_t *answer)
{
    const json_t *voters = json_object_get(answer, "voters");
    char others[500], text[1000];

    list_others(answer, others, sizeof others);
    (void)snprintf(
        text, sizeof text,
        "%s will be the whole cluster for service %s: %lld of %lld voters are heard, %lld "
        "would be a majority.",
        print_text(answer, "node"), print_text(answer, "service"), print_number(voters, "heard"),
        print_number(voters, "n"), print_number(voters, "majority"));
    print_wrapped(c, PRINT_BOLD, "", text);
    (void)snprintf(text, sizeof text, "%s", print_text(answer, "loss"));
    print_wrapped(c, PRINT_YELLOW, "may be lost:  ", text);
    print_wrapped(c, PRINT_RED, "must be off:  ", others);
    print_wrapped(c, PRINT_PLAIN, "              ",
                  "One of them that still runs would be a second primary. When they come back they "
                  "stop by themselves, and are to be added anew.");
}

/* The name as it was typed or given; false: there is none. */
static bool read_name(struct cli *c, const char *cluster, char name[HM_NAME_MAX])
{
    char line[200];

    if (c->cluster != NULL) {
        (void)snprintf(name, HM_NAME_MAX, "%s", c->cluster); /* its length was checked */
        return true;
    }
    (void)fprintf(c->err, "Type the name of the cluster (%s) to go on: ", cluster);
    (void)fflush(c->err); /* it is only a question */
    if (c->in == NULL || fgets(line, sizeof line, c->in) == NULL)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    if (strlen(line) >= HM_NAME_MAX)
        line[HM_NAME_MAX - 1] = '\0'; /* no cluster's name is as long */
    (void)snprintf(name, HM_NAME_MAX, "%.*s", HM_NAME_MAX - 1, line);
    return name[0] != '\0';
}

static void tell_done(struct cli *c, const struct ctl_request *r)
{
    if (r->to[0] != '\0')
        (void)fprintf(c->out,
                      "forced: the data of %s go on\n"
                      "  next: 'hamgr status': the other copies follow by themselves\n",
                      r->to);
    else
        (void)fprintf(c->out,
                      "forced: this member goes on alone\n"
                      "  next: 'hamgr status'; then 'hamgr join' on each database host, and "
                      "'hamgr member add' for a witness,\n"
                      "        once its old state_dir is moved away\n");
}

static enum ctl_exit force(struct cli *c, struct ctl_request *r)
{
    json_t *answer = NULL;
    enum ctl_exit rc = cli_ask(c, r, &answer);

    if (answer == NULL)
        return rc;
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        tell_done(c, r);
    json_decref(answer);
    return rc;
}

enum ctl_exit cli_failover(struct cli *c)
{
    struct ctl_request r = { .command = CTL_FAILOVER, .timeout_ms = c->timeout_ms };
    json_t *meaning = NULL;
    enum ctl_exit rc;
    bool has_name;

    if ((c->given & CLI_FORCE) == 0) {
        cli_complain(c, "failover happens by itself while a majority lives, and 'hamgr switchover' "
                        "moves a primary; --force is for a majority that is lost for good, and "
                        "where nobody may be promoted");
        return CTL_USAGE;
    }
    if (c->service != NULL)
        (void)snprintf(r.service, sizeof r.service, "%s", c->service); /* its length was checked */
    rc = cli_ask(c, &r, &meaning);
    if (meaning == NULL)
        return rc;
    if ((c->given & CLI_JSON) == 0 && keeps_members(meaning))
        tell_kept(c, meaning);
    else if ((c->given & CLI_JSON) == 0)
        tell_alone(c, meaning);
    if (keeps_members(meaning)) /* hamgrd does what was told here, or nothing */
        (void)snprintf(r.to, sizeof r.to, "%.*s", HM_NAME_MAX - 1, print_text(meaning, "node"));
    has_name = read_name(c, print_text(meaning, "cluster"), r.cluster);
    json_decref(meaning);
    if (!has_name)
        return cli_tell_failure(c, CTL_REFUSED, "no name was typed: nothing was done",
                                "--cluster NAME for scripts");
    return force(c, &r);
}
