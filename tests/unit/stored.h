/* stored.h - a state directory for each test of the store, and states to keep in it. */
#ifndef TESTS_UNIT_STORED_H
#define TESTS_UNIT_STORED_H

#include "adapter/store.h"
#include "tests/unit/told.h"
#include "wire/wire.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];
static struct store store;
static struct record record;
static struct hm_err err;

static inline void path_of(const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", folder, name);
}

static inline void empty_folder(void)
{
    char path[512];
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        path_of(entry->d_name, path, sizeof path);
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(path), 0);
    }
    (void)closedir(dir);
}

static inline int make_folder(void **state)
{
    struct record first;

    (void)state;
    told_first(&first, 2, 1);
    told_record(&record, &first);
    (void)snprintf(folder, sizeof folder, "/tmp/hamgr-store-XXXXXX");
    store = (struct store){ .dir = -1, .lock = -1 };
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    store_done(&store);
    empty_folder();
    return rmdir(folder);
}

static inline void open_store(void)
{
    store_done(&store);
    if (store_open(folder, "main/db1", &store, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static inline void load(const char *service, struct voter_state *ret)
{
    bool is_blank = true;

    if (store_load(&store, service, ret, &is_blank, &err) != HM_OK)
        fail_msg("%s", err.text);
    assert_false(is_blank);
}

static inline enum hm_rc try_load(const char *service)
{
    struct voter_state s;
    bool is_blank;

    return store_load(&store, service, &s, &is_blank, &err);
}

/* The n-th state of a voter: each has another promise and another version of the record. */
static inline void make_state(struct voter_state *s, uint64_t n)
{
    told_state(s, &record, 2);
    s->incarnation = store.incarnation;
    s->promised.counter = 100 + n;
    s->record.version = n;
}

static inline void save(const char *service, uint64_t n)
{
    struct voter_state s;

    make_state(&s, n);
    if (store_save(&store, service, &s, &err) != HM_OK)
        fail_msg("%s", err.text);
}

static inline size_t read_all(const char *name, uint8_t *bytes, size_t size)
{
    char path[512];
    FILE *f;
    size_t n;

    path_of(name, path, sizeof path);
    f = fopen(path, "re");
    assert_non_null(f);
    n = fread(bytes, 1, size, f);
    (void)fclose(f);
    return n;
}

static inline void write_all(const char *name, const uint8_t *bytes, size_t size)
{
    char path[512];
    FILE *f;

    path_of(name, path, sizeof path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void remove_file(const char *name)
{
    char path[512];

    path_of(name, path, sizeof path);
    assert_int_equal(unlink(path), 0);
}

static inline bool is_there(const char *name)
{
    char path[512];

    path_of(name, path, sizeof path);
    return access(path, F_OK) == 0;
}

#endif
