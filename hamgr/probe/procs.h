/* procs.h - the processes of a database server, found by what they are, not by who started them.
 *
 * A process belongs to a server when its working directory is the data directory and its
 * executable, or the process itself, is called `postgres`, or `redis-server` (Debian's is a link to
 * another name), or `valkey-server`; with a cgroup, everything in that cgroup belongs to it as
 * well. Orphaned backends are found like any other, also when the directory was removed or moved
 * under the server. Reads /proc only; never signals, allocates nothing. Sees what the caller may
 * see: hamgrd the database's own user, hamgr-fence everything. */
#ifndef HAMGR_PROBE_PROCS_H
#define HAMGR_PROBE_PROCS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCS_MAX = 4096 };

/* The directory in which processes were found last: where they still work when another one, or
 * none, has its name by now. Zero-initialised storage of the caller; known only while there are
 * processes, because numbers of directories are used again. */
struct procs_home {
    bool is_known;
    dev_t device;
    ino_t inode;
};

struct procs_spec {
    const char *executable;  /* "postgres", "redis-server"; borrowed */
    const char *or_else;     /* "valkey-server"; borrowed; NULL: no other name */
    const char *data_dir;    /* borrowed; compared by device and inode */
    struct procs_home *home; /* borrowed, kept up to date; NULL: none */
    const char *cgroup;      /* path below the cgroup mount, borrowed; NULL or "": none */
};

struct procs {
    size_t n;
    size_t stopped; /* of these: every thread stopped, or in D state with SIGSTOP pending */
    pid_t main_pid; /* the one whose parent is not in the list, the postmaster; of several (orphans)
                       the one with children; else 0 */
    pid_t pid[PROCS_MAX];
    uint64_t
        started[PROCS_MAX];     /* start time in clock ticks: a pid used again is another process */
    bool is_stopped[PROCS_MAX]; /* as counted above */
};

/* Scans. ret is overwritten. HM_FAILED: /proc
 * cannot be read, or the data directory not be looked at. HM_NO_SPACE: more than PROCS_MAX; ret
 * then holds the first of them. */
enum hm_rc procs_scan(const struct procs_spec *spec, struct procs *ret,
                      struct hm_err *err) HM_MUST_CHECK;

/* Looks again at those in the list only, which is several times faster: sets is_stopped and stopped
 * anew. What has ended meanwhile counts as stopped; what has begun is not seen. */
void procs_look_again(struct procs *p);

/* True while the process of that number is the one that started then, dead but not reaped ones
 * included. Asked after pidfd_open(), it says that the pidfd is of the process that was listed. */
bool procs_is_same(pid_t pid, uint64_t started);

/* A number for this boot of the machine: processes are numbered anew by the next one. */
uint64_t procs_boot_id(void);

#endif
