/* split.c - HOST:PORT taken apart: for links, and for a guest that has none. */
#include "net/inner.h"

#include <stdio.h>
#include <string.h>

bool dial_split(const char *address, char host[HM_ADDRESS_MAX], char port[8])
{
    const char *colon = strrchr(address, ':');
    const char *from = address;
    size_t n;

    if (colon == NULL || colon == address || colon[1] == 0 || strlen(colon + 1) >= 8)
        return false;
    n = (size_t)(colon - address);
    if (address[0] == '[') {
        if (colon[-1] != ']' || n < 3)
            return false;
        from++;
        n -= 2;
    } else if (memchr(address, ':', n) != NULL) {
        return false; /* an IPv6 address without brackets: where does it end? */
    }
    if (n >= HM_ADDRESS_MAX)
        return false;
    memcpy(host, from, n);
    host[n] = 0;
    (void)snprintf(port, 8, "%s", colon + 1);
    return true;
}
