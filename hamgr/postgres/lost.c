#include "postgres/lost.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- lines -------------------------------------------------------------------------------------
 *
 * rmgr: Heap   len (rec/tot):  59/  59, tx:  742, lsn: 0/01952C70, prev 0/01952C38, desc: INSERT
 * off 5 flags 0x08, blkref #0: rel 1663/5/16384 blk 0 */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static const char *behind(const char *line, const char *what)
{
    const char *at = strstr(line, what);

    return at != NULL ? at + strlen(what) : NULL;
}

static uint64_t read_position(const char *text)
{
    char *end;
    uint64_t high = strtoull(text, &end, 16);

    return *end == '/' ? high << 32 | strtoull(end + 1, NULL, 16) : 0;
}

static void note_xid(struct lost *l, uint32_t xid, bool has_ended)
{
    uint32_t at = xid * 2654435761u % LOST_XIDS;

    if (xid == 0)
        return;
    while (l->xids[at].xid != 0 && l->xids[at].xid != xid)
        at = (at + 1) % LOST_XIDS;
    if (l->xids[at].xid == 0) {
        if (l->xids_n == LOST_XIDS_MAX) {
            l->is_full = true;
            return;
        }
        l->xids[at].xid = xid;
        l->xids_n++;
        l->unfinished++;
    }
    if (has_ended && !l->xids[at].has_ended) {
        l->xids[at].has_ended = true;
        l->unfinished--;
    }
}

/* Numbers behind "subxacts:" ended with their transaction. */
static void note_subtransactions(struct lost *l, const char *desc)
{
    const char *at = behind(desc, "subxacts:");

    while (at != NULL) {
        char *end;
        unsigned long xid = strtoul(at, &end, 10);

        if (end == at)
            return;
        note_xid(l, (uint32_t)xid, true);
        at = end;
    }
}

static void copy_time(char time[40], const char *from)
{
    size_t n = strcspn(from, ";");

    (void)snprintf(time, 40, "%.*s", n < 39 ? (int)n : 39, from);
}

static void take_commit(struct lost *l, uint32_t xid, uint64_t at, const char *time)
{
    char text[40];

    copy_time(text, time);
    l->committed++;
    note_xid(l, xid, true);
    note_subtransactions(l, time);
    if (l->first[0] == 0)
        memcpy(l->first, text, sizeof text);
    memcpy(l->last, text, sizeof text);
    if (l->commits_n == LOST_COMMITS_MAX)
        return;
    l->commit[l->commits_n] = (struct lost_commit){ .xid = xid, .at = at };
    memcpy(l->commit[l->commits_n++].time, text, sizeof text);
}

static void take_transaction(struct lost *l, uint32_t xid, uint64_t at, const char *desc)
{
    bool is_prepared = begins(desc, "COMMIT_PREPARED ") || begins(desc, "ABORT_PREPARED ");
    const char *text = strchr(desc, ' ');

    if (text == NULL)
        return;
    text++;
    if (is_prepared) { /* of another transaction, whose number comes first */
        char *end;

        xid = (uint32_t)strtoul(text, &end, 10);
        text = *end == ':' ? end + 2 : end;
    }
    if (begins(desc, "COMMIT")) {
        take_commit(l, xid, at, text);
    } else if (begins(desc, "ABORT")) {
        l->aborted++;
        note_xid(l, xid, true);
        note_subtransactions(l, text);
    }
}

static struct lost_table *find_table(struct lost *l, uint32_t database, uint32_t file)
{
    for (unsigned int i = 0; i < l->tables_n; i++)
        if (l->table[i].database == database && l->table[i].file == file)
            return &l->table[i];
    if (l->tables_n == LOST_TABLES_MAX) {
        l->is_full = true;
        return NULL;
    }
    l->table[l->tables_n] = (struct lost_table){ .database = database, .file = file };
    return &l->table[l->tables_n++];
}

static void take_rows(struct lost *l, const char *desc)
{
    const char *rel = behind(desc, "rel ");
    unsigned int space, database, file;
    struct lost_table *t;
    bool is_update = begins(desc, "UPDATE") || begins(desc, "HOT_UPDATE");
    bool is_many = begins(desc, "MULTI_INSERT");

    if (rel == NULL || sscanf(rel, "%u/%u/%u", &space, &database, &file) != 3)
        return;
    if (!is_update && !is_many && !begins(desc, "INSERT") && !begins(desc, "DELETE"))
        return;
    t = find_table(l, database, file);
    if (t == NULL)
        return;
    if (is_many)
        t->inserted += strtoull(desc + strcspn(desc, " "), NULL, 10);
    else if (is_update)
        t->updated++;
    else if (begins(desc, "INSERT"))
        t->inserted++;
    else
        t->deleted++;
}

void lost_take_line(struct lost *l, const char *line)
{
    const char *manager = behind(line, "rmgr: ");
    const char *tx = behind(line, ", tx: "), *lsn = behind(line, ", lsn: ");
    const char *desc = behind(line, ", desc: ");
    uint32_t xid;

    if (!begins(line, "rmgr: ") || tx == NULL || lsn == NULL || desc == NULL)
        return;
    l->records++;
    xid = (uint32_t)strtoul(tx, NULL, 10);
    note_xid(l, xid, false);
    if (begins(manager, "Transaction"))
        take_transaction(l, xid, read_position(lsn), desc);
    else if (begins(manager, "Heap"))
        take_rows(l, desc);
}

static int compare_tables(const void *a, const void *b)
{
    const struct lost_table *x = a, *y = b;
    uint64_t of_x = x->inserted + x->updated + x->deleted;
    uint64_t of_y = y->inserted + y->updated + y->deleted;

    return of_x != of_y ? (of_x < of_y ? 1 : -1) : (x->file > y->file) - (x->file < y->file);
}

void lost_end(struct lost *l)
{
    if (l->is_full && l->why[0] == 0)
        (void)snprintf(l->why, sizeof l->why,
                       "more tables or transactions than are listed: rows of some tables are left "
                       "out, and unfinished transactions");
    qsort(l->table, l->tables_n, sizeof l->table[0], compare_tables);
}

/* --- the summary -------------------------------------------------------------------------------
 */

static void put_json_text(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            (void)fprintf(out, "\\%c", c);
        else if (c < 0x20)
            (void)fprintf(out, "\\u%04x", c);
        else
            (void)fputc(c, out);
    }
    (void)fputc('"', out);
}

static void put_field(FILE *out, const char *key, const char *text)
{
    (void)fprintf(out, " \"%s\": ", key);
    put_json_text(out, text);
    (void)fputs(",\n", out);
}

static void put_position(FILE *out, const char *key, uint64_t at)
{
    (void)fprintf(out, " \"%s\": \"%" PRIX32 "/%" PRIX32 "\",\n", key, (uint32_t)(at >> 32),
                  (uint32_t)at);
}

static const char *database_name(const struct lost *l, uint32_t oid)
{
    for (unsigned int i = 0; i < l->databases_n; i++)
        if (l->database[i].oid == oid)
            return l->database[i].name;
    return "";
}

static void put_tables(const struct lost *l, FILE *out)
{
    (void)fputs(" \"tables\": [", out);
    for (unsigned int i = 0; i < l->tables_n; i++) {
        const struct lost_table *t = &l->table[i];

        (void)fprintf(out, "%s\n  {\"database_oid\": %" PRIu32 ", \"database\": ", i > 0 ? "," : "",
                      t->database);
        put_json_text(out, database_name(l, t->database));
        (void)fprintf(out, ", \"filenode\": %" PRIu32 ", \"table\": ", t->file);
        put_json_text(out, t->name);
        (void)fprintf(
            out, ", \"inserted\": %" PRIu64 ", \"updated\": %" PRIu64 ", \"deleted\": %" PRIu64 "}",
            t->inserted, t->updated, t->deleted);
    }
    (void)fputs("],\n", out);
}

static void put_commits(const struct lost *l, FILE *out)
{
    (void)fputs(" \"commits\": [", out);
    for (unsigned int i = 0; i < l->commits_n; i++) {
        const struct lost_commit *c = &l->commit[i];

        (void)fprintf(
            out, "%s\n  {\"xid\": %" PRIu32 ", \"lsn\": \"%" PRIX32 "/%" PRIX32 "\", \"time\": ",
            i > 0 ? "," : "", c->xid, (uint32_t)(c->at >> 32), (uint32_t)c->at);
        put_json_text(out, c->time);
        (void)fputc('}', out);
    }
    (void)fputs("]\n", out);
}

bool lost_print_json(const struct lost *l, FILE *out)
{
    (void)fputs("{\n", out);
    put_field(out, "id", l->id);
    put_field(out, "service", l->service);
    put_field(out, "member", l->member);
    put_field(out, "made", l->made);
    (void)fprintf(out, " \"system_id\": \"%" PRIu64 "\",\n \"timeline\": %" PRIu64 ",\n",
                  l->system_id, l->timeline);
    put_position(out, "from", l->from);
    put_position(out, "upto", l->upto);
    (void)fprintf(out, " \"bytes\": %" PRIu64 ",\n \"kept_bytes\": %" PRIu64 ",\n",
                  l->upto - l->from, l->kept_bytes);
    put_field(out, "why", l->why);
    (void)fprintf(out,
                  " \"records\": %" PRIu64 ",\n \"committed\": %" PRIu64 ",\n \"aborted\": %" PRIu64
                  ",\n \"unfinished\": %" PRIu64 ",\n \"commits_left_out\": %" PRIu64 ",\n",
                  l->records, l->committed, l->aborted, l->unfinished, l->committed - l->commits_n);
    put_field(out, "first_commit", l->first);
    put_field(out, "last_commit", l->last);
    put_tables(l, out);
    put_commits(l, out);
    (void)fputs("}\n", out);
    return fflush(out) == 0 && ferror(out) == 0;
}

static void print_table(const struct lost *l, const struct lost_table *t, FILE *out)
{
    const char *database = database_name(l, t->database);

    if (t->name[0] != 0)
        (void)fprintf(out, "  %s in %s", t->name, database);
    else if (database[0] != 0)
        (void)fprintf(out, "  relfilenode %" PRIu32 " in %s", t->file, database);
    else
        (void)fprintf(out, "  relfilenode %" PRIu32 " in database %" PRIu32, t->file, t->database);
    (void)fprintf(out, ": %" PRIu64 " inserted, %" PRIu64 " updated, %" PRIu64 " deleted\n",
                  t->inserted, t->updated, t->deleted);
}

bool lost_print_text(const struct lost *l, FILE *out)
{
    (void)fprintf(out,
                  "%s: log of %s on %s that no later primary has, set aside at %s\n"
                  "timeline %" PRIu64 ", from %" PRIX32 "/%" PRIX32 " to %" PRIX32 "/%" PRIX32
                  ", %" PRIu64 " bytes; %" PRIu64 " bytes of files are kept\n",
                  l->id, l->service, l->member, l->made, l->timeline, (uint32_t)(l->from >> 32),
                  (uint32_t)l->from, (uint32_t)(l->upto >> 32), (uint32_t)l->upto,
                  l->upto - l->from, l->kept_bytes);
    if (l->why[0] != 0)
        (void)fprintf(out, "note: %s\n", l->why);
    (void)fprintf(
        out, "\n%" PRIu64 " transactions committed, %" PRIu64 " aborted, %" PRIu64 " unfinished\n",
        l->committed, l->aborted, l->unfinished);
    if (l->committed > 0)
        (void)fprintf(out, "first commit %s\nlast commit  %s\n", l->first, l->last);
    (void)fputs("\nrows, those of transactions that did not commit too:\n", out);
    for (unsigned int i = 0; i < l->tables_n; i++)
        print_table(l, &l->table[i], out);
    (void)fputs("\ncommits:\n", out);
    for (unsigned int i = 0; i < l->commits_n; i++)
        (void)fprintf(out, "  xid %-10" PRIu32 " %" PRIX32 "/%08" PRIX32 "  %s\n", l->commit[i].xid,
                      (uint32_t)(l->commit[i].at >> 32), (uint32_t)l->commit[i].at,
                      l->commit[i].time);
    if (l->committed > l->commits_n)
        (void)fprintf(out, "  and %" PRIu64 " more\n", l->committed - l->commits_n);
    return fflush(out) == 0 && ferror(out) == 0;
}
