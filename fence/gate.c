/* gate.c - see gate.h.
 *
 * The table, as `nft list table` prints it:
 *
 *     set ports / clients / members { type inet_service; flags timeout }
 *     set peers4 { type ipv4_addr }   set peers6 { type ipv6_addr }
 *     chain out {
 *         type filter hook output priority filter; policy accept;
 *         tcp sport @ports goto guarded
 *     }
 *     chain guarded {
 *         tcp flags rst accept
 *         tcp sport @clients accept
 *         ip daddr @peers4 tcp sport @members accept
 *         ip6 daddr @peers6 tcp sport @members accept
 *         drop
 *     } */
#include "fence/gate.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How nft prints the keys; its own numbers, of no meaning to the kernel. */
enum { TYPE_IPV4 = 7, TYPE_IPV6 = 8, TYPE_PORT = 13 };

enum {
    TRIES = 3,
    SLACK_MS = 3, /* between reading the clock and the kernel's counting of a timeout */
    LATE_MS = 2,  /* a transaction that took longer is made again with what is left */
};

bool gate_add_peer(struct gate_peers *peers, const char *host)
{
    if (peers->n4 < HM_MEMBERS_MAX && inet_pton(AF_INET, host, &peers->v4[peers->n4]) == 1)
        peers->n4++;
    else if (peers->n6 < HM_MEMBERS_MAX && inet_pton(AF_INET6, host, &peers->v6[peers->n6]) == 1)
        peers->n6++;
    else
        return false;
    return true;
}

void gate_name(struct gate *g, const char *cluster, const char *run_dir)
{
    uint32_t hash = 2166136261; /* FNV-1a */

    for (const char *p = run_dir; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619;
    g->fd = -1;
    (void)snprintf(g->table, sizeof g->table, "hamgr_%s_%08x", cluster, hash); /* names are short */
}

enum hm_rc gate_open(struct gate *g, struct hm_err *err)
{
    g->fd = -1;
    return netlink_open(NETLINK_NETFILTER, &g->fd, err);
}

void gate_done(struct gate *g)
{
    if (g->fd >= 0)
        (void)close(g->fd); /* what was sent is in force */
    g->fd = -1;
}

/* --- messages ----------------------------------------------------------------------------------
 */

static void begin(struct gate *g, unsigned int type, uint16_t flags)
{
    struct nfgenmsg fixed = { .nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0 };

    netlink_begin(&g->buffer, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &fixed,
                  sizeof fixed);
}

static void mark_batch(struct gate *g, uint16_t type)
{
    struct nfgenmsg fixed = { .nfgen_family = AF_UNSPEC,
                              .version = NFNETLINK_V0,
                              .res_id = htons(NFNL_SUBSYS_NFTABLES) };

    netlink_begin(&g->buffer, type, 0, &fixed, sizeof fixed);
    netlink_end(&g->buffer);
}

static void put_table(struct gate *g, unsigned int type, uint16_t flags)
{
    begin(g, type, flags);
    netlink_put_text(&g->buffer, NFTA_TABLE_NAME, g->table);
    netlink_end(&g->buffer);
}

static void put_set(struct gate *g, const char *name, uint32_t id, uint32_t type, uint32_t size,
                    uint32_t flags)
{
    begin(g, NFT_MSG_NEWSET, NLM_F_CREATE);
    netlink_put_text(&g->buffer, NFTA_SET_TABLE, g->table);
    netlink_put_text(&g->buffer, NFTA_SET_NAME, name);
    netlink_put_be32(&g->buffer, NFTA_SET_ID, id);
    netlink_put_be32(&g->buffer, NFTA_SET_FLAGS, flags);
    netlink_put_be32(&g->buffer, NFTA_SET_KEY_TYPE, type);
    netlink_put_be32(&g->buffer, NFTA_SET_KEY_LEN, size);
    netlink_end(&g->buffer);
}

/* A key in a set; a timeout of 0 is none. */
static void put_element(struct gate *g, unsigned int type, const char *set, const void *key,
                        size_t size, hm_ms timeout_ms)
{
    struct netlink *b = &g->buffer;
    size_t list;
    size_t element;
    size_t data;
    uint16_t flags = 0;

    if (type == NFT_MSG_NEWSETELEM)
        flags = NLM_F_CREATE;
    else if (type == NFT_MSG_GETSETELEM)
        flags = NLM_F_ACK; /* says when the answer is complete */
    begin(g, type, flags);
    netlink_put_text(b, NFTA_SET_ELEM_LIST_TABLE, g->table);
    netlink_put_text(b, NFTA_SET_ELEM_LIST_SET, set);
    list = netlink_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
    element = netlink_nest(b, NFTA_LIST_ELEM);
    data = netlink_nest(b, NFTA_SET_ELEM_KEY);
    netlink_put(b, NFTA_DATA_VALUE, key, size);
    netlink_close(b, data);
    if (timeout_ms > 0)
        netlink_put_be64(b, NFTA_SET_ELEM_TIMEOUT, (uint64_t)timeout_ms);
    netlink_close(b, element);
    netlink_close(b, list);
    netlink_end(b);
}

static void put_chain(struct gate *g, const char *name, bool is_hook)
{
    struct netlink *b = &g->buffer;
    size_t hook;

    begin(g, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    netlink_put_text(b, NFTA_CHAIN_TABLE, g->table);
    netlink_put_text(b, NFTA_CHAIN_NAME, name);
    if (is_hook) {
        hook = netlink_nest(b, NFTA_CHAIN_HOOK);
        netlink_put_be32(b, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
        netlink_put_be32(b, NFTA_HOOK_PRIORITY, 0);
        netlink_close(b, hook);
        netlink_put_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
        netlink_put_text(b, NFTA_CHAIN_TYPE, "filter");
    }
    netlink_end(b);
}

/* --- rules -------------------------------------------------------------------------------------
 */

struct expression {
    size_t element;
    size_t data;
};

static struct expression begin_expression(struct netlink *b, const char *name)
{
    struct expression e = { .element = netlink_nest(b, NFTA_LIST_ELEM) };

    netlink_put_text(b, NFTA_EXPR_NAME, name);
    e.data = netlink_nest(b, NFTA_EXPR_DATA);
    return e;
}

static void end_expression(struct netlink *b, struct expression e)
{
    netlink_close(b, e.data);
    netlink_close(b, e.element);
}

/* The packet's family or protocol is that one. */
static void meta_is(struct netlink *b, uint32_t key, uint8_t wanted)
{
    struct expression e = begin_expression(b, "meta");
    size_t data;

    netlink_put_be32(b, NFTA_META_KEY, key);
    netlink_put_be32(b, NFTA_META_DREG, NFT_REG_1);
    end_expression(b, e);
    e = begin_expression(b, "cmp");
    netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_CMP_OP, NFT_CMP_EQ);
    data = netlink_nest(b, NFTA_CMP_DATA);
    netlink_put(b, NFTA_DATA_VALUE, &wanted, sizeof wanted);
    netlink_close(b, data);
    end_expression(b, e);
}

/* These bytes of a header are in the set. */
static void bytes_are_in(struct netlink *b, uint32_t header, uint32_t offset, uint32_t size,
                         const char *set)
{
    struct expression e = begin_expression(b, "payload");

    netlink_put_be32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_PAYLOAD_BASE, header);
    netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    netlink_put_be32(b, NFTA_PAYLOAD_LEN, size);
    end_expression(b, e);
    e = begin_expression(b, "lookup");
    netlink_put_text(b, NFTA_LOOKUP_SET, set);
    netlink_put_be32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
    end_expression(b, e);
}

static void port_is_in(struct netlink *b, const char *set)
{
    meta_is(b, NFT_META_L4PROTO, IPPROTO_TCP);
    bytes_are_in(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, set); /* the source port */
}

static void put_byte(struct netlink *b, uint16_t attribute, uint8_t value)
{
    size_t data = netlink_nest(b, attribute);

    netlink_put(b, NFTA_DATA_VALUE, &value, sizeof value);
    netlink_close(b, data);
}

/* The flag is set that tells the other end that the connection is gone. */
static void is_reset(struct netlink *b)
{
    enum { FLAGS_OFFSET = 13, RST = 0x04 };
    struct expression e = begin_expression(b, "payload");

    netlink_put_be32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
    netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, FLAGS_OFFSET);
    netlink_put_be32(b, NFTA_PAYLOAD_LEN, 1);
    end_expression(b, e);
    e = begin_expression(b, "bitwise");
    netlink_put_be32(b, NFTA_BITWISE_SREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_BITWISE_DREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_BITWISE_LEN, 1);
    put_byte(b, NFTA_BITWISE_MASK, RST);
    put_byte(b, NFTA_BITWISE_XOR, 0);
    end_expression(b, e);
    e = begin_expression(b, "cmp");
    netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_CMP_OP, NFT_CMP_NEQ);
    put_byte(b, NFTA_CMP_DATA, 0);
    end_expression(b, e);
}

static void decide(struct netlink *b, int verdict, const char *chain)
{
    struct expression e = begin_expression(b, "immediate");
    size_t data;
    size_t code;

    netlink_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    data = netlink_nest(b, NFTA_IMMEDIATE_DATA);
    code = netlink_nest(b, NFTA_DATA_VERDICT);
    netlink_put_be32(b, NFTA_VERDICT_CODE, (uint32_t)verdict);
    if (chain != NULL)
        netlink_put_text(b, NFTA_VERDICT_CHAIN, chain);
    netlink_close(b, code);
    netlink_close(b, data);
    end_expression(b, e);
}

static size_t begin_rule(struct gate *g, const char *chain)
{
    begin(g, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    netlink_put_text(&g->buffer, NFTA_RULE_TABLE, g->table);
    netlink_put_text(&g->buffer, NFTA_RULE_CHAIN, chain);
    return netlink_nest(&g->buffer, NFTA_RULE_EXPRESSIONS);
}

static void end_rule(struct gate *g, size_t expressions, int verdict, const char *chain)
{
    decide(&g->buffer, verdict, chain);
    netlink_close(&g->buffer, expressions);
    netlink_end(&g->buffer);
}

static void put_rules(struct gate *g)
{
    struct netlink *b = &g->buffer;
    size_t rule;

    /* It carries no data: a client whose server was killed learns of it at once, and looks for the
     * new primary. */
    rule = begin_rule(g, "guarded");
    is_reset(b);
    end_rule(g, rule, NF_ACCEPT, NULL);
    rule = begin_rule(g, "guarded");
    port_is_in(b, "clients");
    end_rule(g, rule, NF_ACCEPT, NULL);
    rule = begin_rule(g, "guarded");
    meta_is(b, NFT_META_NFPROTO, NFPROTO_IPV4);
    bytes_are_in(b, NFT_PAYLOAD_NETWORK_HEADER, 16, sizeof(struct in_addr), "peers4");
    port_is_in(b, "members");
    end_rule(g, rule, NF_ACCEPT, NULL);
    rule = begin_rule(g, "guarded");
    meta_is(b, NFT_META_NFPROTO, NFPROTO_IPV6);
    bytes_are_in(b, NFT_PAYLOAD_NETWORK_HEADER, 24, sizeof(struct in6_addr), "peers6");
    port_is_in(b, "members");
    end_rule(g, rule, NF_ACCEPT, NULL);
    rule = begin_rule(g, "guarded");
    end_rule(g, rule, NF_DROP, NULL);
    rule = begin_rule(g, "out");
    port_is_in(b, "ports");
    end_rule(g, rule, NFT_GOTO, "guarded");
}

/* --- transactions ------------------------------------------------------------------------------
 */

static void begin_batch(struct gate *g)
{
    netlink_clear(&g->buffer);
    mark_batch(g, NFNL_MSG_BATCH_BEGIN);
}

/* Asks for an answer to the last message, which comes once all are in force. */
static enum hm_rc commit(struct gate *g, struct hm_err *err)
{
    uint32_t seq = g->buffer.seq;
    uint16_t flags = NLM_F_REQUEST | NLM_F_ACK;
    int result;

    if (g->fd < 0)
        return hm_fail(err, HM_FAILED, "there is no way to nftables");
    if (!g->buffer.is_too_long) {
        unsigned char *at = g->buffer.bytes + g->buffer.message;
        uint16_t old;

        memcpy(&old, at + offsetof(struct nlmsghdr, nlmsg_flags), sizeof old);
        flags |= old;
        memcpy(at + offsetof(struct nlmsghdr, nlmsg_flags), &flags, sizeof flags);
    }
    mark_batch(g, NFNL_MSG_BATCH_END);
    result = netlink_talk(g->fd, &g->buffer, seq);
    if (result == 0)
        return HM_OK;
    errno = result;
    return hm_fail_errno(err, "nftables refused a change of table %s", g->table);
}

/* Adding an element that is there does not refresh it: it is added (so that it is there), taken
 * out, and added with what it shall have. */
static void put_port(struct gate *g, const char *set, const struct gate_state *s,
                     enum deadline_gate how, hm_ms now_ms)
{
    uint16_t key = htons(s->port);
    hm_ms left_ms = s->until_ms - now_ms - SLACK_MS;

    put_element(g, NFT_MSG_NEWSETELEM, set, &key, sizeof key, 0);
    put_element(g, NFT_MSG_DELSETELEM, set, &key, sizeof key, 0);
    if (how == DEADLINE_OPEN)
        put_element(g, NFT_MSG_NEWSETELEM, set, &key, sizeof key, 0);
    else if (how == DEADLINE_UNTIL && left_ms > 0)
        put_element(g, NFT_MSG_NEWSETELEM, set, &key, sizeof key, left_ms);
}

static void put_state(struct gate *g, const struct gate_state *s, hm_ms now_ms)
{
    put_port(g, "clients", s, s->clients, now_ms);
    put_port(g, "members", s, s->members, now_ms);
}

/* Makes a transaction, once more when it took long: timeouts count from when the kernel sees them,
 * not from when the clock was read. */
static enum hm_rc in_time(struct gate *g, void (*fill)(struct gate *g, const void *ctx, hm_ms now),
                          const void *ctx, struct hm_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        hm_ms now_ms = clock_boot_ms();
        enum hm_rc rc;

        begin_batch(g);
        fill(g, ctx, now_ms);
        rc = commit(g, err);
        if (rc != HM_OK || clock_boot_ms() - now_ms <= LATE_MS)
            return rc;
    }
    return HM_OK; /* slow each time, but each time with what was left then */
}

static void fill_state(struct gate *g, const void *ctx, hm_ms now_ms)
{
    put_state(g, ctx, now_ms);
}

enum hm_rc gate_set(struct gate *g, const struct gate_state *state, struct hm_err *err)
{
    return in_time(g, fill_state, state, err);
}

struct plan {
    const struct gate_peers *peers;
    const struct gate_state *states;
    size_t states_n;
};

static void fill_table(struct gate *g, const void *ctx, hm_ms now_ms)
{
    const struct plan *p = ctx;
    const struct gate_peers *peers = p->peers;

    put_table(g, NFT_MSG_NEWTABLE, NLM_F_CREATE); /* so that there is one to take away */
    put_table(g, NFT_MSG_DELTABLE, 0);
    put_table(g, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    put_set(g, "ports", 1, TYPE_PORT, 2, 0);
    put_set(g, "clients", 2, TYPE_PORT, 2, NFT_SET_TIMEOUT);
    put_set(g, "members", 3, TYPE_PORT, 2, NFT_SET_TIMEOUT);
    put_set(g, "peers4", 4, TYPE_IPV4, sizeof(struct in_addr), 0);
    put_set(g, "peers6", 5, TYPE_IPV6, sizeof(struct in6_addr), 0);
    put_chain(g, "guarded", false);
    put_chain(g, "out", true);
    put_rules(g);
    for (size_t i = 0; i < peers->n4; i++)
        put_element(g, NFT_MSG_NEWSETELEM, "peers4", &peers->v4[i], sizeof peers->v4[i], 0);
    for (size_t i = 0; i < peers->n6; i++)
        put_element(g, NFT_MSG_NEWSETELEM, "peers6", &peers->v6[i], sizeof peers->v6[i], 0);
    for (size_t i = 0; i < p->states_n; i++) {
        uint16_t key = htons(p->states[i].port);

        put_element(g, NFT_MSG_NEWSETELEM, "ports", &key, sizeof key, 0);
        put_state(g, &p->states[i], now_ms);
    }
}

enum hm_rc gate_build(struct gate *g, const struct gate_peers *peers,
                      const struct gate_state *states, size_t states_n, struct hm_err *err)
{
    struct plan plan = { .peers = peers, .states = states, .states_n = states_n };

    return in_time(g, fill_table, &plan, err);
}

bool gate_guards(struct gate *g, uint16_t port)
{
    uint16_t key = htons(port);

    netlink_clear(&g->buffer);
    put_element(g, NFT_MSG_GETSETELEM, "ports", &key, sizeof key, 0);
    return g->fd >= 0 && netlink_talk(g->fd, &g->buffer, g->buffer.seq) == 0;
}

enum hm_rc gate_remove(struct gate *g, struct hm_err *err)
{
    begin_batch(g);
    put_table(g, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    put_table(g, NFT_MSG_DELTABLE, 0);
    return commit(g, err);
}
