/* guest.h - one question to a member, by somebody who has the cluster's key and is no member yet.
 *
 * A guest does not know the cluster's name: its identity in the handshake is GUEST_IDENTITY, which
 * a hub takes for its cluster if it has only one. It says HELLO as "guest-...", asks, hears the
 * answer, and goes. For the command line: it blocks, within its time limit. */
#ifndef HAMGR_NET_GUEST_H
#define HAMGR_NET_GUEST_H

#include "base/err.h"
#include "wire/wire.h"

#define GUEST_IDENTITY "*"

struct guest_answer {
    char cluster[HM_NAME_MAX]; /* as the member's HELLO said */
    char from[HM_NAME_MAX];
    char software[24];
    uint32_t version;              /* of the wire; see WIRE_VERSION */
    unsigned services_n;           /* 0: a witness, which answers nothing */
    char own_host[HM_ADDRESS_MAX]; /* the address from which the member was reached */
    char text[WIRE_TEXT_MAX + 1];  /* the answer, JSON */
};

/* Asks the member at HOST:PORT.
 *
 * key       32 bytes.
 * question  JSON, as between members.
 * ret       overwritten; on failure it holds what was heard before.
 *
 * HM_FAILED: not reached, or not understood. HM_REFUSED: the key is another one, or it is a
 * witness. HM_TIMED_OUT. */
enum hm_rc guest_ask(const char *address, const uint8_t *key, const char *question, hm_ms limit_ms,
                     struct guest_answer *ret, struct hm_err *err) HM_MUST_CHECK;

#endif
