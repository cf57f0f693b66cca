/* agree.h - do the members of a cluster say the same about its services? Pure.
 *
 * A witness knows the first record of a cluster only from its members. Two members with different
 * files could each begin a cluster of its own, and one vote for both would be two writers. */
#ifndef WITNESS_AGREE_H
#define WITNESS_AGREE_H

#include "wire/wire.h"

/* What one member said about one service, as digests; name 0: nothing. */
struct said {
    uint64_t name;  /* of its name and kind */
    uint64_t first; /* of the record that a new cluster would begin with, and of our name; 0: it
                     * begins none, because it has a record or waits to be added */
};

/* What this HELLO says about the service with that number. */
struct said agree_said(const struct wire_hello *hello, uint8_t number);
/* Never 0. */
uint64_t agree_name(const char *service, enum service_kind kind);

struct agreement {
    unsigned sayers;
    bool is_on_name;  /* all that said something said the same name */
    bool is_on_first; /* ... and the same first record, as far as they begin one */
    bool has_record;  /* some begin none: there is a cluster already */
    uint64_t name;    /* of the first one that said something */
};
/* Of the members in said[n]. */
struct agreement agree_find(const struct said *said, size_t n);

/* NULL, or what is wrong with a service in a HELLO whatever others say (a constant). */
const char *agree_fault(const struct wire_hello *hello, uint8_t number, uint64_t cluster_id);

#endif
