#include "cli/print.h"

#include <stdarg.h>
#include <string.h>

static const char *code(enum print_colour colour)
{
    switch (colour) {
    case PRINT_BOLD:
        return "\033[1m";
    case PRINT_GREEN:
        return "\033[32m";
    case PRINT_YELLOW:
        return "\033[33m";
    case PRINT_RED:
        return "\033[1;31m";
    case PRINT_DIM:
        return "\033[2m";
    case PRINT_PLAIN:
        break;
    }
    return "";
}

/* Bytes of the letter at s (UTF-8, or 1 for what is none), which needs one column. */
static size_t letter(const char *s)
{
    size_t n = 1;

    while (((unsigned char)s[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static size_t letters(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s += letter(s))
        n++;
    return n;
}

/* What could steer a terminal becomes a blank: the control letters of ASCII and of Latin-1. */
static void put(FILE *out, const char *s, size_t n)
{
    bool is_control = (unsigned char)s[0] < 0x20 || s[0] == 0x7f ||
                      (n == 2 && (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0) ||
                      (n == 1 && (unsigned char)s[0] >= 0x80);

    if (is_control)
        (void)fputc(' ', out); /* here and below: main() looks whether it arrived */
    else
        (void)fwrite(s, 1, n, out);
}

void print_begin(struct print_line *l, struct cli *c)
{
    *l = (struct print_line){ .c = c };
}

void print_add(struct print_line *l, enum print_colour colour, const char *text)
{
    bool has_colour = l->c->has_colour && colour != PRINT_PLAIN;
    size_t n = letters(text), room;

    if (n == 0 || l->is_full)
        return;
    room = l->at < l->c->columns ? l->c->columns - l->at : 0;
    l->is_full = n > room;
    if (l->is_full && room < 4) /* not even a letter and the dots */
        return;
    for (; l->column < l->at; l->column++)
        (void)fputc(' ', l->c->out);
    n = l->is_full ? room - 3 : n;
    l->column += (unsigned)n;
    l->at = l->column;
    if (has_colour)
        (void)fputs(code(colour), l->c->out);
    for (; n > 0; n--) {
        put(l->c->out, text, letter(text));
        text += letter(text);
    }
    if (l->is_full)
        (void)fputs("...", l->c->out);
    if (has_colour)
        (void)fputs("\033[0m", l->c->out);
}

void print_addf(struct print_line *l, enum print_colour colour, const char *format, ...)
{
    char text[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* longer than any line: cut anyway */
    va_end(args);
    print_add(l, colour, text);
}

void print_to(struct print_line *l, unsigned column)
{
    l->at = column > l->at ? column : l->at + 1;
}

void print_end(struct print_line *l)
{
    (void)fputc('\n', l->c->out);
}

/* How many bytes of text fit into `room` letters, broken at a blank if there is one. */
static size_t fitting(const char *text, size_t room)
{
    size_t n = 0, blank = 0;

    for (size_t used = 0; text[n] != '\0'; used++) {
        if (used == room)
            return blank != 0 ? blank : n;
        if (text[n] == ' ')
            blank = n;
        n += letter(text + n);
    }
    return n;
}

void print_wrapped(struct cli *c, enum print_colour colour, const char *first, const char *text)
{
    size_t behind = letters(first);
    size_t room = c->columns > behind + 20 ? c->columns - behind : 20;

    for (bool is_first = true; is_first || *text != '\0'; is_first = false) {
        size_t n = fitting(text, room);
        char part[400];
        struct print_line l;

        if (n >= sizeof part)
            n = sizeof part - 1;
        memcpy(part, text, n);
        part[n] = '\0';
        print_begin(&l, c);
        if (is_first)
            print_add(&l, colour, first);
        else if (behind > 0)
            print_to(&l, (unsigned)behind);
        print_add(&l, colour, part);
        print_end(&l);
        text += n;
        text += strspn(text, " ");
    }
}

void print_bytes(char text[24], uint64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double n = (double)bytes;
    size_t i = 0;

    for (; n >= 1023.5 && i + 1 < HM_ARRAY_LEN(units); i++)
        n /= 1024;
    (void)snprintf(text, 24, i > 0 && n < 9.95 ? "%.1f %s" : "%.0f %s", n, units[i]);
}

void print_span(char text[24], hm_ms ms)
{
    static const struct {
        hm_ms from_ms, unit_ms;
        const char *name;
    } steps[] = {
        { 172800000, 86400000, "d" },
        { 7200000, 3600000, "h" },
        { 120000, 60000, "min" },
        { 9950, 1000, "s" },
    };

    for (size_t i = 0; i < HM_ARRAY_LEN(steps); i++)
        if (ms >= steps[i].from_ms) {
            (void)snprintf(text, 24, "%lld %s", (long long)(ms / steps[i].unit_ms), steps[i].name);
            return;
        }
    (void)snprintf(text, 24, "%.1f s", (double)(ms < 0 ? 0 : ms) / 1000);
}

const char *print_text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    return s != NULL ? s : "";
}

long long print_number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

bool print_is(const json_t *j, const char *key)
{
    return json_is_true(json_object_get(j, key));
}
