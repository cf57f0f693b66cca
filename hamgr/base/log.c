#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, REPEAT_MS = 60000 };

static const struct {
    const char *journal; /* sd-daemon(3) */
    const char *name;
} levels[] = {
    [LOG_LEVEL_ERROR] = { "<3>", "error" },   [LOG_LEVEL_WARN] = { "<4>", "warn" },
    [LOG_LEVEL_NOTICE] = { "<5>", "notice" }, [LOG_LEVEL_INFO] = { "<6>", "info" },
    [LOG_LEVEL_DEBUG] = { "<7>", "debug" },
};

static struct {
    enum log_level most_detailed;
    bool is_journal;
    char program[32];
} config = { .most_detailed = LOG_LEVEL_INFO, .program = "hamgr" };

/* JOURNAL_STREAM names the file that the journal reads, as DEVICE:INODE; children inherit the
 * variable even when their stderr goes elsewhere, so it is compared. */
static bool is_stderr_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program, enum log_level most_detailed)
{
    (void)snprintf(config.program, sizeof config.program, "%s", program);
    config.most_detailed = most_detailed;
    config.is_journal = is_stderr_the_journal();
}

/* A text from outside may hold a newline, which would forge a second fact. */
static void keep_on_one_line(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = ' ';
}

HM_PRINTF(2, 0)
static void log_line(enum log_level level, const char *format, va_list args)
{
    static const char cut[] = "...";
    char line[LINE_MAX_BYTES];
    int number = errno;
    size_t used, room;
    int n;

    if (level > config.most_detailed)
        return;
    n = config.is_journal
            ? snprintf(line, sizeof line, "%s", levels[level].journal)
            : snprintf(line, sizeof line, "%s: %s ", config.program, levels[level].name);
    used = n > 0 ? (size_t)n : 0;
    room = sizeof line - used;
    n = vsnprintf(line + used, room, format, args);
    if (n >= 0 && (size_t)n >= room) {
        memcpy(line + sizeof line - sizeof cut, cut, sizeof cut);
        n = (int)room - 1;
    }
    used += n > 0 ? (size_t)n : 0;
    keep_on_one_line(line, used);
    line[used++] = '\n';
    /* One write, so that lines of several processes do not mix. A log that cannot be written is no
     * reason to stop, and there is nowhere to say so. */
    while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR)
        ;
    errno = number;
}

#define LOG_AT(level)                                                                              \
    do {                                                                                           \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, format);                                                                    \
        log_line(level, format, args);                                                             \
        va_end(args);                                                                              \
    } while (0)

void log_error(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_ERROR);
}

void log_warn(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_WARN);
}

void log_notice(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_NOTICE);
}

void log_info(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_INFO);
}

void log_debug(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_DEBUG);
}

bool log_repeat_starts(struct log_repeat *r, hm_ms now_ms, uint64_t *ret_hidden)
{
    if (r->last_ms != 0 && now_ms - r->last_ms < REPEAT_MS) {
        r->hidden++;
        return false;
    }
    *ret_hidden = r->hidden;
    r->hidden = 0;
    r->last_ms = now_ms != 0 ? now_ms : 1; /* 0 means that it does not last */
    return true;
}

bool log_repeat_ends(struct log_repeat *r)
{
    bool was_told = r->last_ms != 0;

    *r = (struct log_repeat){ 0 };
    return was_told;
}

static uint64_t digest_of(const char *line)
{
    uint64_t digest = 14695981039346656037u; /* FNV-1a */

    for (; *line != '\0'; line++)
        digest = (digest ^ (unsigned char)*line) * 1099511628211u;
    return digest != 0 ? digest : 1;
}

bool log_burst_may(struct log_burst *b, const char *line, hm_ms now_ms, uint64_t *ret_hidden)
{
    uint64_t digest = digest_of(line), told;
    size_t at = 0;

    for (size_t i = 0; i < HM_ARRAY_LEN(b->line); i++) {
        if (b->line[i].digest == digest) {
            at = i;
            break;
        }
        if (b->line[i].digest == 0 || b->line[i].since_ms < b->line[at].since_ms)
            at = i;
    }
    if (b->line[at].digest != digest) {
        b->line[at].digest = digest;
        b->line[at].since_ms = now_ms;
        b->line[at].told = 0;
    }
    told = b->line[at].told++;
    *ret_hidden = 0;
    if (now_ms - b->line[at].since_ms < REPEAT_MS)
        return told < LOG_BURST_TIMES;
    *ret_hidden = told > LOG_BURST_TIMES ? told - LOG_BURST_TIMES : 0;
    b->line[at].since_ms = now_ms;
    b->line[at].told = *ret_hidden > 0 ? LOG_BURST_TIMES : 1; /* it lasts: once from here on */
    return true;
}
