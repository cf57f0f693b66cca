/* place_inner.h - what place.c (where) and place_swap.c (how) share. Nobody else includes it. */
#ifndef HAMGR_POSTGRES_PLACE_INNER_H
#define HAMGR_POSTGRES_PLACE_INNER_H

#include "postgres/place.h"

/* DIR/NAME into PLACE_PATH_MAX bytes. HM_BAD_INPUT: too long. */
enum hm_rc place_join(char *buffer, const char *dir, const char *name,
                      struct hm_err *err) HM_MUST_CHECK;
bool place_is_there(const char *path);
enum hm_rc place_sync(const char *path, struct hm_err *err) HM_MUST_CHECK;
/* One that is there already is fine. */
enum hm_rc place_make_dir(const char *path, struct hm_err *err) HM_MUST_CHECK;
/* Takes the mark away that what was in the directory is aside. */
void place_unmark(const struct place *p);

#endif
