#include "wire/wire.h"

#include "wire/wire_inner.h"

#include <string.h>

/* --- messages -------------------------------------------------------------------------------- */

/* A message as protobuf-c wants it. */
struct out_msg {
    Hamgr__Msg msg;
    Hamgr__Ballot ballot, promised, accepted;
    Hamgr__Position at, copy_at;
    Hamgr__Gossip gossip;
    struct wire_record record;
};

static Hamgr__Gossip *put_gossip(struct out_msg *out, const struct gossip *g)
{
    Hamgr__Gossip *to = &out->gossip;

    hamgr__gossip__init(to);
    to->copy = (Hamgr__CopyState)wire_put_enum(WIRE_ENUM_COPY_STATE, g->copy);
    to->copy_id = g->copy_id;
    to->at = wire_put_position(&out->copy_at, &g->at);
    to->began_epoch = g->began_epoch;
    to->epoch = g->epoch;
    to->priority = g->priority;
    to->follows = g->follows;
    to->is_streaming = g->is_streaming;
    to->is_final = g->is_final;
    to->is_healthy = g->is_healthy;
    to->is_nofailover = g->is_nofailover;
    to->is_delayed = g->is_delayed;
    to->wants_rebuild = g->wants_rebuild;
    to->sees_majority = g->sees_majority;
    to->is_holder = g->is_holder;
    to->released = g->released;
    to->is_rebuilding = g->is_rebuilding;
    to->rebuilt_percent = g->rebuilt_percent;
    to->rebuild_failures = g->rebuild_failures;
    to->is_open = g->is_open;
    return to;
}

static Hamgr__Msg *put_msg(struct out_msg *out, const struct msg *m)
{
    Hamgr__Msg *to = &out->msg;

    hamgr__msg__init(to);
    to->type = (Hamgr__MsgType)wire_put_enum(WIRE_ENUM_MSG_TYPE, m->type);
    to->service = m->service;
    to->from = m->from;
    to->to = m->to;
    to->from_incarnation = m->from_incarnation;
    to->to_incarnation = m->to_incarnation;
    to->cluster = m->cluster;
    to->cluster_incarnation = m->cluster_incarnation;
    to->seq = m->seq;
    to->ballot = wire_put_ballot(&out->ballot, &m->ballot);
    to->version = m->version;
    to->ttl_ms = m->ttl_ms;
    to->refusal = (Hamgr__Refusal)wire_put_enum(WIRE_ENUM_REFUSAL, m->refusal);
    to->promised = wire_put_ballot(&out->promised, &m->promised);
    to->remaining_ms = m->remaining_ms;
    to->accepted = wire_put_ballot(&out->accepted, &m->accepted);
    to->record = m->record != NULL ? wire_put_record(&out->record, m->record) : NULL;
    to->at = wire_put_position(&out->at, &m->at);
    to->began_epoch = m->began_epoch;
    to->copy_id = m->copy_id;
    to->gossip = put_gossip(out, &m->gossip);
    return to;
}

static void get_gossip(const Hamgr__Gossip *in, struct gossip *ret, const char **why)
{
    if (in == NULL)
        return;
    ret->copy = (enum copy_state)wire_get_enum(WIRE_ENUM_COPY_STATE, (unsigned)in->copy, why);
    ret->copy_id = in->copy_id;
    ret->at = wire_get_position(in->at);
    ret->began_epoch = in->began_epoch;
    ret->epoch = in->epoch;
    ret->priority = wire_get_i16(in->priority, why);
    ret->follows = wire_get_u8(in->follows, why);
    ret->is_streaming = in->is_streaming != 0;
    ret->is_final = in->is_final != 0;
    ret->is_healthy = in->is_healthy != 0;
    ret->is_nofailover = in->is_nofailover != 0;
    ret->is_delayed = in->is_delayed != 0;
    ret->wants_rebuild = in->wants_rebuild != 0;
    ret->sees_majority = in->sees_majority != 0;
    ret->is_holder = in->is_holder != 0;
    ret->released = in->released != 0;
    ret->is_rebuilding = in->is_rebuilding != 0;
    ret->rebuilt_percent = wire_get_u8(in->rebuilt_percent, why);
    ret->rebuild_failures = wire_get_u8(in->rebuild_failures, why);
    ret->is_open = in->is_open != 0;
}

static const char *get_msg(const Hamgr__Msg *in, struct msg *ret, struct record *record)
{
    const char *why = NULL;

    memset(ret, 0, sizeof *ret);
    ret->type = (enum msg_type)wire_get_enum(WIRE_ENUM_MSG_TYPE, (unsigned)in->type, &why);
    ret->service = wire_get_u8(in->service, &why);
    ret->from = wire_get_u8(in->from, &why);
    ret->to = wire_get_u8(in->to, &why);
    ret->from_incarnation = in->from_incarnation;
    ret->to_incarnation = in->to_incarnation;
    ret->cluster = in->cluster;
    ret->cluster_incarnation = in->cluster_incarnation;
    ret->seq = in->seq;
    ret->ballot = wire_get_ballot(in->ballot, &why);
    ret->version = in->version;
    ret->ttl_ms = in->ttl_ms;
    ret->refusal = (enum refusal)wire_get_enum(WIRE_ENUM_REFUSAL, (unsigned)in->refusal, &why);
    ret->promised = wire_get_ballot(in->promised, &why);
    ret->remaining_ms = in->remaining_ms;
    ret->accepted = wire_get_ballot(in->accepted, &why);
    ret->at = wire_get_position(in->at);
    ret->began_epoch = in->began_epoch;
    ret->copy_id = in->copy_id;
    get_gossip(in->gossip, &ret->gossip, &why);
    if (in->record != NULL) {
        wire_get_record(in->record, record, &why);
        ret->record = record;
    }
    if (why == NULL && msg_check(ret, &why) == HM_OK)
        return NULL;
    return why;
}

/* --- hello ----------------------------------------------------------------------------------- */

/* Sixteen records at once would not be for the stack. Protobuf lets a message be written in pieces,
 * so each service is packed by itself, behind its tag and length. */

enum {
    TAG_HELLO = 1 << 3 | 2,   /* Frame.hello */
    TAG_SERVICE = 7 << 3 | 2, /* Hello.services */
};

static size_t varint_size(size_t number)
{
    size_t n = 1;

    for (; number > 0x7f; number >>= 7)
        n++;
    return n;
}

static uint8_t *put_head(uint8_t *to, uint8_t tag, size_t length)
{
    *to++ = tag;
    for (; length > 0x7f; length >>= 7)
        *to++ = (uint8_t)(length | 0x80);
    *to++ = (uint8_t)length;
    return to;
}

/* Bytes of a service with tag and length; it is written unless `to` is NULL. */
static size_t put_service(const struct wire_service *s, uint8_t *to)
{
    Hamgr__Service out = HAMGR__SERVICE__INIT;
    struct wire_record record;
    size_t size;

    out.name = wire_put_text(s->name, sizeof s->name);
    out.first = wire_put_record(&record, &s->first);
    size = hamgr__service__get_packed_size(&out);
    if (to != NULL)
        (void)hamgr__service__pack(&out, put_head(to, TAG_SERVICE, size)); /* size bytes */
    return 1 + varint_size(size) + size;
}

static enum hm_rc pack_hello(const struct wire_hello *h, uint8_t *to, size_t room, size_t *ret_used,
                             struct hm_err *err)
{
    Hamgr__Hello out = HAMGR__HELLO__INIT;
    size_t size, used;

    HM_BUG_ON(h->services_n > HM_SERVICES_MAX);
    out.version = h->version;
    out.software = wire_put_text(h->software, sizeof h->software);
    out.cluster = wire_put_text(h->cluster, sizeof h->cluster);
    out.from = wire_put_text(h->from, sizeof h->from);
    out.to = wire_put_text(h->to, sizeof h->to);
    out.incarnation = h->incarnation;
    out.instance = h->instance;
    out.rival = wire_put_text(h->rival, sizeof h->rival);
    size = hamgr__hello__get_packed_size(&out);
    for (unsigned i = 0; i < h->services_n; i++)
        size += put_service(&h->service[i], NULL);
    used = 1 + varint_size(size) + size;
    if (used > room)
        return hm_fail(err, HM_NO_SPACE, "a hello of %zu bytes does not fit", used);
    to = put_head(to, TAG_HELLO, size);
    to += hamgr__hello__pack(&out, to);
    for (unsigned i = 0; i < h->services_n; i++)
        to += put_service(&h->service[i], to);
    *ret_used = used;
    return HM_OK;
}

/* A first record is no record yet: what it lacks is filled in before it is looked at. */
static void check_first(const struct record *first, const char **why)
{
    struct record r = *first;
    const char *fault = NULL;

    r.version = 1;
    r.epoch = 1;
    r.pairs_n = 1;
    r.pairs[0] = pair_alone;
    for (r.holder = 0; r.holder < HM_MEMBERS_MAX; r.holder++)
        if (r.member[r.holder].role == ROLE_DB)
            break;
    if (*why == NULL && record_check(&r, &fault) != HM_OK)
        *why = fault;
}

static const char *get_hello(const Hamgr__Hello *in, struct wire_storage *storage)
{
    struct wire_hello *h = &storage->hello;
    const char *why = NULL;

    memset(h, 0, sizeof *h);
    h->version = in->version;
    wire_get_text(&in->software, h->software, sizeof h->software, &why);
    wire_get_text(&in->cluster, h->cluster, sizeof h->cluster, &why);
    wire_get_text(&in->from, h->from, sizeof h->from, &why);
    wire_get_text(&in->to, h->to, sizeof h->to, &why);
    h->incarnation = in->incarnation;
    h->instance = in->instance;
    wire_get_text(&in->rival, h->rival, sizeof h->rival, &why);
    if (in->n_services > HM_SERVICES_MAX)
        return "number of services";
    for (size_t i = 0; i < in->n_services && why == NULL; i++) {
        const Hamgr__Service *from = in->services[i];
        struct wire_service *s = &storage->service[i];

        wire_get_text(&from->name, s->name, sizeof s->name, &why);
        if (s->name[0] == 0 || from->first == NULL)
            return "name or record of a service";
        wire_get_record(from->first, &s->first, &why);
        check_first(&s->first, &why);
    }
    h->services_n = (uint8_t)in->n_services;
    h->service = storage->service;
    return why;
}

/* --- texts ----------------------------------------------------------------------------------- */

static const char *get_call(const Hamgr__Text *in, struct wire_storage *storage,
                            struct wire_frame *ret)
{
    const char *why = NULL;

    wire_get_text(&in->text, storage->text, sizeof storage->text, &why);
    ret->call.id = in->id;
    ret->call.text = storage->text;
    return why;
}

/* --- pieces of a log ------------------------------------------------------------------------- */

static const char *get_log(const Hamgr__Log *in, bool is_piece, struct wire_frame *ret)
{
    const char *why = NULL;

    ret->log.service = wire_get_u8(in->service, &why);
    ret->log.id = in->id;
    ret->log.ballot = wire_get_ballot(in->ballot, &why);
    ret->log.at = wire_get_position(in->at);
    ret->log.size = in->size;
    ret->log.bytes = in->bytes.data;
    if (in->size > WIRE_LOG_MAX || in->bytes.len != (is_piece ? in->size : 0))
        wire_note(&why, "size of a piece of a log");
    return why;
}

/* --- frames ---------------------------------------------------------------------------------- */

static enum hm_rc pack_body(const Hamgr__Frame *out, uint8_t *to, size_t room, size_t *ret_used,
                            struct hm_err *err)
{
    size_t size = hamgr__frame__get_packed_size(out);

    if (size > room)
        return hm_fail(err, HM_NO_SPACE, "a frame of %zu bytes does not fit", size);
    *ret_used = hamgr__frame__pack(out, to);
    return HM_OK;
}

static enum hm_rc pack_msg(const struct msg *m, uint8_t *to, size_t room, size_t *ret_used,
                           struct hm_err *err)
{
    Hamgr__Frame out = HAMGR__FRAME__INIT;
    struct out_msg msg;

    out.body_case = HAMGR__FRAME__BODY_MSG;
    out.msg = put_msg(&msg, m);
    return pack_body(&out, to, room, ret_used, err);
}

static enum hm_rc pack_call(const struct wire_frame *f, uint8_t *to, size_t room, size_t *ret_used,
                            struct hm_err *err)
{
    Hamgr__Frame out = HAMGR__FRAME__INIT;
    Hamgr__Text text = HAMGR__TEXT__INIT;

    text.id = f->call.id;
    text.text = wire_put_text(f->call.text, WIRE_TEXT_MAX + 1);
    if (text.text.len > WIRE_TEXT_MAX)
        return hm_fail(err, HM_NO_SPACE, "a text of more than %d bytes is not sent", WIRE_TEXT_MAX);
    if (f->type == WIRE_CALL) {
        out.body_case = HAMGR__FRAME__BODY_CALL;
        out.call = &text;
    } else {
        out.body_case = HAMGR__FRAME__BODY_REPLY;
        out.reply = &text;
    }
    return pack_body(&out, to, room, ret_used, err);
}

static enum hm_rc pack_log(const struct wire_frame *f, uint8_t *to, size_t room, size_t *ret_used,
                           struct hm_err *err)
{
    Hamgr__Frame out = HAMGR__FRAME__INIT;
    Hamgr__Log log = HAMGR__LOG__INIT;
    Hamgr__Ballot ballot;
    Hamgr__Position at;

    if (f->log.size > WIRE_LOG_MAX)
        return hm_fail(err, HM_NO_SPACE, "more than %d bytes of a log are not sent", WIRE_LOG_MAX);
    log.service = f->log.service;
    log.id = f->log.id;
    log.ballot = wire_put_ballot(&ballot, &f->log.ballot);
    log.at = wire_put_position(&at, &f->log.at);
    log.size = f->log.size;
    if (f->type == WIRE_LOG_ASK) {
        out.body_case = HAMGR__FRAME__BODY_LOG_ASK;
        out.log_ask = &log;
    } else {
        log.bytes.len = f->log.size;
        log.bytes.data = (uint8_t *)(uintptr_t)f->log.bytes; /* only read */
        out.body_case = HAMGR__FRAME__BODY_LOG_PIECE;
        out.log_piece = &log;
    }
    return pack_body(&out, to, room, ret_used, err);
}

enum hm_rc wire_pack(const struct wire_frame *f, uint8_t *buffer, size_t size, size_t *ret_used,
                     struct hm_err *err)
{
    enum hm_rc rc = HM_NO_SPACE;
    size_t used = 0, room;

    if (size < WIRE_LENGTH)
        return hm_fail(err, HM_NO_SPACE, "no room for a frame's length");
    room = size - WIRE_LENGTH < WIRE_FRAME_MAX ? size - WIRE_LENGTH : WIRE_FRAME_MAX;
    switch (f->type) {
    case WIRE_HELLO:
        rc = pack_hello(f->hello, buffer + WIRE_LENGTH, room, &used, err);
        break;
    case WIRE_MSG:
        rc = pack_msg(&f->msg, buffer + WIRE_LENGTH, room, &used, err);
        break;
    case WIRE_CALL:
    case WIRE_REPLY:
        rc = pack_call(f, buffer + WIRE_LENGTH, room, &used, err);
        break;
    case WIRE_LOG_ASK:
    case WIRE_LOG_PIECE:
        rc = pack_log(f, buffer + WIRE_LENGTH, room, &used, err);
        break;
    default:
        HM_BUG_ON(true);
    }
    if (rc != HM_OK)
        return rc;
    for (unsigned i = 0; i < WIRE_LENGTH; i++)
        buffer[i] = (uint8_t)(used >> (8 * (WIRE_LENGTH - 1 - i)));
    *ret_used = WIRE_LENGTH + used;
    return HM_OK;
}

enum hm_rc wire_unpack(const uint8_t *bytes, size_t size, struct wire_storage *storage,
                       struct wire_frame *ret_frame, struct hm_err *err)
{
    ProtobufCAllocator arena = wire_arena(storage);
    struct wire_frame frame;
    const Hamgr__Frame *in;
    const char *why = NULL;

    if (size == 0 || size > WIRE_FRAME_MAX)
        return hm_fail(err, HM_BAD_INPUT, "a frame of %zu bytes", size);
    in = hamgr__frame__unpack(&arena, size, bytes);
    if (in == NULL)
        return hm_fail(err, HM_BAD_INPUT, "a frame is garbled, or holds too much");
    memset(&frame, 0, sizeof frame);
    switch ((int)in->body_case) {
    case HAMGR__FRAME__BODY_HELLO:
        frame.type = WIRE_HELLO;
        frame.hello = &storage->hello;
        why = get_hello(in->hello, storage);
        break;
    case HAMGR__FRAME__BODY_MSG:
        frame.type = WIRE_MSG;
        why = get_msg(in->msg, &frame.msg, &storage->record);
        break;
    case HAMGR__FRAME__BODY_CALL:
        frame.type = WIRE_CALL;
        why = get_call(in->call, storage, &frame);
        break;
    case HAMGR__FRAME__BODY_REPLY:
        frame.type = WIRE_REPLY;
        why = get_call(in->reply, storage, &frame);
        break;
    case HAMGR__FRAME__BODY_LOG_ASK:
        frame.type = WIRE_LOG_ASK;
        why = get_log(in->log_ask, false, &frame);
        break;
    case HAMGR__FRAME__BODY_LOG_PIECE:
        frame.type = WIRE_LOG_PIECE;
        why = get_log(in->log_piece, true, &frame);
        break;
    default:
        return hm_fail(err, HM_REFUSED, "a frame of a kind that this version does not know");
    }
    if (why != NULL)
        return hm_fail(err, HM_BAD_INPUT, "not possible: %s", why);
    *ret_frame = frame;
    return HM_OK;
}
