#include "adapter/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Enough for packing a record and for the resolver; only what is touched is real memory. */
#define STACK_BYTES (128 * 1024)
#define NAME_BYTES 16 /* of a thread, with the final NUL: the kernel's limit */

struct queue {
    struct worker_job *first;
    struct worker_job **end; /* where the next one is hung in */
};

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows, up to the loop's part */
    pthread_cond_t work;
    struct queue todo;
    struct queue ended;
    bool is_ending;

    int event_fd; /* the thread writes, the loop reads */
    struct event *event;
    bool has_thread;
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void queue_put(struct queue *q, struct worker_job *job)
{
    job->next = NULL;
    *q->end = job;
    q->end = &job->next;
}

static struct worker_job *queue_take(struct queue *q)
{
    struct worker_job *job = q->first;

    q->first = job->next;
    if (q->first == NULL)
        q->end = &q->first;
    return job;
}

/* --- the thread ------------------------------------------------------------------------------ */

static void ring(struct worker *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->event_fd, &one, sizeof one);

    (void)n; /* only a full counter fails, and then the loop is called already */
}

static void *work(void *arg)
{
    struct worker *w = arg;

    (void)pthread_mutex_lock(&w->mutex);
    for (;;) {
        struct worker_job *job;

        while (w->todo.first == NULL && !w->is_ending)
            (void)pthread_cond_wait(&w->work, &w->mutex);
        if (w->is_ending)
            break;
        job = queue_take(&w->todo);
        (void)pthread_mutex_unlock(&w->mutex);
        job->run(job);
        (void)pthread_mutex_lock(&w->mutex);
        queue_put(&w->ended, job);
        ring(w);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals are the loop's: the new thread inherits a mask that blocks all of them. */
static int start_thread(struct worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int number = pthread_attr_init(&attr);

    if (number != 0)
        return number;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES); /* refused: the default one serves, too */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    number = pthread_create(&w->thread, &attr, work, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return number;
}

/* --- the loop -------------------------------------------------------------------------------- */

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct worker_job *job;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);

    (void)what;
    (void)n; /* nothing to read: then the list tells */
    (void)pthread_mutex_lock(&w->mutex);
    job = w->ended.first;
    queue_init(&w->ended);
    (void)pthread_mutex_unlock(&w->mutex);
    while (job != NULL) {
        struct worker_job *next = job->next; /* `done` may free it, or queue it again */

        job->done(job);
        job = next;
    }
}

enum hm_rc worker_new(struct event_base *base, const char *name, struct worker **ret,
                      struct hm_err *err)
{
    struct worker *w = calloc(1, sizeof *w);
    char short_name[NAME_BYTES] = "";
    enum hm_rc rc;

    if (w == NULL)
        return hm_fail(err, HM_FAILED, "worker '%s': out of memory", name);
    (void)pthread_mutex_init(&w->mutex, NULL); /* with default attributes neither can fail */
    (void)pthread_cond_init(&w->work, NULL);
    queue_init(&w->todo);
    queue_init(&w->ended);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0) {
        rc = hm_fail_errno(err, "worker '%s': no eventfd", name);
        goto failed;
    }
    w->event = event_new(base, w->event_fd, EV_READ | EV_PERSIST, on_ended, w);
    if (w->event == NULL || event_add(w->event, NULL) != 0) {
        rc = hm_fail(err, HM_FAILED, "worker '%s': the event loop does not take it", name);
        goto failed;
    }
    errno = start_thread(w);
    if (errno != 0) {
        rc = hm_fail_errno(err, "worker '%s': no thread", name);
        goto failed;
    }
    w->has_thread = true;
    strncpy(short_name, name, sizeof short_name - 1);
    (void)pthread_setname_np(w->thread, short_name); /* for people only */
    *ret = w;
    return HM_OK;
failed:
    worker_free(w);
    return rc;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    if (w->has_thread) {
        (void)pthread_mutex_lock(&w->mutex);
        w->is_ending = true;
        (void)pthread_cond_signal(&w->work);
        (void)pthread_mutex_unlock(&w->mutex);
        (void)pthread_join(w->thread, NULL);
    }
    if (w->event != NULL)
        event_free(w->event);
    if (w->event_fd >= 0)
        (void)close(w->event_fd); /* nothing can be lost */
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_mutex_destroy(&w->mutex);
    free(w);
}

void worker_add(struct worker *w, struct worker_job *job)
{
    (void)pthread_mutex_lock(&w->mutex);
    queue_put(&w->todo, job);
    (void)pthread_cond_signal(&w->work);
    (void)pthread_mutex_unlock(&w->mutex);
}
