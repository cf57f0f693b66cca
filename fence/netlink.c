/* netlink.c - see netlink.h. */
#include "fence/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum hm_rc netlink_open(int family, int *ret_fd, struct hm_err *err)
{
    struct sockaddr_nl own = { .nl_family = AF_NETLINK };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, family);

    if (fd < 0)
        return hm_fail_errno(err, "cannot open a netlink socket");
    if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0) {
        enum hm_rc rc = hm_fail_errno(err, "cannot bind a netlink socket");

        (void)close(fd); /* nothing was sent */
        return rc;
    }
    *ret_fd = fd;
    return HM_OK;
}

void netlink_clear(struct netlink *b)
{
    b->n = 0;
    b->is_too_long = false;
}

/* Room for `size` bytes and the padding behind them, zeroed. */
static unsigned char *reserve(struct netlink *b, size_t size)
{
    unsigned char *at = b->bytes + b->n;
    size_t padded = NLMSG_ALIGN(size);

    if (b->is_too_long || padded > sizeof b->bytes - b->n) {
        b->is_too_long = true;
        return NULL;
    }
    memset(at, 0, padded);
    b->n += padded;
    return at;
}

void netlink_begin(struct netlink *b, uint16_t type, uint16_t flags, const void *fixed, size_t size)
{
    struct nlmsghdr header = { .nlmsg_type = type,
                               .nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST),
                               .nlmsg_seq = ++b->seq };
    unsigned char *at;

    b->message = b->n;
    at = reserve(b, sizeof header);
    if (at != NULL)
        memcpy(at, &header, sizeof header);
    at = reserve(b, size);
    if (at != NULL)
        memcpy(at, fixed, size);
}

void netlink_end(struct netlink *b)
{
    uint32_t length = (uint32_t)(b->n - b->message);

    if (!b->is_too_long) /* nlmsg_len is what a message begins with */
        memcpy(b->bytes + b->message, &length, sizeof length);
}

void netlink_put(struct netlink *b, uint16_t type, const void *data, size_t size)
{
    struct nlattr header = { .nla_len = (uint16_t)(sizeof(struct nlattr) + size),
                             .nla_type = type };
    unsigned char *at = reserve(b, sizeof header + size);

    if (at == NULL)
        return;
    memcpy(at, &header, sizeof header);
    if (size > 0)
        memcpy(at + sizeof header, data, size);
}

void netlink_put_text(struct netlink *b, uint16_t type, const char *text)
{
    netlink_put(b, type, text, strlen(text) + 1);
}

void netlink_put_be32(struct netlink *b, uint16_t type, uint32_t number)
{
    number = htonl(number);
    netlink_put(b, type, &number, sizeof number);
}

void netlink_put_be64(struct netlink *b, uint16_t type, uint64_t number)
{
    number = htobe64(number);
    netlink_put(b, type, &number, sizeof number);
}

size_t netlink_nest(struct netlink *b, uint16_t type)
{
    size_t at = b->n;

    netlink_put(b, (uint16_t)(type | NLA_F_NESTED), NULL, 0);
    return at;
}

void netlink_close(struct netlink *b, size_t nest)
{
    uint16_t length = (uint16_t)(b->n - nest);

    if (!b->is_too_long) /* nla_len is what an attribute begins with */
        memcpy(b->bytes + nest, &length, sizeof length);
}

/* The verdict on `seq` among the answers of one packet: -1 if it is not there yet. */
static int verdict(const unsigned char *bytes, size_t n, uint32_t seq)
{
    const struct nlmsghdr *m = (const void *)bytes;

    for (; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
        const struct nlmsgerr *e = NLMSG_DATA(m);

        if (m->nlmsg_type == NLMSG_ERROR && m->nlmsg_len >= NLMSG_LENGTH(sizeof *e) &&
            (e->error != 0 || m->nlmsg_seq == seq))
            return -e->error;
    }
    return -1;
}

/* The kernel has answered when send() returns: there is nothing to wait for. */
int netlink_talk(int fd, const struct netlink *b, uint32_t seq)
{
    _Alignas(8) unsigned char answer[8192];
    ssize_t n;
    int result = -1;

    if (b->is_too_long)
        return EMSGSIZE;
    while (recv(fd, answer, sizeof answer, 0) > 0)
        ; /* what was left of a talk that failed */
    if (send(fd, b->bytes, b->n, 0) < 0)
        return errno;
    while (result < 0) {
        n = recv(fd, answer, sizeof answer, 0);
        if (n < 0)
            return errno == EINTR ? EAGAIN : errno;
        result = verdict(answer, (size_t)n, seq);
    }
    return result;
}
