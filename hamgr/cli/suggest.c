/* suggest.c - "did you mean": the nearest known word, by how many letters are wrong. */
#include "cli/cli.h"

#include <string.h>

enum { WORD_MAX = 32 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Letters to insert, delete, replace, or swap with their neighbour, to make b of a. */
static unsigned distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned row[3][WORD_MAX + 1];

    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (unsigned j = 0; j <= m; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= n; i++) {
        unsigned *now = row[i % 3], *before = row[(i - 1) % 3], *older = row[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            now[j] = min3(before[j] + 1, now[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                older[j - 2] + 1 < now[j])
                now[j] = older[j - 2] + 1;
        }
    }
    return row[n % 3][m];
}

const char *cli_nearest(const char *word, const char *const *known, size_t known_n)
{
    unsigned best = strlen(word) < 5 ? 2 : 3; /* further away it would be a guess */
    const char *found = NULL;

    for (size_t i = 0; i < known_n; i++) {
        unsigned d = distance(word, known[i]);

        if (d < best) {
            best = d;
            found = known[i];
        }
    }
    return found;
}
