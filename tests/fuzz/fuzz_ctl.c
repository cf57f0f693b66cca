/* fuzz_ctl.c - requests of the control socket: whatever the bytes, they are refused or understood,
 * and what was understood can be made again. */
#include "wire/ctl.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctl_request request, again;
    json_t *parsed = NULL, *made;
    struct hm_err err;

    if (ctl_parse((const char *)data, size, &parsed, &err) != HM_OK)
        return 0;
    ctl_read(parsed, &request);
    json_decref(parsed);
    made = ctl_make(&request);
    if (made == NULL)
        abort();
    ctl_read(made, &again);
    json_decref(made);
    if (memcmp(&request, &again, sizeof again) != 0)
        abort();
    return 0;
}
