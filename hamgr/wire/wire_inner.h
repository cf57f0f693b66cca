/* wire_inner.h - what the files of wire.h share: single values, enums and records, both ways.
 *
 * Writing fills structs of protobuf-c that point into each other and into what they were made of;
 * reading checks each value before it is stored. A fault is noted in *why, the first one stays. */
#ifndef HAMGR_WIRE_WIRE_INNER_H
#define HAMGR_WIRE_WIRE_INNER_H

#include "wire/hamgr.pb-c.h"
#include "wire/wire.h"

/* --- values ---------------------------------------------------------------------------------- */

enum wire_enum {
    WIRE_ENUM_MSG_TYPE,
    WIRE_ENUM_REFUSAL,
    WIRE_ENUM_COPY_STATE,
    WIRE_ENUM_ROLE,
    WIRE_ENUM_KIND,
    WIRE_ENUM_DURABILITY,
    WIRE_ENUM_SWITCH_PHASE,
    WIRE_ENUM_CHANGE_REASON,
    WIRE_ENUMS_N
};

void wire_note(const char **why, const char *what);

/* The number in a frame of a value of ours, which must exist: anything else is a bug. */
unsigned wire_put_enum(enum wire_enum e, unsigned value);
/* The value of ours; a number of a newer version is a fault. */
unsigned wire_get_enum(enum wire_enum e, unsigned number, const char **why);

uint8_t wire_get_u8(uint32_t number, const char **why);
uint16_t wire_get_u16(uint32_t number, const char **why);
int16_t wire_get_i16(int32_t number, const char **why);

/* A text ends at its NUL or fills its array; borrowed. */
ProtobufCBinaryData wire_put_text(const char *text, size_t size);
/* Fills the array up with NULs. Too long, or with a NUL inside: a fault, never cut. */
void wire_get_text(const ProtobufCBinaryData *in, char *text, size_t size, const char **why);

/* NULL when all of it is zero. */
Hamgr__Ballot *wire_put_ballot(Hamgr__Ballot *out, const struct ballot *b);
struct ballot wire_get_ballot(const Hamgr__Ballot *in, const char **why);
Hamgr__Position *wire_put_position(Hamgr__Position *out, const struct position *p);
struct position wire_get_position(const Hamgr__Position *in);

/* --- records --------------------------------------------------------------------------------- */

/* A record as protobuf-c wants it. About 7 KiB. */
struct wire_record {
    Hamgr__Record record;
    Hamgr__Position last_known;
    Hamgr__Switchover switchover;
    Hamgr__Pair pair[HM_PAIRS_MAX], *pairs[HM_PAIRS_MAX];
    Hamgr__CopyName copy[HM_PAIRS_MAX][HM_MEMBERS_MAX], *copies[HM_PAIRS_MAX][HM_MEMBERS_MAX];
    Hamgr__Timeline timeline[HM_TIMELINES_MAX], *timelines[HM_TIMELINES_MAX];
    Hamgr__Member member[HM_MEMBERS_MAX], *members[HM_MEMBERS_MAX];
    Hamgr__Change change[HM_CHANGES_MAX], *changes[HM_CHANGES_MAX];
};

/* Points into *out and into *r. */
Hamgr__Record *wire_put_record(struct wire_record *out, const struct record *r);
/* Overwrites *ret whole. What record_check() asks for is the caller's business. */
void wire_get_record(const Hamgr__Record *in, struct record *ret, const char **why);

/* --- memory ---------------------------------------------------------------------------------- */

/* Gives the arena of the storage to protobuf-c; what it gives back is not used again before the
 * next call of this. */
ProtobufCAllocator wire_arena(struct wire_storage *storage);

#endif
