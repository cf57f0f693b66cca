/* fuzz_info.c - any bytes as an answer to INFO: either what is missing is named, or the struct is
 * one that every other part can rely on. */
#include "redis/info.h"

#include "core/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool is_so)
{
    if (!is_so)
        abort();
}

static void want_text(const char *text, size_t size)
{
    want(memchr(text, '\0', size) != NULL);
}

static void want_id(const char *id)
{
    want(strlen(id) == INFO_ID_SIZE - 1);
    want((info_timeline(id) & HM_TIMELINE_OPEN) == 0 && info_timeline(id) != 0);
    want(info_copy_id(id, 0) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of its own, so that reading behind it is seen */
    const char *why = NULL;
    struct info info;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    if (!info_parse(text, size, &info, &why)) {
        want(why != NULL && strncmp(why, "INFO does not tell ", 19) == 0);
        free(text);
        return 0;
    }
    free(text);
    want_id(info.run_id);
    want_id(info.replication_id);
    want_id(info.second_id);
    want_text(info.version, sizeof info.version);
    want_text(info.master_host, sizeof info.master_host);
    want(info.pid > 0 && info.second_offset >= -1);
    want(info.master_offset <= INT64_MAX && info.replica_offset <= INT64_MAX);
    want(info.replicas_n <= INFO_REPLICAS_MAX);
    want(!info.is_master || info.replica_offset == info.master_offset);
    want(!info.is_loading || !info_is_whole(&info));
    for (size_t i = 0; i < info.replicas_n; i++) {
        want_text(info.replica[i].address, sizeof info.replica[i].address);
        want(info.replica[i].address[0] != '\0');
    }
    return 0;
}
