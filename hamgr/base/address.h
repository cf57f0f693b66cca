/* address.h - HOST:PORT and [HOST]:PORT taken apart, as members have them in the record.
 *
 * Whether HOST and PORT are good ones is not looked at; an IPv6 address stands in brackets. */
#ifndef HAMGR_BASE_ADDRESS_H
#define HAMGR_BASE_ADDRESS_H

#include "base/base.h"

/* False, and then both are "": it is neither, or a part of it is too long. */
bool address_split(const char *address, char host[HM_ADDRESS_MAX], char port[8]);
/* The same for who does not need the port. */
bool address_host(const char *address, char host[HM_ADDRESS_MAX]);
/* An IPv4 or IPv6 address, without brackets: nobody has to be asked for it, as for a name. */
bool address_is_literal(const char *host);

#endif
