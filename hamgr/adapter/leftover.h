/* leftover.h - programs that a former life of this one started and that outlived it.
 *
 * A child dies with hamgrd, but what the child itself started need not. Such a program goes on
 * writing to what the next attempt has just begun. So what may do that carries a mark in its
 * environment, which its own children inherit. Blocks: from a worker's job only. */
#ifndef HAMGR_ADAPTER_LEFTOVER_H
#define HAMGR_ADAPTER_LEFTOVER_H

#include "base/err.h"

/* Kills every process of this user with NAME=VALUE in its environment, and waits for their end.
 * HM_TIMED_OUT: one is still there. HM_FAILED: /proc cannot be read. */
enum hm_rc leftover_end(const char *mark, hm_ms limit_ms, unsigned int *ret_n,
                        struct hm_err *err) HM_MUST_CHECK;

#endif
