/* probe_files.c - what the files of the data directory and the kernel's list of processes tell,
 * looked at in a worker: a hung disk must not stop the loop. */
#include "postgres/probe.h"

#include "base/clock.h"
#include "probe/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* So often the processes of a copy that is down are looked for, although no postmaster.pid says
 * that a server was started. */
#define RESCAN_MS 5000

struct files_job {
    struct worker_job base;
    struct probe *p;
    const char *data_dir;  /* borrowed from the settings */
    const char *state_dir; /* the same */
    const char *service;   /* the same */
    bool must_scan;
    struct procs_home home; /* kept from one look to the next */
    int64_t pid_file_ns;    /* as it was at the last scan */
    char place[160];        /* where the notes belong */
    uint64_t notes_written;
    uint64_t round;
    struct files found;
};

/* --- in the worker --------------------------------------------------------------------------- */

static void complain(struct files *f, const char *text)
{
    if (f->why[0] == 0)
        (void)snprintf(f->why, sizeof f->why, "%.*s", (int)sizeof f->why - 1, text);
}

static int64_t changed_ns(const char *data_dir, const char *name)
{
    char path[512];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", data_dir, name);
    if (stat(path, &st) != 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* Line 1 is the process, line 8 what it says that it is doing. */
static pid_t read_pid_file(const char *data_dir, struct files *f)
{
    char path[512], text[1024];
    const char *line = text;
    ssize_t n;
    long pid;
    int fd;

    f->pid_file_ns = changed_ns(data_dir, "postmaster.pid");
    (void)snprintf(path, sizeof path, "%s/postmaster.pid", data_dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (n <= 0)
        return 0;
    text[n] = 0;
    pid = strtol(text, NULL, 10);
    for (unsigned int i = 1; i < 8 && line != NULL; i++) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    f->is_stopping = line != NULL && strncmp(line, "stopping", 8) == 0;
    return pid > 1 && pid <= INT32_MAX ? (pid_t)pid : 0; /* a server for one user writes -PID */
}

static bool has_ended(int pidfd)
{
    struct pollfd fd = { .fd = pidfd, .events = POLLIN };

    return poll(&fd, 1, 0) != 0;
}

/* One look may miss a process that was forked while it went through the list. When everything that
 * it found was stopped by then, or dead, nobody was left who could fork before the second look. */
static bool scan_certainly(const struct procs_spec *spec, struct procs *ret, struct hm_err *err)
{
    if (procs_scan(spec, ret, err) != HM_OK)
        return false;
    return ret->stopped != ret->n || procs_scan(spec, ret, err) == HM_OK;
}

static void scan(struct files_job *job, pid_t pid)
{
    const struct procs_spec spec = { .executable = "postgres",
                                     .data_dir = job->data_dir,
                                     .home = &job->home };
    struct files *f = &job->found;
    struct procs *procs = malloc(sizeof *procs);
    struct hm_err err;

    if (procs == NULL) {
        complain(f, "no memory to look for processes");
        return;
    }
    /* Opened before the scan: a process that is found in it and has not ended is this one. */
    f->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (!scan_certainly(&spec, procs, &err)) {
        complain(f, err.text);
    } else {
        f->is_scanned = true;
        f->processes = procs->n;
        f->stopped = procs->stopped;
        for (size_t i = 0; i < procs->n && f->pidfd >= 0; i++)
            if (procs->pid[i] == pid && !has_ended(f->pidfd)) {
                f->postmaster = pid;
                f->started = procs->started[i];
            }
    }
    if (f->pidfd >= 0 && f->postmaster == 0) {
        (void)close(f->pidfd); /* nothing was written to it */
        f->pidfd = -1;
    }
    free(procs);
}

static void look_at_notes(struct files_job *job)
{
    struct files *f = &job->found;
    struct hm_err err;

    if (notes_identify(job->data_dir, f->place, sizeof f->place) &&
        strcmp(f->place, job->place) == 0)
        return;
    if (strcmp(f->place, job->place) == 0)
        return;
    if (notes_load(job->state_dir, job->service, job->data_dir, &f->notes, &err) == HM_OK)
        f->has_notes = true;
    else
        complain(f, err.text);
}

static void run(struct worker_job *base)
{
    struct files_job *job = (struct files_job *)base;
    struct files *f = &job->found;
    struct hm_err err;
    char path[512];
    pid_t pid;

    memset(f, 0, sizeof *f);
    f->pidfd = -1;
    (void)snprintf(path, sizeof path, "%s/PG_VERSION", job->data_dir);
    f->has_data = access(path, F_OK) == 0;
    if (!f->has_data && errno != ENOENT && errno != ENOTDIR) {
        f->has_data = true; /* not known: an answer of "no data" would have it cloned */
        (void)hm_fail_errno(&err, "cannot look at '%s'", path);
        complain(f, err.text);
    }
    if (f->has_data) {
        (void)snprintf(path, sizeof path, "%s/global/pg_control", job->data_dir);
        f->is_control_gone = access(path, F_OK) != 0 && errno == ENOENT;
        f->has_control = wal_read_control(job->data_dir, &f->control, &err) == HM_OK;
        if (!f->has_control)
            complain(f, err.text);
        f->log_changed_ns = changed_ns(job->data_dir, "pg_wal");
    }
    look_at_notes(job);
    f->named = pid = read_pid_file(job->data_dir, f);
    if (job->must_scan || f->pid_file_ns != job->pid_file_ns)
        scan(job, pid);
}

/* --- on the loop ----------------------------------------------------------------------------- */

static void done(struct worker_job *base)
{
    struct files_job *job = (struct files_job *)base;
    struct probe *p = job->p;
    struct files *f = &job->found;

    p->is_job_out = false;
    p->files_round = job->round;
    if (f->is_scanned) {
        p->scanned_ms = clock_boot_ms();
    } else {
        f->processes = p->files.processes;
        f->stopped = p->files.stopped;
        f->is_scanned = p->files.is_scanned;
        f->pid_file_ns = p->files.pid_file_ns;
    }
    if (f->has_notes && p->s->op == NULL && p->notes_written == job->notes_written) {
        p->s->notes = f->notes;
        (void)snprintf(p->files.place, sizeof p->files.place, "%s", f->place);
    }
    memcpy(f->place, p->files.place, sizeof f->place);
    p->files = *f;
    if (p->pidfd >= 0 && f->pidfd >= 0) {
        (void)close(f->pidfd); /* known already */
        p->files.pidfd = -1;
    }
    probe_take_files(p);
}

bool probe_ask_files(struct probe *p, bool must_scan)
{
    struct files_job *job = p->files_job;

    if (p->is_job_out)
        return false;
    if (job == NULL) {
        job = calloc(1, sizeof *job);
        if (job == NULL)
            return false;
        p->files_job = job;
    }
    job->base.run = run;
    job->base.done = done;
    job->p = p;
    job->data_dir = p->s->config.service->data_dir;
    job->state_dir = p->s->config.settings->state_dir;
    job->service = p->s->config.service->name;
    job->must_scan = must_scan || !p->files.is_scanned || p->files.processes > 0 ||
                     clock_boot_ms() - p->scanned_ms > RESCAN_MS;
    job->pid_file_ns = p->files.pid_file_ns;
    job->notes_written = p->notes_written;
    job->round = p->round;
    memcpy(job->place, p->files.place, sizeof job->place);
    p->is_job_out = true;
    worker_add(p->s->worker, &job->base);
    return true;
}

/* --- the end of the log ---------------------------------------------------------------------- */

struct end_job {
    struct worker_job base;
    struct probe *p;
    const char *data_dir; /* borrowed from the settings */
    struct wal_control control;
    struct log_end end; /* what it was asked for, and what it found */
    uint64_t hint;
};

static void run_end(struct worker_job *base)
{
    struct end_job *job = (struct end_job *)base;
    struct hm_err err;
    enum hm_rc rc = wal_find_end(job->data_dir, &job->control, job->hint, &job->end.at, &err);

    if (rc == HM_BAD_INPUT)
        memset(&job->end.at, 0, sizeof job->end.at); /* it is certain that it leads nowhere */
    job->end.is_final = rc == HM_OK || rc == HM_BAD_INPUT;
    if (rc != HM_OK)
        (void)snprintf(job->end.why, sizeof job->end.why, "%.*s", (int)sizeof job->end.why - 1,
                       err.text);
}

static void done_end(struct worker_job *base)
{
    struct end_job *job = (struct end_job *)base;
    struct probe *p = job->p;

    job->end.is_known = true;
    job->end.is_being_read = false;
    p->end = job->end;
    probe_look(p); /* which compares it with what is there by now */
}

static void read_end(struct probe *p)
{
    struct end_job *job = p->end_job;
    const struct copy *last = &p->running;

    if (p->end.is_being_read)
        return;
    if (job == NULL) {
        job = calloc(1, sizeof *job);
        if (job == NULL)
            return;
        p->end_job = job;
    }
    *job = (struct end_job){ .base = { .run = run_end, .done = done_end },
                             .p = p,
                             .data_dir = p->s->config.service->data_dir,
                             .control = p->files.control };
    if (last->copy_id == p->s->notes.copy_id && last->copy_id != 0 && !p->files.control.is_backup)
        job->hint = last->at.offset;
    p->end = (struct log_end){ .control_ns = p->files.control.changed_ns,
                               .control_id = p->files.control.changed_id,
                               .log_ns = p->files.log_changed_ns,
                               .copy_id = p->s->notes.copy_id,
                               .is_being_read = true };
    job->end = p->end;
    worker_add(p->reader, &job->base);
}

static bool is_end_of_this(const struct probe *p)
{
    const struct wal_control *c = &p->files.control;

    return p->end.control_ns == c->changed_ns && p->end.control_id == c->changed_id &&
           p->end.log_ns == p->files.log_changed_ns && p->end.copy_id == p->s->notes.copy_id;
}

void probe_see_down(struct probe *p, struct copy *c)
{
    if (!p->files.has_control) {
        probe_trouble(p, "%s", p->files.why);
        c->is_final = p->files.is_control_gone; /* no server can ever go on from what is there */
        return;
    }
    c->system_id = p->files.control.system_id;
    c->has_written = p->files.control.was_primary;
    c->was_primary |= c->has_written;
    if (!p->end.is_known || !is_end_of_this(p)) {
        read_end(p);
        return;
    }
    c->at = p->end.at;
    c->is_final = p->end.is_final;
    if (p->end.why[0] != '\0')
        probe_trouble(p, "%s", p->end.why);
}

/* --- the history of a timeline --------------------------------------------------------------- */

struct history_job {
    struct worker_job base;
    struct probe *p;
    const char *data_dir; /* borrowed from the settings */
    uint64_t timeline;
    struct wal_history history;
};

static void run_history(struct worker_job *base)
{
    struct history_job *job = (struct history_job *)base;

    (void)wal_read_history(job->data_dir, job->timeline, &job->history); /* or it stands alone */
}

static void done_history(struct worker_job *base)
{
    struct history_job *job = (struct history_job *)base;
    struct probe *p = job->p;

    p->is_history_out = false;
    p->history = job->history;
    p->history_of = job->timeline;
    if (p->history_of != p->path)
        probe_ask_history(p);
    probe_look(p);
}

void probe_ask_history(struct probe *p)
{
    struct history_job *job = p->history_job;

    if (p->is_history_out || p->path == 0)
        return;
    if (job == NULL) {
        job = calloc(1, sizeof *job);
        if (job == NULL)
            return;
        p->history_job = job;
    }
    *job = (struct history_job){ .base = { .run = run_history, .done = done_history },
                                 .p = p,
                                 .data_dir = p->s->config.service->data_dir,
                                 .timeline = p->path };
    p->is_history_out = true;
    worker_add(p->s->worker, &job->base);
}

uint32_t probe_segment_bytes(const struct probe *p)
{
    return p->files.has_control ? p->files.control.segment_bytes : 0;
}
