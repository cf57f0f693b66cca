/* pass_log.c - tail rescue between members: pieces of a dead server's log, asked for and given.
 *
 * Who may have what is the core's business (core_gives_log()), which file it is the service's; a
 * piece is as large as was asked for, or empty: not given. What is lost is asked for again. */
#include "daemon/daemon.h"

bool pass_log_ask(void *ctx, uint8_t member, const struct service_log_ask *ask)
{
    struct driver *d = ctx;
    const struct record *r = core_record(&d->core);
    const struct wire_frame frame = { .type = WIRE_LOG_ASK,
                                      .log = { .service = d->settings->number,
                                               .id = ask->id,
                                               .ballot = ask->ballot,
                                               .at = ask->from,
                                               .size = ask->size } };

    if (r == NULL || member >= HM_MEMBERS_MAX || r->member[member].role != ROLE_DB)
        return false;
    return link_send(d->daemon->links, r->member[member].incarnation, r->member[member].name,
                     &frame);
}

static void send_piece(struct driver *d, const struct service_log_ask *ask, const uint8_t *bytes,
                       size_t size)
{
    const struct wire_frame frame = { .type = WIRE_LOG_PIECE,
                                      .log = { .service = d->settings->number,
                                               .id = ask->id,
                                               .ballot = ask->ballot,
                                               .at = ask->from,
                                               .size = (uint32_t)size,
                                               .bytes = bytes } };

    (void)link_send(d->daemon->links, ask->asker, NULL, &frame); /* lost: asked for again */
}

static void given(void *ctx, const struct service_log_ask *ask, const uint8_t *bytes, size_t size)
{
    send_piece(ctx, ask, bytes, size);
}

static void take_ask(struct driver *d, const struct link_peer *from, const struct wire_frame *frame)
{
    const struct service_log_ask ask = { .id = frame->log.id,
                                         .asker = from->incarnation,
                                         .ballot = frame->log.ballot,
                                         .from = frame->log.at,
                                         .size = frame->log.size };

    if (!core_gives_log(&d->core, from->incarnation, &ask.ballot, &ask.from, ask.size) ||
        !d->type->give_log(d->service, &ask, given, d))
        send_piece(d, &ask, NULL, 0);
}

void pass_log_take(struct driver *d, const struct link_peer *from, const struct wire_frame *frame)
{
    const struct record *r = core_record(&d->core);

    if (d->service == NULL || r == NULL)
        return;
    if (frame->type == WIRE_LOG_ASK)
        take_ask(d, from, frame);
    else if (ballot_compare(&frame->log.ballot, &d->core.mine) == 0)
        d->type->take_log(d->service, frame->log.id, frame->log.at.offset, frame->log.bytes,
                          frame->log.size);
}
