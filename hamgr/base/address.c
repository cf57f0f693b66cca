#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>

enum { PORT_SIZE = 8 };

bool address_split(const char *address, char host[HM_ADDRESS_MAX], char port[8])
{
    const char *colon = strrchr(address, ':');
    const char *from = address;
    size_t n, port_n;

    host[0] = port[0] = '\0';
    if (colon == NULL || colon == address)
        return false;
    n = (size_t)(colon - address);
    port_n = strlen(colon + 1);
    if (address[0] == '[') {
        if (colon[-1] != ']' || n < 3)
            return false;
        from++;
        n -= 2;
    } else if (memchr(address, ':', n) != NULL) {
        return false; /* an IPv6 address without brackets: where does it end? */
    }
    if (n >= HM_ADDRESS_MAX || port_n == 0 || port_n >= PORT_SIZE)
        return false;
    memcpy(host, from, n);
    host[n] = '\0';
    memcpy(port, colon + 1, port_n + 1);
    return true;
}

bool address_host(const char *address, char host[HM_ADDRESS_MAX])
{
    char port[PORT_SIZE];

    return address_split(address, host, port);
}

bool address_is_literal(const char *host)
{
    struct in6_addr any;

    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}
