/* salvage.h - what a copy has alone is set aside before a rebuild overwrites it. */
#ifndef HAMGR_POSTGRES_SALVAGE_H
#define HAMGR_POSTGRES_SALVAGE_H

#include "postgres/op.h"

/* A step of a rewind or a clone, once the source is known to be good and before anything is
 * changed: `then` comes in any case. */
void salvage_first(struct op *op, op_step *then);

#endif
