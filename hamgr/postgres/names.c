#include "postgres/inner.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* The value that no standby can satisfy: nobody may be called so. */
#define NOBODY "ANY 1 (\"hamgr nobody\")"

/* --- replication slots ----------------------------------------------------------------------- */

static bool is_slot_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* FNV-1a, folded to 16 bits: tells names apart that look alike in the letters of a slot. */
static unsigned int fold(const char *name)
{
    uint32_t sum = 2166136261u;

    for (; *name != 0; name++)
        sum = (sum ^ (unsigned char)*name) * 16777619u;
    return (sum ^ sum >> 16) & 0xffff;
}

/* "hamgr_MEMBER_": with a few digits more when letters had to be changed. Never longer than 44
 * characters, so that the copy's id fits into the 63 that a name may have. */
static void slot_prefix(char *buffer, size_t size, const char *member)
{
    char letters[HM_NAME_MAX];
    bool is_changed = false;
    size_t n = 0;

    for (; member[n] != 0 && n + 1 < sizeof letters; n++) {
        letters[n] = is_slot_letter(member[n]) ? member[n] : '_';
        is_changed |= letters[n] != member[n];
    }
    letters[n] = 0;
    if (is_changed)
        (void)snprintf(buffer, size, "hamgr_%s_%04x_", letters, fold(member));
    else
        (void)snprintf(buffer, size, "hamgr_%s_", letters);
}

void postgres_slot_name(char *buffer, size_t size, const char *member, uint64_t copy_id)
{
    char prefix[64];

    slot_prefix(prefix, sizeof prefix, member);
    (void)snprintf(buffer, size, "%s%016llx", prefix, (unsigned long long)copy_id);
}

static bool parse_hex(const char *text, uint64_t *ret)
{
    uint64_t number = 0;

    for (unsigned int i = 0; i < 16; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number = number << 4 | (uint64_t)(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'f')
            number = number << 4 | (uint64_t)(text[i] - 'a' + 10);
        else
            return false;
    }
    *ret = number;
    return text[16] == 0;
}

bool postgres_slot_parse(const struct record *r, const char *slot_name, uint8_t *ret_slot,
                         uint64_t *ret_copy_id)
{
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        char prefix[64];
        uint64_t copy_id;

        if (r->member[slot].role == ROLE_NONE)
            continue;
        slot_prefix(prefix, sizeof prefix, r->member[slot].name);
        if (strncmp(slot_name, prefix, strlen(prefix)) != 0 ||
            !parse_hex(slot_name + strlen(prefix), &copy_id))
            continue;
        *ret_slot = slot;
        *ret_copy_id = copy_id;
        return true;
    }
    return false;
}

/* --- synchronous_standby_names --------------------------------------------------------------- */

static void add_quoted(struct text *t, const char *name)
{
    text_add(t, "\"hamgr_");
    for (; *name != 0; name++) {
        if (*name == '"')
            text_add_char(t, '"');
        text_add_char(t, *name);
    }
    text_add_char(t, '"');
}

/* In the order of the slots, so that the same pair always gives the same text. */
static bool pair_value(const struct record *r, const struct pair *pair, struct text *t)
{
    unsigned int n = 0;

    text_add(t, "ANY ");
    text_add_u64(t, pair->need);
    text_add(t, " (");
    for (uint8_t slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        for (unsigned int i = 0; i < pair->n; i++) {
            if (pair->copies[i].member != slot)
                continue;
            if (r->member[slot].role == ROLE_NONE)
                return false;
            text_add(t, n++ > 0 ? ", " : "");
            add_quoted(t, r->member[slot].name);
        }
    }
    text_add(t, ")");
    return n > 0;
}

bool postgres_names_value(const struct record *r, enum names_state names, const struct pair *pair,
                          char *buffer, size_t size)
{
    struct text t;
    bool is_known = true;

    text_init(&t, buffer, size);
    switch (names) {
    case NAMES_EMPTY:
        break;
    case NAMES_NOBODY:
        text_add(&t, NOBODY);
        break;
    case NAMES_PAIR:
        is_known = pair_is_alone(pair) || pair_value(r, pair, &t);
        break;
    case NAMES_UNKNOWN:
        is_known = false;
        break;
    }
    return is_known && !t.is_truncated;
}

enum names_state postgres_names_state(const char *value)
{
    if (value[0] == 0)
        return NAMES_EMPTY;
    return strcmp(value, NOBODY) == 0 ? NAMES_NOBODY : NAMES_PAIR;
}
