/* report_twin.c - two hosts that say to be one member, and what to do about it. */
#include "daemon/report_inner.h"

#include <stdio.h>

bool report_twin(const struct report *r, unsigned i, char line[REPORT_WARNING_SIZE])
{
    struct link_twin t;

    if (r->links == NULL || !link_twin(r->links, i, &t))
        return false;
    if (t.is_self) /* cut at the end at worst */
        (void)snprintf(
            line, REPORT_WARNING_SIZE,
            "another host, %.39s, says it is %.31s, too: this one does not vote; if this is "
            "the copy, stop hamgrd here, empty state_dir and data_dir, and 'hamgr join' "
            "under a new name",
            t.other, t.name);
    else
        (void)snprintf(
            line, REPORT_WARNING_SIZE,
            "two hosts say they are %.31s: %.39s, which is heard, and %.39s: stop hamgrd on the "
            "copy, empty its state_dir and data_dir, and 'hamgr join' under a new name",
            t.name, t.host, t.other);
    return true;
}
