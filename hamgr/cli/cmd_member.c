/* cmd_member.c - hamgr member add, member remove, config show.
 *
 * A member is one of all services or of none; each service has a record of its own, so each is
 * told. A command that was broken off half-way is simply given again. */
#include "cli/print.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT ":7420"

/* HOST is HOST:7420. */
void cli_full_address(const char *address, char ret[HM_ADDRESS_MAX + 8])
{
    const char *bracket = strchr(address, ']');
    bool has_port = strchr(bracket != NULL ? bracket : address, ':') != NULL;

    (void)snprintf(ret, HM_ADDRESS_MAX + 8, "%.*s%s", HM_ADDRESS_MAX, address,
                   has_port ? "" : DEFAULT_PORT);
}

/* --- one service after the other ---------------------------------------------------------------
 */

static void tell_done(struct cli *c, const char *name, const char *text, const char *next,
                      json_t *services)
{
    json_t *j;

    if ((c->given & CLI_JSON) == 0) {
        print_wrapped(c, PRINT_PLAIN, "", text);
        (void)fprintf(c->out, "  next: %s\n", next);
        json_decref(services);
        return;
    }
    j = json_pack("{s:i, s:s, s:s, s:s, s:o}", "rc", 0, "name", name, "text", text, "next", next,
                  "services", services);
    cli_print_json(c, j);
    json_decref(j);
}

/* The names of the services that are to be told; NULL: told why not. */
static json_t *services_of(struct cli *c)
{
    struct settings *settings = malloc(sizeof *settings);
    json_t *list = json_array();

    if (settings == NULL || !cli_load(c, settings)) {
        free(settings);
        json_decref(list);
        (void)cli_tell_failure(c, CTL_FAILED, "without settings hamgrd cannot be found",
                               "hamgr config check");
        return NULL;
    }
    for (size_t i = 0; i < settings->services_n; i++)
        (void)json_array_append_new(list, json_string(settings->service[i].name));
    free(settings);
    return list;
}

static enum ctl_exit order_each(struct cli *c, struct ctl_request *request, const json_t *services)
{
    const json_t *name;
    size_t i;

    request->timeout_ms = c->timeout_ms;
    json_array_foreach(services, i, name)
    {
        json_t *answer = NULL;
        enum ctl_exit rc;

        (void)snprintf(request->service, sizeof request->service, "%s", json_string_value(name));
        rc = cli_ask(c, request, &answer);
        json_decref(answer);
        if (rc != CTL_DONE)
            return rc;
    }
    return CTL_DONE;
}

/* --- member add --------------------------------------------------------------------------------
 */

enum ctl_exit cli_member_add(struct cli *c)
{
    struct ctl_request request = { .command = CTL_MEMBER_ADD };
    char address[HM_ADDRESS_MAX + 8], text[160];
    const char *role = c->role != NULL ? c->role : "db";
    json_t *services;
    enum ctl_exit rc;

    if (c->args_n != 2 || strlen(c->arg[0]) >= HM_NAME_MAX) {
        cli_complain(c, "'member add' wants a NAME and an ADDRESS: hamgr member add db3 "
                        "10.0.0.13:7420");
        return CTL_USAGE;
    }
    cli_full_address(c->arg[1], address);
    if (strlen(address) >= HM_ADDRESS_MAX || strlen(role) >= sizeof request.role) {
        cli_complain(c, "the address, or the role, is too long");
        return CTL_USAGE;
    }
    memcpy(request.name, c->arg[0], strlen(c->arg[0]) + 1);
    memcpy(request.address, address, strlen(address) + 1);
    memcpy(request.role, role, strlen(role) + 1);
    services = services_of(c);
    if (services == NULL)
        return CTL_FAILED;
    rc = order_each(c, &request, services);
    if (rc != CTL_DONE) {
        json_decref(services);
        return rc;
    }
    (void)snprintf(text, sizeof text, "%s (%s) is a member now", request.name, role);
    tell_done(c, request.name, text,
              "'hamgr status' shows it; 'hamgr config show' prints the settings that fit all "
              "members",
              services);
    return CTL_DONE;
}

/* --- member remove -----------------------------------------------------------------------------
 */

static bool names_member(const json_t *service, const char *name)
{
    const json_t *member;
    size_t i;

    json_array_foreach(json_object_get(service, "members"), i, member)
    {
        if (strcmp(print_text(member, "name"), name) == 0)
            return true;
    }
    return false;
}

/* The services that name the member; NULL: it leads one, or none names it, and that is told. */
static json_t *services_with(struct cli *c, const char *name, enum ctl_exit *ret_rc)
{
    struct ctl_request request = { .command = CTL_STATUS };
    json_t *answer = NULL, *list = json_array();
    const json_t *service;
    char text[160];
    size_t i;

    *ret_rc = cli_ask(c, &request, &answer);
    json_array_foreach(json_object_get(answer, "services"), i, service)
    {
        if (names_member(service, name))
            (void)json_array_append(list, json_object_get(service, "name"));
        if (strcmp(print_text(service, "holder"), name) != 0)
            continue;
        (void)snprintf(text, sizeof text, "%s is the primary of %s: it cannot be removed", name,
                       print_text(service, "name"));
        *ret_rc = cli_tell_failure(c, CTL_REFUSED, text, "hamgr switchover, then again");
        break;
    }
    if (*ret_rc == CTL_DONE && json_array_size(list) == 0) {
        (void)snprintf(text, sizeof text, "there is no member '%s'", name);
        *ret_rc = cli_tell_failure(c, CTL_USAGE, text, "'hamgr member list' shows the members");
    }
    json_decref(answer);
    if (*ret_rc == CTL_DONE)
        return list;
    json_decref(list);
    return NULL;
}

enum ctl_exit cli_member_remove(struct cli *c)
{
    struct ctl_request request = { .command = CTL_MEMBER_REMOVE };
    json_t *services;
    enum ctl_exit rc;
    char text[160];

    if (c->args_n != 1 || strlen(c->arg[0]) >= HM_NAME_MAX) {
        cli_complain(c, "'member remove' wants the NAME of a member");
        return CTL_USAGE;
    }
    memcpy(request.name, c->arg[0], strlen(c->arg[0]) + 1);
    services = services_with(c, request.name, &rc);
    if (services == NULL)
        return rc;
    rc = order_each(c, &request, services);
    if (rc != CTL_DONE) {
        json_decref(services);
        return rc;
    }
    (void)snprintf(text, sizeof text, "%s is no member any more; its replication slots are dropped",
                   request.name);
    tell_done(c, request.name, text,
              "stop hamgr there: systemctl disable --now hamgrd hamgr-fence (hamgr-witness on a "
              "witness)",
              services);
    return CTL_DONE;
}

/* --- config show -------------------------------------------------------------------------------
 */

enum ctl_exit cli_config_show(struct cli *c)
{
    struct ctl_request request = { .command = CTL_CONFIG };
    json_t *answer = NULL;
    enum ctl_exit rc = cli_ask(c, &request, &answer);

    if (answer == NULL)
        return rc;
    if ((c->given & CLI_JSON) != 0)
        cli_print_json(c, answer);
    else
        (void)fputs(print_text(answer, "conf"), c->out); /* main() looks whether it arrived */
    json_decref(answer);
    return rc;
}
