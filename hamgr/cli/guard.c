#include "cli/guard.h"

#include "fence/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIGNAL_FILE "standby.signal"

bool guard_lease(const char *run_dir, const char *service, hm_ms now_ms, char why[HM_ERR_TEXT_MAX])
{
    struct lease lease;
    struct hm_err err;
    bool is_there = false;
    enum hm_rc rc;
    int dir;

    why[0] = '\0';
    dir = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        if (errno != ENOENT) /* after a boot it is not there yet, and nor is a lease */
            (void)snprintf(why, HM_ERR_TEXT_MAX, "cannot open '%s'", run_dir);
        return false;
    }
    rc = lease_load(dir, service, &lease, &is_there, &err);
    (void)close(dir); /* opened for reading: nothing can be lost */
    if (rc != HM_OK) {
        (void)snprintf(why, HM_ERR_TEXT_MAX, "%s", err.text);
        return false;
    }
    return is_there && lease_allows_primary(&lease, now_ms);
}

bool guard_is_new_here(const char *settings_file, const char *state_dir)
{
    struct stat st;

    return lstat(settings_file, &st) != 0 && errno == ENOENT && lstat(state_dir, &st) != 0 &&
           errno == ENOENT;
}

/* Who has the directory must be able to remove the file after it was written by root. */
static enum hm_rc write_signal(int dir, struct hm_err *err)
{
    struct stat owner;
    enum hm_rc rc = HM_OK;
    int fd;

    fd = openat(dir, SIGNAL_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return hm_fail_errno(err, "cannot make '" SIGNAL_FILE "'");
    if (fstat(dir, &owner) != 0 ||
        (owner.st_uid != geteuid() && fchown(fd, owner.st_uid, owner.st_gid) != 0))
        rc = hm_fail_errno(err, "cannot give '" SIGNAL_FILE "' to the directory's owner");
    else if (fsync(fd) != 0)
        rc = hm_fail_errno(err, "cannot write '" SIGNAL_FILE "' to the disk");
    if (close(fd) != 0 && rc == HM_OK)
        rc = hm_fail_errno(err, "cannot write '" SIGNAL_FILE "'");
    return rc;
}

static enum hm_rc make_standby(int dir, enum guard_did *ret_did, struct hm_err *err)
{
    struct stat st;
    enum hm_rc rc;

    if (fstatat(dir, SIGNAL_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode))
            return hm_fail(err, HM_FAILED, "'" SIGNAL_FILE "' is no plain file");
        *ret_did = GUARD_WAS_THERE;
    } else if (errno == ENOENT) {
        rc = write_signal(dir, err);
        if (rc != HM_OK)
            return rc;
        *ret_did = GUARD_WRITTEN;
    } else {
        return hm_fail_errno(err, "cannot look for '" SIGNAL_FILE "'");
    }
    /* Also for one that was there: whoever wrote it may have been killed before this. */
    if (fsync(dir) != 0)
        return hm_fail_errno(err, "cannot write the directory to the disk");
    return HM_OK;
}

enum hm_rc guard_apply(const char *data_dir, bool may_be_primary, enum guard_did *ret_did,
                       struct hm_err *err)
{
    struct stat st;
    enum hm_rc rc = HM_OK;
    int dir;

    dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno == ENOENT) {
        *ret_did = GUARD_NO_DATA;
        return HM_OK;
    }
    if (dir < 0)
        return hm_fail_errno(err, "cannot open '%s'", data_dir);
    if (may_be_primary)
        *ret_did = GUARD_LEFT;
    else if (fstatat(dir, "PG_VERSION", &st, 0) == 0)
        rc = make_standby(dir, ret_did, err);
    else if (errno == ENOENT)
        *ret_did = GUARD_NO_DATA; /* PostgreSQL refuses to start without it */
    else
        rc = hm_fail_errno(err, "cannot look for 'PG_VERSION'");
    if (rc != HM_OK)
        hm_wrap(err, "in '%s'", data_dir);
    (void)close(dir); /* what was written was synced before */
    return rc;
}
