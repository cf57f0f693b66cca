#include "sentinel/glob.h"

/* Is the byte in the set that begins behind pattern[*at] == '['? *at moves behind the set. */
static bool fits_set(const char *pattern, size_t n, size_t *at, char byte)
{
    size_t i = *at + 1;
    bool is_inverted = i < n && pattern[i] == '^';
    bool is_in = false;

    if (is_inverted)
        i++;
    while (i < n && pattern[i] != ']') {
        if (pattern[i] == '\\' && i + 1 < n) {
            is_in = is_in || pattern[i + 1] == byte;
            i += 2;
        } else if (i + 2 < n && pattern[i + 1] == '-') {
            char low = pattern[i], high = pattern[i + 2];

            if (low > high) {
                low = high;
                high = pattern[i];
            }
            is_in = is_in || (byte >= low && byte <= high);
            i += 3;
        } else {
            is_in = is_in || pattern[i] == byte;
            i++;
        }
    }
    *at = i < n ? i + 1 : n;
    return is_in != is_inverted;
}

/* Does the element at pattern[*at], no '*', fit the byte? *at moves behind it. */
static bool fits_byte(const char *pattern, size_t n, size_t *at, char byte)
{
    if (pattern[*at] == '[')
        return fits_set(pattern, n, at, byte);
    if (pattern[*at] == '?') {
        (*at)++;
        return true;
    }
    if (pattern[*at] == '\\' && *at + 1 < n)
        (*at)++;
    return pattern[(*at)++] == byte;
}

/* Only the latest '*' is ever tried again: what the ones before it took does not matter any more.
 */
bool glob_fits(const char *pattern, size_t pattern_n, const char *text, size_t text_n)
{
    size_t p = 0, t = 0, again_t = 0, again_p = 0;
    bool has_star = false;

    if (text_n == 0) /* as Redis has it: not even by "*" */
        return pattern_n == 0;
    while (t < text_n) {
        if (p < pattern_n && pattern[p] == '*') {
            has_star = true;
            again_p = ++p;
            again_t = t;
        } else if (p < pattern_n && fits_byte(pattern, pattern_n, &p, text[t])) {
            t++;
        } else if (has_star) {
            p = again_p;
            t = ++again_t;
        } else {
            return false;
        }
    }
    while (p < pattern_n && pattern[p] == '*')
        p++;
    return p == pattern_n;
}
