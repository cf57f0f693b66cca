/* parts.h - what the files of the world call of each other. Nothing outside tests/sim includes it.
 */
#ifndef TESTS_SIM_PARTS_H
#define TESTS_SIM_PARTS_H

#include "sim.h"

#define SIM_HOST(w, h) (&(w)->host[h])
#define SIM_NODE(w, s, h) (&(w)->node[s][h])
#define SIM_DB(w, s, h) (&(w)->node[s][h].db)

/* ---- sim.c */
void sim_begin(struct sim *w, uint64_t seed);
void sim_loop(struct sim *w);

/* ---- queue.c */
void sim_at(struct sim *w, int64_t at_us, enum sim_event_type type, unsigned int service,
            unsigned int host, uint32_t a, uint64_t b, uint32_t life);
void sim_push(struct sim *w, struct sim_event *e);
bool sim_next(struct sim *w, struct sim_event *ret);
void sim_queue_clear(struct sim *w);
/* Keeps an event until the paused process, or the host, goes on. */
void sim_defer(struct sim *w, const struct sim_event *e);
void sim_undefer(struct sim *w, unsigned int host);
/* A free post, or SIM_POSTS_MAX if there is none. */
uint16_t sim_post_new(struct sim *w);
void sim_post_free(struct sim *w, uint16_t post);
uint16_t sim_record_new(struct sim *w, const struct record *r);
void sim_record_take(struct sim *w, uint16_t record);
/* Feeds ev to the core of that node after delay_us, if hamgrd still lives then. */
void sim_post(struct sim *w, unsigned int service, unsigned int host, int64_t delay_us,
              const struct core_event *ev);

/* ---- draws (queue.c) */
int64_t sim_draw(struct sim *w, int64_t lo, int64_t hi);
/* Typically `typical`, at least a third of it, seldom many times as much. */
int64_t sim_draw_time(struct sim *w, int64_t typical_us);
bool sim_chance(struct sim *w, uint32_t ppm);

/* ---- net.c */
void sim_send(struct sim *w, unsigned int service, unsigned int host, const struct msg *m,
              uint16_t *record, const struct record **record_of);
/* A packet's way from one host to another, without loss. */
int64_t sim_delay(struct sim *w, unsigned int from, unsigned int to);

/* ---- hosts.c */
void sim_host_boot(struct sim *w, unsigned int host);
void sim_host_lost(struct sim *w, unsigned int host);
void sim_host_pause(struct sim *w, unsigned int host, bool with_clocks);
void sim_host_resume(struct sim *w, unsigned int host, bool is_noticed);
void sim_daemon_start(struct sim *w, unsigned int host);
void sim_daemon_kill(struct sim *w, unsigned int host);
void sim_daemon_pause(struct sim *w, unsigned int host);
void sim_daemon_resume(struct sim *w, unsigned int host, bool is_noticed);
void sim_helper_kill(struct sim *w, unsigned int host);
void sim_helper_start(struct sim *w, unsigned int host);
void sim_helper_pause(struct sim *w, unsigned int host);
void sim_helper_resume(struct sim *w, unsigned int host);
/* The state directory is lost; what: 0 all of it, 1 the voter's files only. */
void sim_host_wipe(struct sim *w, unsigned int host, bool is_all);
void sim_clock_set(struct sim *w, unsigned int host, int64_t local_us, int32_t ppm);

/* ---- steps.c */
void sim_feed(struct sim *w, unsigned int service, unsigned int host, struct core_event *ev);
void sim_tick(struct sim *w, const struct sim_event *e);
void sim_arm(struct sim *w, unsigned int service, unsigned int host);
void sim_node_start(struct sim *w, unsigned int service, unsigned int host);
/* The slot that the member on `host` has in the record known to `by`, or HM_NOBODY. */
uint8_t sim_slot(const struct sim *w, unsigned int service, unsigned int by, unsigned int host);
/* The host of a slot of the record known to `by`, or SIM_NOWHERE. */
uint8_t sim_slot_host(const struct sim *w, unsigned int service, unsigned int by, uint8_t slot);

/* ---- disk.c */
void sim_persist(struct sim *w, unsigned int service, unsigned int host, uint32_t ticket,
                 const struct voter_state *state);
void sim_written(struct sim *w, const struct sim_event *e);
/* The write under way is cut off: what is on disk is drawn. */
void sim_write_torn(struct sim *w, unsigned int service, unsigned int host);

/* ---- fence.c */
enum sim_verb { VERB_FENCE, VERB_THAW, VERB_KILL, VERB_REAP };
/* e: of VERB_FENCE, else NULL. */
void sim_verb(struct sim *w, unsigned int service, unsigned int host, enum sim_verb verb,
              const struct core_effect *e);
void sim_helper_takes(struct sim *w, const struct sim_event *e);
void sim_helper_time(struct sim *w, const struct sim_event *e);
void sim_suspended(struct sim *w, const struct sim_event *e);
void sim_thawed(struct sim *w, const struct sim_event *e);
void sim_killed(struct sim *w, const struct sim_event *e);
void sim_fence_boot(struct sim *w, unsigned int service, unsigned int host);
void sim_fence_back(struct sim *w, unsigned int service, unsigned int host);
void sim_suspend_soon(struct sim *w, unsigned int service, unsigned int host);
/* Members' streams pass the gate before the first client does. */
bool sim_gate_lets_members(const struct sim *w, unsigned int service, unsigned int host);
bool sim_fence_is_overdue(const struct sim *w, unsigned int service, unsigned int host);

/* ---- server.c */
void sim_server_start(struct sim *w, unsigned int service, unsigned int host);
/* Ends every process at once. */
void sim_server_end(struct sim *w, unsigned int service, unsigned int host, bool is_power_loss,
                    bool is_clean);
void sim_server_orphaned(struct sim *w, unsigned int service, unsigned int host);
void sim_server_crashed(struct sim *w, unsigned int service, unsigned int host);
void sim_server_hang(struct sim *w, unsigned int service, unsigned int host, bool is_hung);
void sim_server_next(struct sim *w, const struct sim_event *e);
void sim_server_final(struct sim *w, const struct sim_event *e);
void sim_orphans_end(struct sim *w, const struct sim_event *e);
void sim_server_promoted(struct sim *w, unsigned int service, unsigned int host, uint64_t timeline,
                         uint64_t epoch);
void sim_server_forged(struct sim *w, unsigned int service, unsigned int host);
void sim_server_goes_on(struct sim *w, unsigned int service, unsigned int host);
void sim_probe(struct sim *w, const struct sim_event *e);
/* Something visible changed: a probe follows at once. */
void sim_notice_copy(struct sim *w, unsigned int service, unsigned int host);
void sim_changed(struct sim *w, unsigned int service, unsigned int host);
uint16_t sim_branch_new(struct sim *w, unsigned int service, unsigned int host, uint16_t parent,
                        uint64_t fork, uint64_t timeline, uint64_t epoch, uint64_t system_id);
/* The branch on the way from the root to `tip` that byte position `at` belongs to. */
uint16_t sim_branch_at(const struct sim *w, unsigned int service, uint16_t tip, uint64_t at);
int64_t sim_fsync_us(struct sim *w, unsigned int host);

/* ---- stream.c */
/* A new commit of `size` bytes; id 0: nobody waits for it. Returns its end. */
uint64_t sim_append(struct sim *w, unsigned int service, unsigned int host, uint64_t size,
                    uint64_t id);
void sim_flushed(struct sim *w, const struct sim_event *e);
void sim_streamed(struct sim *w, const struct sim_event *e);
void sim_reported(struct sim *w, const struct sim_event *e);
void sim_connect(struct sim *w, const struct sim_event *e);
void sim_gone(struct sim *w, const struct sim_event *e);
/* A server's processes are gone: its standbys and the one that it streams from notice. */
void sim_stream_end(struct sim *w, unsigned int service, unsigned int host, bool is_power_loss);
void sim_disconnect(struct sim *w, unsigned int service, unsigned int host);
void sim_follow(struct sim *w, unsigned int service, unsigned int host, uint8_t upstream,
                bool is_fetching);
/* Sends on what there is to every standby of `host`. */
void sim_kick(struct sim *w, unsigned int service, unsigned int host);

/* ---- acks.c */
void sim_release_flushed(struct sim *w, unsigned int service, unsigned int host);
void sim_release_by(struct sim *w, unsigned int service, unsigned int host, unsigned int sender);
void sim_flag(struct sim *w, const struct sim_event *e);
void sim_senders(struct sim *w, const struct sim_event *e);
void sim_flag_set(struct sim *w, unsigned int service, unsigned int host);
/* Redis: replicas have reported. */
void sim_confirm(struct sim *w, unsigned int service, unsigned int host);
void sim_gate_opened(struct sim *w, unsigned int service, unsigned int host);
void sim_names_set(struct sim *w, unsigned int service, unsigned int host,
                   const struct sim_names *names);

/* ---- ops.c, ops_rebuild.c */
void sim_op_ask(struct sim *w, unsigned int service, unsigned int host,
                const struct core_effect *e);
void sim_op_step(struct sim *w, const struct sim_event *e);
/* hamgrd died: nobody hears how it ends; it may be cut off. */
void sim_op_orphaned(struct sim *w, unsigned int service, unsigned int host);
/* Steps of operations: the delay to the next step, or one of these. */
enum { OP_ENDS_WELL = -1, OP_FAILS = -2 };
int64_t sim_op_rewind(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_clone(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_init(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_fetch(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_rescue(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_marker(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_prove(struct sim *w, unsigned int service, unsigned int host);
int64_t sim_op_stop(struct sim *w, unsigned int service, unsigned int host);

/* ---- clients.c */
void sim_clients(struct sim *w, const struct sim_event *e);
void sim_client_hears(struct sim *w, unsigned int service, unsigned int host);
/* Writes come often for a while. */
void sim_clients_hurry(struct sim *w);
void sim_gap_begin(struct sim *w, unsigned int service, enum sim_gap kind);
void sim_gap_end(struct sim *w, unsigned int service);

/* ---- operators.c */
void sim_operator_looks(struct sim *w, const struct sim_event *e);
void sim_operator_hears(struct sim *w, unsigned int service, unsigned int host,
                        const struct core_effect *e);
/* An order to a member, wherever the operator believes the holder to be. */
void sim_order(struct sim *w, unsigned int service, const struct order *o);
uint8_t sim_holder(const struct sim *w, unsigned int service);

/* ---- random.c, faults.c */
void sim_draw_plan(struct sim *w);
void sim_draw_world(struct sim *w);
void sim_fault_next(struct sim *w);
void sim_fault_heal(struct sim *w, const struct sim_event *e);
void sim_heal_all(struct sim *w);
enum sim_trap { TRAP_NONE, TRAP_SEND, TRAP_EFFECT, TRAP_WRITE, TRAP_STATE };
/* Something at which a fault may be aimed has just happened. */
void sim_trap(struct sim *w, enum sim_trap kind, unsigned int detail, unsigned int service,
              unsigned int host, unsigned int other);
void sim_operator_keep(struct sim *w, unsigned int service, uint8_t host);
bool sim_operator_keeps(struct sim *w, unsigned int service);
void sim_force_step(struct sim *w, const struct sim_event *e);
void sim_script(struct sim *w, const struct sim_event *e);
void sim_trap_sprung(struct sim *w, unsigned int service, unsigned int host, unsigned int other);

/* ---- judge.c: from the world to check.h */
void judge_begin(struct sim *w);
void judge_started(struct sim *w, unsigned int service, unsigned int host);
void judge_stopped(struct sim *w, unsigned int host, bool is_host);
void judge_joined(struct sim *w, unsigned int host);
void judge_branched(struct sim *w, unsigned int service, uint16_t branch);
void judge_promoted(struct sim *w, unsigned int service, unsigned int host);
void judge_acknowledged(struct sim *w, unsigned int service, unsigned int host,
                        const struct sim_write *write, bool is_confirmed);
/* The helper of a host without a gate does not run in time, or does again. */
void judge_excused(struct sim *w, unsigned int host, bool is_excused);
void judge_clocks_stood(struct sim *w, unsigned int host);
/* After each event. */
void judge_asked(struct sim *w);

/* ---- trace.c */
enum sim_tale {
    TALE_TEXT,
    TALE_STATE,
    TALE_SEND,
    TALE_EFFECT,
    TALE_FAULT,
    TALE_HEAL,
    TALE_ACK,
    TALE_SERVER,
    TALE_FENCE,
    TALE_DONE,
    TALE_ORDER,
};
void sim_tell(struct sim *w, enum sim_tale what, unsigned int service, unsigned int host,
              unsigned int other, uint32_t c, uint64_t a, uint64_t b, const char *text);
void sim_print_trace(const struct sim *w, FILE *out, unsigned int lines);
/* dump.c */
void sim_print_state(const struct sim *w, FILE *out);
const char *sim_fault_name(unsigned int kind);

/* ---- stories.c */
int sim_story(struct sim *w, const char *name, bool is_traced);
/* Before all is healed: what the clients met so far counts. */
void sim_story_ended(struct sim *w);
void sim_story_step(struct sim *w, const struct sim_event *e);
int sim_stories(struct sim *w);
void sim_story_list(FILE *out);

#endif
