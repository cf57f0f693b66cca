#include "settings/reader.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 60, WHY_MAX = 160 };

/* --- what stands in the file --------------------------------------------------------------------
 */

const char *value_describe(const config_setting_t *value, char *text, size_t size)
{
    const char *string;

    switch (config_setting_type(value)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        (void)snprintf(text, size, "the number %lld", config_setting_get_int64(value));
        break;
    case CONFIG_TYPE_FLOAT:
        (void)snprintf(text, size, "the number %g", config_setting_get_float(value));
        break;
    case CONFIG_TYPE_STRING:
        string = config_setting_get_string(value);
        (void)snprintf(text, size, "the text '%.*s'", SHOWN_MAX, string != NULL ? string : "");
        break;
    case CONFIG_TYPE_BOOL:
        (void)snprintf(text, size, "%s", config_setting_get_bool(value) ? "true" : "false");
        break;
    case CONFIG_TYPE_GROUP:
        (void)snprintf(text, size, "a group in { }");
        break;
    case CONFIG_TYPE_ARRAY:
        (void)snprintf(text, size, "an array in [ ]");
        break;
    default:
        (void)snprintf(text, size, "a list in ( )");
        break;
    }
    return text;
}

static const char *wanted(enum schema_type type)
{
    switch (type) {
    case TYPE_NUMBER:
        return "a number";
    case TYPE_SIZE:
        return "a number of bytes or a text like \"16MB\"";
    case TYPE_BOOL:
        return "true or false";
    case TYPE_LIST:
        return "a list in ( )";
    case TYPE_NAME:
    case TYPE_TEXT:
    case TYPE_PATH:
    case TYPE_ADDRESS:
    case TYPE_CHOICE:
    case TYPE_CONTROL:
        break;
    }
    return "a text in quotes";
}

static bool is_of_type(const config_setting_t *value, enum schema_type type)
{
    bool is_text = config_setting_type(value) == CONFIG_TYPE_STRING;
    bool is_whole = config_setting_type(value) == CONFIG_TYPE_INT ||
                    config_setting_type(value) == CONFIG_TYPE_INT64;

    switch (type) {
    case TYPE_NUMBER:
        return is_whole;
    case TYPE_SIZE:
        return is_whole || is_text;
    case TYPE_BOOL:
        return config_setting_type(value) == CONFIG_TYPE_BOOL;
    case TYPE_LIST:
        return config_setting_type(value) == CONFIG_TYPE_LIST;
    case TYPE_NAME:
    case TYPE_TEXT:
    case TYPE_PATH:
    case TYPE_ADDRESS:
    case TYPE_CHOICE:
    case TYPE_CONTROL:
        break;
    }
    return is_text;
}

/* --- numbers ------------------------------------------------------------------------------------
 */

/* The field's own width decides; the range in the schema keeps the number within it. */
static void store_number(const struct setting *row, void *field, int64_t number)
{
    int16_t number16 = (int16_t)number;
    int32_t number32 = (int32_t)number;
    int8_t number8 = (int8_t)number;

    switch (row->size) {
    case sizeof number8:
        memcpy(field, &number8, sizeof number8);
        break;
    case sizeof number16:
        memcpy(field, &number16, sizeof number16);
        break;
    case sizeof number32:
        memcpy(field, &number32, sizeof number32);
        break;
    default:
        HM_BUG_ON(row->size != sizeof number);
        memcpy(field, &number, sizeof number);
        break;
    }
}

/* As shown, so that "9TB" is not answered in bytes. */
static bool take_number(const struct setting *row, int64_t number, const char *shown, void *field,
                        char *why)
{
    static const char *const unit[] = { "", "kB", "MB", "GB", "TB" };
    bool is_low = number < row->min;
    int64_t limit = is_low ? row->min : row->max;
    size_t u = 0;

    if (!is_low && number <= row->max) {
        store_number(row, field, number);
        return true;
    }
    for (; row->type == TYPE_SIZE && u + 1 < HM_ARRAY_LEN(unit) && limit != 0 && limit % 1024 == 0;
         u++)
        limit /= 1024;
    (void)snprintf(why, WHY_MAX, "%s is %s %" PRId64 "%s", shown,
                   is_low ? "below the minimum" : "above the maximum", limit, unit[u]);
    return false;
}

/* "16MB" in bytes, saturated; -1 if it is no size. */
static int64_t parse_size(const char *text)
{
    static const struct {
        const char *name;
        unsigned int shift;
    } units[] = { { "", 0 }, { "b", 0 }, { "kb", 10 }, { "mb", 20 }, { "gb", 30 }, { "tb", 40 } };
    int64_t number = 0;
    size_t i = 0;

    for (; isdigit((unsigned char)text[i]); i++)
        number = number > INT64_MAX / 10 - 1 ? INT64_MAX / 10 : number * 10 + (text[i] - '0');
    if (i == 0)
        return -1;
    if (text[i] == ' ')
        i++;
    for (size_t u = 0; u < HM_ARRAY_LEN(units); u++)
        if (strcasecmp(text + i, units[u].name) == 0)
            return number > (INT64_MAX >> units[u].shift) ? INT64_MAX : number << units[u].shift;
    return -1;
}

static bool take_size(const struct setting *row, const char *text, void *field, char *why)
{
    char shown[SHOWN_MAX];
    int64_t number = parse_size(text);

    (void)snprintf(shown, sizeof shown, "%s", text);
    if (number >= 0)
        return take_number(row, number, shown, field, why);
    (void)snprintf(why, WHY_MAX, "'%s' is no size: write bytes, or a number with kB, MB, GB or TB",
                   shown);
    return false;
}

/* --- texts --------------------------------------------------------------------------------------
 */

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

bool value_is_name(const char *text, char *why)
{
    for (const char *c = text; *c != '\0'; c++)
        if (!is_name_char(*c)) {
            (void)snprintf(why, WHY_MAX,
                           "'%.*s' has something else than letters, digits, '.', '_' and '-'",
                           SHOWN_MAX, text);
            return false;
        }
    if (!isalnum((unsigned char)text[0])) {
        (void)snprintf(why, WHY_MAX, "'%s' does not begin with a letter or a digit", text);
        return false;
    }
    return true;
}

static bool is_path(const char *text, char *why)
{
    if (text[0] == '/')
        return true;
    (void)snprintf(why, WHY_MAX, "'%.*s' does not begin with '/'", SHOWN_MAX, text);
    return false;
}

static bool is_host(const char *host, char *why)
{
    struct in_addr in;
    const char *c = host;

    for (; isalnum((unsigned char)*c) || *c == '.' || *c == '-' || *c == '_'; c++)
        ;
    if (*c != '\0' || host[0] == '-' || host[0] == '.') {
        (void)snprintf(why, WHY_MAX, "'%s' is neither the name nor the address of a host", host);
        return false;
    }
    if (strspn(host, "0123456789.") == strlen(host) && inet_pton(AF_INET, host, &in) != 1) {
        (void)snprintf(why, WHY_MAX, "'%s' is no IPv4 address", host);
        return false;
    }
    return true;
}

static bool is_ipv6(const char *host, char *why)
{
    char plain[HM_ADDRESS_MAX];
    struct in6_addr in;
    size_t n = strcspn(host, "%"); /* fe80::1%eth0: the link stands behind the address */

    (void)snprintf(plain, sizeof plain, "%.*s", (int)n, host);
    if (inet_pton(AF_INET6, plain, &in) == 1 &&
        (host[n] == '\0' ||
         (host[n + 1] != '\0' &&
          strspn(host + n + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR"
                               "STUVWXYZ0123456789._-") == strlen(host) - n - 1)))
        return true;
    (void)snprintf(why, WHY_MAX, "'%s' is no IPv6 address", host);
    return false;
}

static bool split_port(const char *address, const char *text, uint16_t *ret_port, char *why)
{
    unsigned int port = 0;
    size_t n = strlen(text);

    for (size_t i = 0; i < n && n <= 5 && isdigit((unsigned char)text[i]); i++)
        port = port * 10 + (unsigned int)(text[i] - '0');
    if (n < 1 || n > 5 || strspn(text, "0123456789") != n || port < 1 || port > UINT16_MAX) {
        (void)snprintf(why, WHY_MAX, "the port of '%s' is no number from 1 to 65535", address);
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

bool value_split_address(const char *address, char *ret_host, size_t host_size, uint16_t *ret_port,
                         char *why, size_t why_size)
{
    char shown[HM_ADDRESS_MAX], host[HM_ADDRESS_MAX];
    bool has_brackets = address[0] == '[';
    const char *colon = has_brackets ? strstr(address, "]:") : strchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) - has_brackets : 0;

    HM_BUG_ON(why_size < WHY_MAX);
    (void)snprintf(shown, sizeof shown, "%s", address);
    if (!has_brackets && colon != NULL && strchr(colon + 1, ':') != NULL) {
        (void)snprintf(why, why_size, "'%s': an IPv6 address stands in brackets: [HOST]:PORT",
                       shown);
        return false;
    }
    if (n == 0 || n >= sizeof host || n >= host_size) {
        (void)snprintf(why, why_size, "'%s' is not HOST:PORT", shown);
        return false;
    }
    memcpy(host, address + has_brackets, n);
    host[n] = '\0';
    if (!(has_brackets ? is_ipv6(host, why) : is_host(host, why)) ||
        !split_port(shown, colon + 1 + has_brackets, ret_port, why))
        return false;
    memcpy(ret_host, host, n + 1);
    return true;
}

static bool is_address(const char *text, char *why)
{
    char host[HM_ADDRESS_MAX];
    uint16_t port;

    return value_split_address(text, host, sizeof host, &port, why, WHY_MAX);
}

static bool is_unit(const char *unit, char *why)
{
    static const char signs[] = ":-_.\\@";
    const char *c = unit;

    for (; isalnum((unsigned char)*c) || (*c != '\0' && strchr(signs, *c) != NULL); c++)
        ;
    if (unit[0] != '\0' && unit[0] != '-' && unit[0] != '.' && *c == '\0')
        return true;
    (void)snprintf(why, WHY_MAX, "'%.*s' is no name of a unit", SHOWN_MAX, unit);
    return false;
}

/* row->preset is what starts a server without a unit. */
static bool take_control(const struct setting *row, const char *text,
                         struct settings_service *service, char *why)
{
    static const char prefix[] = "systemd:", suffix[] = ".service";
    const char *unit = text + sizeof prefix - 1;
    size_t n;

    if (strcmp(text, row->preset) == 0) {
        service->control = CONTROL_DIRECT;
        return true;
    }
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        (void)snprintf(why, WHY_MAX, "'%.*s' is neither '%s' nor 'systemd:UNIT'", SHOWN_MAX, text,
                       row->preset);
        return false;
    }
    if (!is_unit(unit, why))
        return false;
    n = strlen(unit);
    if (n > sizeof suffix - 1 && strcmp(unit + n - (sizeof suffix - 1), suffix) == 0)
        n -= sizeof suffix - 1; /* so that the same unit is the same text */
    if (n >= sizeof service->unit) {
        (void)snprintf(why, WHY_MAX, "the unit's name is longer than %zu characters",
                       sizeof service->unit - 1);
        return false;
    }
    service->control = CONTROL_SYSTEMD;
    memcpy(service->unit, unit, n);
    service->unit[n] = '\0';
    return true;
}

static bool take_choice(const struct setting *row, const char *text, void *field, char *why)
{
    size_t used;

    for (const struct schema_choice *c = row->choices; c->text != NULL; c++)
        if (strcmp(c->text, text) == 0) {
            store_number(row, field, c->value);
            return true;
        }
    used = (size_t)snprintf(why, WHY_MAX, "'%.*s' is none of:", SHOWN_MAX, text);
    for (const struct schema_choice *c = row->choices; c->text != NULL && used < WHY_MAX; c++)
        used += (size_t)snprintf(why + used, WHY_MAX - used, "%s %s", c == row->choices ? "" : ",",
                                 c->text);
    return false;
}

static bool take_text(const struct setting *row, const char *text, char *field, char *why)
{
    size_t most = row->max > 0 ? (size_t)row->max : row->size - 1;
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i])) {
            (void)snprintf(why, WHY_MAX, "has a control character");
            return false;
        }
    if (n > most) {
        (void)snprintf(why, WHY_MAX, "'%.*s...' is longer than %zu characters", SHOWN_MAX / 2, text,
                       most);
        return false;
    }
    if ((row->type == TYPE_NAME && !value_is_name(text, why)) ||
        (row->type == TYPE_PATH && !is_path(text, why)) ||
        (row->type == TYPE_ADDRESS && !is_address(text, why)))
        return false;
    for (; row->type == TYPE_PATH && n > 1 && text[n - 1] == '/'; n--)
        ; /* so that the same directory is the same text */
    memcpy(field, text, n);
    field[n] = '\0';
    return true;
}

/* --- one value ----------------------------------------------------------------------------------
 */

/* Takes a text in any form that a text may have; false: why. */
static bool take_string(const struct setting *row, const char *text, void *target, char *why)
{
    char *field = (char *)target + row->offset;

    if (text[0] == '\0') {
        (void)snprintf(why, WHY_MAX, "is empty");
        return false;
    }
    if (row->type == TYPE_SIZE)
        return take_size(row, text, field, why);
    if (row->type == TYPE_CHOICE)
        return take_choice(row, text, field, why);
    if (row->type == TYPE_CONTROL)
        return take_control(row, text, target, why);
    return take_text(row, text, field, why);
}

void value_take(struct reader *r, const struct setting *row, const config_setting_t *value,
                void *target)
{
    char *field = (char *)target + row->offset;
    unsigned int line = config_setting_source_line(value);
    char why[WHY_MAX], shown[WHY_MAX];
    const char *text;
    bool is_good;

    if (!is_of_type(value, row->type)) {
        reader_error(r, line, "%s: expected %s, found %s", row->path, wanted(row->type),
                     value_describe(value, shown, sizeof shown));
        memset(field, 0, row->size);
        return;
    }
    if (config_setting_type(value) == CONFIG_TYPE_STRING) {
        text = config_setting_get_string(value);
        is_good = take_string(row, text != NULL ? text : "", target, why);
    } else if (row->type == TYPE_BOOL) {
        *(bool *)field = config_setting_get_bool(value) != 0;
        is_good = true;
    } else {
        (void)snprintf(shown, sizeof shown, "%lld", config_setting_get_int64(value));
        is_good = take_number(row, config_setting_get_int64(value), shown, field, why);
    }
    if (!is_good) {
        reader_error(r, line, "%s: %s", row->path, why);
        memset(field, 0, row->size);
    }
}

void value_take_preset(const struct setting *row, void *target)
{
    char *field = (char *)target + row->offset;
    char why[WHY_MAX];
    bool is_good = true;

    if (row->type == TYPE_BOOL)
        *(bool *)field = strcmp(row->preset, "true") == 0;
    else if (row->type == TYPE_NUMBER)
        is_good = take_number(row, strtoll(row->preset, NULL, 10), row->preset, field, why);
    else
        is_good = take_string(row, row->preset, target, why);
    HM_BUG_ON(!is_good); /* a default that its own row refuses */
}
