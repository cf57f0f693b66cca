#include "wire/ctl.h"

#include <stdio.h>
#include <string.h>

static const char *const command_names[] = {
#define X(name, text) [name] = text,
    CTL_COMMANDS(X)
#undef X
};

enum ctl_exit ctl_exit_of(enum hm_rc rc)
{
    switch (rc) {
    case HM_OK:
        return CTL_DONE;
    case HM_BAD_INPUT:
        return CTL_USAGE;
    case HM_REFUSED:
        return CTL_REFUSED;
    case HM_NO_QUORUM:
        return CTL_NO_QUORUM;
    case HM_TIMED_OUT:
        return CTL_TIMED_OUT;
    case HM_FAILED:
    case HM_NO_SPACE:
    case HM_RC_COUNT:
        break;
    }
    return CTL_FAILED;
}

const char *ctl_command_name(enum ctl_command c)
{
    return (unsigned)c < CTL_COMMANDS_N ? command_names[c] : "?";
}

json_t *ctl_text(const char *s)
{
    json_t *j = json_string(s);
    char text[1024];
    size_t n = 0;

    if (j != NULL)
        return j;
    for (; s[n] != '\0' && n < sizeof text; n++)
        text[n] = (unsigned char)s[n] < 0x80 ? s[n] : '?';
    return json_stringn(text, n);
}

static enum ctl_command find_command(const char *name)
{
    unsigned i = 0;

    while (i < CTL_COMMANDS_N && strcmp(command_names[i], name) != 0)
        i++;
    return (enum ctl_command)i;
}

/* --- each field: is its value one that it may have ------------------------------------------- */

static enum hm_rc check_command(const json_t *value, struct hm_err *err)
{
    if (!json_is_string(value))
        return hm_fail(err, HM_BAD_INPUT, "'command' is not a text");
    if (find_command(json_string_value(value)) == CTL_COMMANDS_N)
        return hm_fail(err, HM_BAD_INPUT, "unknown command '%.40s'", json_string_value(value));
    return HM_OK;
}

/* Whether it names something is for whoever obeys; here it must fit and be printable. */
static enum hm_rc check_name(const json_t *value, struct hm_err *err)
{
    const char *s = json_string_value(value);

    if (s == NULL)
        return hm_fail(err, HM_BAD_INPUT, "a name is not a text");
    if (*s == '\0' || strlen(s) >= HM_NAME_MAX)
        return hm_fail(err, HM_BAD_INPUT, "a name has 1 to %d letters", HM_NAME_MAX - 1);
    for (; *s != '\0'; s++)
        if (*s <= ' ' || *s > '~')
            return hm_fail(err, HM_BAD_INPUT, "a name has letters that no name may have");
    return HM_OK;
}

static enum hm_rc check_address(const json_t *value, struct hm_err *err)
{
    const char *s = json_string_value(value);

    if (s == NULL || *s == '\0' || strlen(s) >= HM_ADDRESS_MAX)
        return hm_fail(err, HM_BAD_INPUT, "an address is a text of 1 to %d letters",
                       HM_ADDRESS_MAX - 1);
    for (; *s != '\0'; s++)
        if (*s <= ' ' || *s > '~')
            return hm_fail(err, HM_BAD_INPUT, "an address has letters that no address may have");
    return HM_OK;
}

static enum hm_rc check_role(const json_t *value, struct hm_err *err)
{
    static const enum member_role roles[] = { ROLE_DB, ROLE_WITNESS, ROLE_OBSERVER };
    const char *s = json_string_value(value);

    for (size_t i = 0; s != NULL && i < HM_ARRAY_LEN(roles); i++)
        if (strcmp(s, member_role_name(roles[i])) == 0)
            return HM_OK;
    return hm_fail(err, HM_BAD_INPUT, "a role is 'db', 'witness' or 'observer'");
}

static enum hm_rc check_bool(const json_t *value, struct hm_err *err)
{
    return json_is_boolean(value) ? HM_OK
                                  : hm_fail(err, HM_BAD_INPUT, "a value is not true or false");
}

static enum hm_rc check_timeout(const json_t *value, struct hm_err *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > CTL_TIMEOUT_MAX_MS)
        return hm_fail(err, HM_BAD_INPUT, "a time is a number from 1 to %d", CTL_TIMEOUT_MAX_MS);
    return HM_OK;
}

static enum hm_rc check_names(const json_t *value, struct hm_err *err)
{
    const json_t *name;
    size_t i;

    if (!json_is_array(value) || json_array_size(value) > HM_MEMBERS_MAX)
        return hm_fail(err, HM_BAD_INPUT, "a list of names has at most %d", HM_MEMBERS_MAX);
    json_array_foreach(value, i, name)
    {
        enum hm_rc rc = check_name(name, err);

        if (rc != HM_OK)
            return rc;
    }
    return HM_OK;
}

static const struct {
    const char *key;
    enum hm_rc (*check)(const json_t *value, struct hm_err *err);
} fields[] = {
    { "command", check_command }, { "service", check_name }, { "to", check_name },
    { "cluster", check_name },    { "dry_run", check_bool }, { "timeout_ms", check_timeout },
    { "members", check_names },   { "name", check_name },    { "address", check_address },
    { "role", check_role },
};

static enum hm_rc check_field(const char *key, const json_t *value, struct hm_err *err)
{
    for (size_t i = 0; i < HM_ARRAY_LEN(fields); i++) {
        enum hm_rc rc;

        if (strcmp(fields[i].key, key) != 0)
            continue;
        rc = fields[i].check(value, err);
        if (rc != HM_OK)
            hm_wrap(err, "field '%s'", key);
        return rc;
    }
    return hm_fail(err, HM_BAD_INPUT, "unknown field '%.40s'", key);
}

enum hm_rc ctl_parse(const char *line, size_t size, json_t **ret_json, struct hm_err *err)
{
    enum hm_rc rc = HM_OK;
    json_error_t why;
    json_t *request, *value;
    const char *key;

    if (size > CTL_REQUEST_MAX)
        return hm_fail(err, HM_BAD_INPUT, "a request has at most %d bytes", CTL_REQUEST_MAX);
    request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &why);
    if (request == NULL)
        return hm_fail(err, HM_BAD_INPUT, "the request is no JSON: %s", why.text);
    if (!json_is_object(request))
        rc = hm_fail(err, HM_BAD_INPUT, "the request is no JSON object");
    else if (json_object_get(request, "command") == NULL)
        rc = hm_fail(err, HM_BAD_INPUT, "the request names no command");
    else
        json_object_foreach(request, key, value)
        {
            rc = check_field(key, value, err);
            if (rc != HM_OK)
                break;
        }
    if (rc != HM_OK)
        json_decref(request);
    else
        *ret_json = request;
    return rc;
}

static void copy_text(char *to, size_t size, const json_t *value)
{
    const char *s = json_string_value(value);

    (void)snprintf(to, size, "%s", s != NULL ? s : "");
}

void ctl_read(const json_t *request, struct ctl_request *ret)
{
    const json_t *members;

    memset(ret, 0, sizeof *ret);
    ret->command = find_command(json_string_value(json_object_get(request, "command")));
    copy_text(ret->service, sizeof ret->service, json_object_get(request, "service"));
    copy_text(ret->to, sizeof ret->to, json_object_get(request, "to"));
    copy_text(ret->name, sizeof ret->name, json_object_get(request, "name"));
    copy_text(ret->address, sizeof ret->address, json_object_get(request, "address"));
    copy_text(ret->role, sizeof ret->role, json_object_get(request, "role"));
    copy_text(ret->cluster, sizeof ret->cluster, json_object_get(request, "cluster"));
    ret->is_dry_run = json_is_true(json_object_get(request, "dry_run"));
    ret->timeout_ms = json_integer_value(json_object_get(request, "timeout_ms"));
    members = json_object_get(request, "members");
    ret->members_n = json_array_size(members);
    for (size_t i = 0; i < ret->members_n; i++)
        copy_text(ret->member[i], sizeof ret->member[i], json_array_get(members, i));
}

json_t *ctl_make(const struct ctl_request *request)
{
    json_t *j = json_object(), *members = json_array();
    int rc;

    rc = json_object_set_new(j, "command", json_string(ctl_command_name(request->command)));
    if (request->service[0] != '\0')
        rc |= json_object_set_new(j, "service", json_string(request->service));
    if (request->to[0] != '\0')
        rc |= json_object_set_new(j, "to", json_string(request->to));
    if (request->cluster[0] != '\0')
        rc |= json_object_set_new(j, "cluster", json_string(request->cluster));
    if (request->name[0] != '\0')
        rc |= json_object_set_new(j, "name", json_string(request->name));
    if (request->address[0] != '\0')
        rc |= json_object_set_new(j, "address", json_string(request->address));
    if (request->role[0] != '\0')
        rc |= json_object_set_new(j, "role", json_string(request->role));
    if (request->is_dry_run)
        rc |= json_object_set_new(j, "dry_run", json_true());
    if (request->timeout_ms != 0)
        rc |= json_object_set_new(j, "timeout_ms", json_integer(request->timeout_ms));
    for (size_t i = 0; i < request->members_n; i++)
        rc |= json_array_append_new(members, json_string(request->member[i]));
    if (request->members_n != 0)
        rc |= json_object_set(j, "members", members);
    json_decref(members);
    if (rc == 0)
        return j;
    json_decref(j);
    return NULL;
}
