#include "witness/agree.h"

#include "base/bytes.h"

#include <string.h>

/* Sums over fields, so that padding and what stands behind a name's end do not count. */
static uint64_t add_number(uint64_t sum, uint64_t number)
{
    uint8_t low_first[8];

    for (unsigned i = 0; i < 8; i++)
        low_first[i] = (uint8_t)(number >> (8 * i));
    return bytes_sum_on(sum, low_first, sizeof low_first);
}

static uint64_t add_text(uint64_t sum, const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    return bytes_sum_on(add_number(sum, length), text, length);
}

static uint64_t never_zero(uint64_t sum)
{
    return sum != 0 ? sum : 1;
}

uint64_t agree_name(const char *service, enum service_kind kind)
{
    return never_zero(add_number(add_text(BYTES_SUM_BEGIN, service, HM_NAME_MAX), kind));
}

/* Addresses may differ: a member may be reached on different ways by different others. */
static uint64_t first_digest(const struct record *r, const char *own_name)
{
    uint64_t sum = add_text(BYTES_SUM_BEGIN, own_name, HM_NAME_MAX);

    sum = add_number(sum, r->cluster);
    sum = add_number(sum, r->cluster_incarnation);
    sum = add_number(sum, r->service);
    sum = add_number(sum, (uint64_t)r->ttl_ms);
    sum = add_number(sum, (uint64_t)r->heartbeat_ms);
    sum = add_number(sum, r->durability);
    sum = add_number(sum, r->goal);
    sum = add_number(sum, r->sync_standbys);
    sum = add_number(sum, r->max_lag_bytes);
    sum = add_number(sum, r->voters);
    for (unsigned slot = 0; slot < HM_MEMBERS_MAX; slot++) {
        sum = add_number(sum, r->member[slot].role);
        if (r->member[slot].role != ROLE_NONE)
            sum = add_text(sum, r->member[slot].name, HM_NAME_MAX);
    }
    return sum;
}

struct said agree_said(const struct wire_hello *hello, uint8_t number)
{
    struct said said = { 0, 0 };

    if (number >= hello->services_n)
        return said;
    said.name = agree_name(hello->service[number].name, hello->service[number].first.kind);
    if (hello->service[number].first.epoch == 0)
        said.first = never_zero(first_digest(&hello->service[number].first, hello->to));
    return said;
}

struct agreement agree_find(const struct said *said, size_t n)
{
    struct agreement a = { .is_on_name = true, .is_on_first = true };
    uint64_t first = 0;

    for (size_t i = 0; i < n; i++) {
        if (said[i].name == 0)
            continue;
        if (a.sayers++ == 0)
            a.name = said[i].name;
        if (first == 0)
            first = said[i].first;
        a.is_on_name = a.is_on_name && said[i].name == a.name;
        a.is_on_first = a.is_on_first && (said[i].first == 0 || said[i].first == first);
        a.has_record = a.has_record || said[i].first == 0;
    }
    /* Where there is a cluster, nobody begins one: the files need not agree about it any more. */
    a.is_on_first = (a.is_on_first || a.has_record) && a.is_on_name;
    return a;
}

const char *agree_fault(const struct wire_hello *hello, uint8_t number, uint64_t cluster_id)
{
    const struct wire_service *service = &hello->service[number];

    if (service->first.cluster != cluster_id)
        return "its first record is of another cluster";
    if (service->first.service != number)
        return "its first record has another number";
    if (service->first.heartbeat_ms < 1 || service->first.ttl_ms < 2 * service->first.heartbeat_ms)
        return "its first record has no timing";
    for (uint8_t i = 0; i < hello->services_n; i++)
        if (i != number && strncmp(hello->service[i].name, service->name, HM_NAME_MAX) == 0)
            return "it is named twice";
    return NULL;
}
