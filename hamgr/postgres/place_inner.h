/* place_inner.h - what place.c (where) and place_swap.c (how) share. Nobody else includes it. */
#ifndef HAMGR_POSTGRES_PLACE_INNER_H
#define HAMGR_POSTGRES_PLACE_INNER_H

#include "postgres/place.h"

/* DIR/NAME into PLACE_PATH_MAX bytes. HM_BAD_INPUT: too long. */
enum hm_rc place_join(char *buffer, const char *dir, const char *name,
                      struct hm_err *err) HM_MUST_CHECK;
/* What cannot be looked at counts as there: the step that needs it then fails, and says why. */
bool place_is_there(const char *path);
/* What a link says, into PLACE_PATH_MAX bytes; "": it is no link, or not there. HM_BAD_INPUT: too
 * long. HM_FAILED. */
enum hm_rc place_read_link(const char *path, char *ret, struct hm_err *err) HM_MUST_CHECK;
/* One that is there already is fine. */
enum hm_rc place_make_dir(const char *path, struct hm_err *err) HM_MUST_CHECK;
/* Calls `each` for every tablespace of a data directory: its link in pg_tblspc, and the link's
 * name. The first failure ends it; one that is not there at all has none. */
typedef enum hm_rc place_tablespace(void *ctx, const char *link, const char *oid,
                                    struct hm_err *err);
enum hm_rc place_each_tablespace(const char *data_dir, place_tablespace *each, void *ctx,
                                 struct hm_err *err) HM_MUST_CHECK;
/* Takes the mark away that what was in the directory is aside. */
void place_unmark(const struct place *p);

#endif
