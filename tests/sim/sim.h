/* sim.h - a made-up world for the real cores: hosts, clocks, disks, a network, databases, clients.
 *
 * Everything comes from one seed: the same seed always gives the same run. True time is int64_t
 * microseconds since the run began; no member ever sees it. Hosts are numbered by this file
 * (HOST), members by the record (SLOT); they agree only at the beginning. Nothing here knows what
 * is right: check.h judges, and looks at these structs for the truth. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "core/core.h"

#include "check.h"

#include <stdio.h>

enum {
    SIM_HOSTS_MAX = 8,
    SIM_SERVICES_MAX = 2,
    SIM_BRANCHES_MAX = 512, /* of one service */
    SIM_WRITES_MAX = 64,    /* not yet acknowledged, on one copy; a power of two */
    SIM_POSTS_MAX = 16384,  /* events on their way to a core */
    SIM_RECORDS_MAX = 1024, /* records that travel with them */
    SIM_TRACE_MAX = 1024,   /* a power of two */
    SIM_FAULTS_MAX = 64,    /* kinds */
    SIM_NOWHERE = 255,      /* no host */
    SIM_NO_BRANCH = 0xffff,
};

#define SIM_MS INT64_C(1000)
#define SIM_S INT64_C(1000000)
#define SIM_NEVER INT64_MAX

/* ---- events -------------------------------------------------------------------------------- */

enum sim_event_type {
    EV_POST,        /* a core event reaches its core: `a` is a post */
    EV_TICK,        /* core_deadline() */
    EV_PROBE,       /* the next look at a copy */
    EV_WRITTEN,     /* a voter's state is on disk, or not */
    EV_HELPER,      /* a verb reaches hamgr-fence */
    EV_HELPER_TIME, /* hamgr-fence's own deadline */
    EV_SUSPENDED,   /* every process is stopped now */
    EV_KILLED,      /* every process is dead now */
    EV_THAWED,
    EV_OP,      /* the next step of a copy operation */
    EV_SERVER,  /* a server's own next step: ready, recovered */
    EV_FLUSH,   /* a primary's log is on its disk up to `b` */
    EV_STREAM,  /* a standby has flushed what it received */
    EV_REPORT,  /* ... and its walsender at host `a` hears of it */
    EV_CONNECT, /* a standby tries to stream */
    EV_FLAG,    /* the checkpointer takes note of the names */
    EV_SENDERS, /* walsender of host `a` reads the names */
    EV_CLIENT,  /* the clients write */
    EV_FAULT,   /* the next fault begins */
    EV_HEAL,    /* fault `a` ends */
    EV_BOOT,
    EV_DAEMON,   /* hamgrd is started (again) */
    EV_FENCE,    /* hamgr-fence is started (again) */
    EV_OPERATOR, /* the operator looks and orders */
    EV_PHASE,    /* faults end; convergence is due; the run ends */
    EV_GATE,     /* the kernel gate: queued packets may leave */
    EV_STORY,    /* the next step of a told story */
    EV_TRAP,     /* a fault that was aimed strikes */
    EV_EXCUSED,  /* the helper runs in time again */
    EV_RESUME,   /* host `host` goes on */
    EV_FINAL,    /* a server has read all log on its disk */
    EV_ORPHANS,  /* the last orphan ends by itself */
    EV_FORCE,    /* the next step of a forced failover */
    EV_SCRIPT,   /* fault `a` of a pattern begins: for `b`, between host and `c` */
    EV_GONE,     /* a walsender's standby is gone: `a`, its stream `b` */
};

struct sim_event {
    int64_t at_us;
    uint32_t order; /* events of one moment happen in the order in which they were made */
    uint8_t type;
    uint8_t host;
    uint8_t service;
    uint8_t spare;
    uint32_t a;
    uint32_t life; /* void when whatever it is about has started a new life */
    uint64_t b;
    int64_t c;
};

/* Something on its way to a core: a message, a probe, how an operation ended. */
struct sim_post {
    struct core_event ev;
    uint16_t record; /* of ev.message; SIM_RECORDS_MAX: none */
    uint16_t next;   /* free list */
};

/* ---- hosts --------------------------------------------------------------------------------- */

/* A boot-time clock: local = local_us + (true - since_us) * (1 + ppm / 1e6). */
struct sim_clock {
    int64_t since_us;
    int64_t local_us;
    int32_t ppm;
    bool is_stopped; /* with a paused host: then it stays at local_us */
};

struct sim_process {
    bool is_running;
    bool is_paused;    /* SIGSTOP, or starved */
    uint32_t life;     /* counts starts */
    int64_t paused_us; /* since */
};

struct sim_host {
    char name[HM_NAME_MAX];
    enum member_role role;
    uint64_t incarnation; /* of the state directory; 0: none was made yet */
    bool is_on;
    bool is_paused; /* the whole machine */
    bool is_member; /* the operator wants it in the cluster */
    bool is_gone;   /* off for ever, as far as the operator knows */
    bool was_wiped; /* has lost its state directory and not been replaced yet */
    uint32_t boots;
    struct sim_clock clock;
    int64_t stopped_us;        /* true time for which its clocks have stood still, in all */
    int64_t clocks_resumed_us; /* when they went on last; -1: they never stopped */
    int64_t paused_us;
    struct sim_process daemon; /* hamgrd or hamgr-witness */
    struct sim_process helper; /* hamgr-fence */
    int64_t write_us;          /* typical time of a durable write of the voter */
    int64_t fsync_us;          /* typical time of a database's fsync */
    int64_t slow_disk_us;      /* more, while the disk is sick */
    bool is_disk_full;
    bool is_disk_hung;
    bool is_overloaded;  /* nothing hangs, and everything is late */
    int64_t sick_us;     /* true time since which it does one of the two */
    hm_ms wall_ms;       /* wall clock less boot time: jumps */
    uint32_t deferred_n; /* events waiting for a paused process */
};

/* A directed link. */
struct sim_link {
    int64_t delay_us;
    int64_t jitter_us;
    uint32_t loss_ppm;
    uint32_t twice_ppm;
    uint32_t late_ppm; /* a duplicate is kept back for seconds */
    uint16_t cuts;     /* how many faults cut it now */
    bool is_ordered;
    int64_t last_us;
};

/* ---- databases ------------------------------------------------------------------------------ */

/* A stretch of log that one server wrote as a primary. Truly unique, unlike its timeline number. */
struct sim_branch {
    uint16_t parent; /* SIM_NO_BRANCH: none */
    uint8_t host;    /* that wrote it */
    uint64_t fork;   /* where it leaves its parent: bytes up to here are the parent's */
    uint64_t timeline;
    uint64_t epoch; /* under which it was begun; 0: before hamgr */
    uint64_t end;   /* highest byte ever written on it */
    uint64_t system_id;
    int64_t began_us;
};

enum sim_run {
    RUN_DOWN,    /* no process */
    RUN_ORPHANS, /* the postmaster is dead, backends are not: they go on acknowledging */
    RUN_STARTING,
    RUN_STANDBY,
    RUN_PRIMARY,
};

/* synchronous_standby_names, as somebody sees it. */
struct sim_names {
    enum names_state state;
    uint16_t hosts; /* with NAMES_PAIR */
    uint8_t need;
    uint64_t digest;
    struct pair pair;
};

struct sim_write {
    uint64_t end; /* the byte after its commit */
    uint64_t id;  /* 0: nobody waits for it */
    uint16_t branch;
    uint64_t epoch; /* as noted beside the data when it was executed */
    int64_t at_us;
    int64_t released_us; /* its rule was fulfilled */
};

/* A primary's side of one stream. */
struct sim_sender {
    bool is_connected;
    uint32_t stream_life; /* of the standby: tells connections apart */
    uint64_t copy_id;     /* of the standby that is connected */
    uint64_t sent;
    uint64_t flushed;       /* as reported */
    struct sim_names names; /* its own view of the setting */
};

struct sim_op {
    enum core_effect_type type; /* DO_SEND: none */
    uint32_t id;
    uint32_t daemon_life; /* of the hamgrd that asked; another one does not hear how it ends */
    uint32_t life;
    uint8_t step;
    uint8_t host; /* the member's */
    bool fails;
    uint64_t timeline, epoch;
    struct position upto;
    struct sim_names names;
    uint64_t marker;
    int64_t until_us;
};

/* One copy of one service and its server. */
struct sim_db {
    bool has_data;
    bool is_rebuilding; /* the durable mark */
    enum sim_run run;
    bool is_suspended;
    bool is_hung;    /* answers nobody, flushes nothing ... */
    int64_t hung_us; /* ... since this true time */
    bool was_primary;
    bool has_written; /* its files say that it ran as a primary last */
    bool is_forged;   /* made a primary by hand: its log has a fork that nobody was told of */
    bool is_crashed;
    bool is_final;
    bool rewind_is_impossible;
    bool lacks_log; /* what it needs next is nowhere any more: it cannot stream */
    uint32_t life;  /* of the server's processes */
    uint64_t copy_id, system_id, server_id, began_epoch;

    uint16_t branch;       /* of its end of log */
    uint64_t end;          /* written or received */
    uint64_t flushed;      /* would survive a power loss */
    uint64_t visible;      /* standby just started: what it reports until is_final */
    uint64_t snapshot_end; /* Redis: what a restart loads */
    uint16_t snapshot_branch;
    int64_t replay_blocked_until_us;

    uint8_t follows; /* host, or SIM_NOWHERE */
    bool is_streaming;
    bool is_in_full_sync; /* Redis: overwrites itself with the primary's data ... */
    bool is_other_copy;   /* ... and the next probe will notice that it is another copy */
    bool is_fetching;     /* from a frozen log: `follows` is only for that */
    bool is_stopping;
    uint32_t stream_life;
    uint32_t upstream_life;    /* of the server that it streams from */
    uint64_t in_flight;        /* received by then, not flushed; 0: nothing */
    uint16_t in_flight_branch; /* of the server that sent it */
    int64_t stalled_us;        /* since when nothing came through */

    bool is_flushing;
    struct sim_names names;      /* as new connections see it */
    struct sim_names names_next; /* being loaded */
    bool flag;                   /* commits wait at all */
    bool is_flag_certain;
    struct sim_sender sender[SIM_HOSTS_MAX];
    uint64_t returned; /* every commit up to here has returned */

    struct sim_write waiting[SIM_WRITES_MAX]; /* commits that have not returned */
    uint32_t waiting_head, waiting_tail;
    struct sim_write queued[SIM_WRITES_MAX]; /* acknowledgements in the kernel, behind the gate */
    uint32_t queued_head, queued_tail;
    struct sim_write confirming[SIM_WRITES_MAX]; /* Redis: a client WAITs for its replicas */
    uint32_t confirming_head, confirming_tail;

    struct sim_op op, next;
};

struct sim_fence {
    enum fence_mode mode; /* what the helper holds */
    hm_ms suspend_ms;     /* with FENCE_LEASE, local time: when it suspends by itself */
    hm_ms until_ms;       /* the deadline itself: when the gate closes */
    bool is_gate_open;
    bool file_is_valid;        /* the deadline under /run */
    enum fence_mode gate_mode; /* what the kernel holds */
    hm_ms gate_until_ms;
    bool gate_is_open;
    int64_t timer_us; /* the helper's next EV_HELPER_TIME; SIM_NEVER: none */
    int64_t verb_us;  /* verbs keep their order */
    bool is_suspending, is_thawing;
    uint32_t life; /* voids what was begun and then countermanded */
};

/* One member's share in one service. */
struct sim_node {
    bool is_there; /* hamgrd runs a core for it */
    bool is_db;
    struct core core; /* meaningless while hamgrd is down */
    bool has_file;
    struct voter_state file;    /* what a restart would read */
    struct voter_state durable; /* the last state that the core was told to be on disk */
    struct voter_state writing;
    bool is_writing;
    uint32_t writing_ticket;
    uint32_t writing_life;
    bool writing_fails;
    bool writing_is_there; /* although it fails */

    int64_t tick_us;     /* the earliest EV_TICK under way; SIM_NEVER: none */
    int64_t probe_us;    /* the last probe is delivered then */
    bool probe_is_asked; /* an extra one is under way */
    hm_ms last_ms;       /* of the last step */
    uint32_t steps_in_ms;
    enum core_state told_state; /* for the trace */
    struct sim_db db;
    struct sim_fence fence;
};

/* ---- the world ------------------------------------------------------------------------------ */

enum sim_gap { GAP_HOST_LOST, GAP_KILLED, GAP_SWITCHOVER, GAP_BLIP, GAP_KINDS };

enum sim_profile {
    PROFILE_CALM, /* one clean fault at a time: write gaps are measured */
    PROFILE_SAFE, /* only faults that must not be noticed: P5 */
    PROFILE_MIXED,
    PROFILE_HARSH,
    PROFILE_AIMED, /* faults at the moment of a vote, a write, a promotion */
    PROFILE_STORY,
    PROFILES
};

/* What is drawn once for a run. */
struct sim_plan {
    enum sim_profile profile;
    uint8_t db_n, witness_n, spare_n; /* spares join later */
    uint8_t services_n;
    enum service_kind kind[SIM_SERVICES_MAX];
    hm_ms ttl_ms, heartbeat_ms;
    uint8_t timing; /* 0 default, 1 lan, 2 others */
    enum durability durability;
    uint8_t sync_standbys;
    uint64_t max_lag_bytes;
    bool has_gate;
    bool is_adopted; /* servers run before hamgr does */
    bool may_pause_clocks;
    bool may_drop_flag; /* some server starts with empty names */
    bool has_orphans;
    bool operator_mends; /* while faults go on, too */
    int64_t faults_end_us, converged_by_us, end_us;
    int64_t fault_gap_us;            /* typical time between faults */
    uint32_t weight[SIM_FAULTS_MAX]; /* of the kinds of fault */
    int64_t sender_us;               /* until a walsender reads new names */
    int64_t checkpointer_us;         /* typical delay of the flag */
    uint32_t persist_fail_ppm;
    uint32_t op_fail_ppm;     /* an operation on a copy fails */
    uint32_t redis_saves_ppm; /* a restart finds a snapshot */
    int64_t probe_late_us;
    int64_t freeze_us; /* that ending a WAL receiver takes at most, where hosts are slow */
    int64_t stream_timeout_us;
    int16_t priority[SIM_HOSTS_MAX];
    bool is_nofailover[SIM_HOSTS_MAX];
    hm_ms stall_timeout_ms, crash_wait_ms, freeze_timeout_ms, rescue_timeout_ms;
    uint64_t rescue_bytes;
};

struct sim_fault {
    uint8_t kind; /* 0: free */
    uint8_t host, other, service;
    uint16_t mask;
    uint64_t saved;
};

struct sim_trace_entry {
    int64_t at_us;
    uint8_t what, host, service, other;
    uint32_t c;
    uint64_t a, b;
    const char *text; /* a constant, or NULL */
};

struct sim_client {
    uint64_t next_id;
    int64_t dense_until_us;
    int64_t last_ack_us; /* that a client has heard */
    uint64_t acks;
    uint16_t acked_branch; /* the newest commit that a client heard of, whatever the mode */
    uint64_t acked_end;    /* 0: none */
    int64_t gap_from_us;   /* a measured fault began; -1: none */
    int64_t gap_last_us;   /* the last acknowledgement before it */
    int64_t gap_worst_us;
    enum sim_gap gap_kind;
};

struct sim_operator {
    uint64_t next_order;
    bool is_waiting; /* for DO_REPLY of `order` */
    struct order order;
    uint8_t tries;
    bool wants_pause;
    int64_t sent_us;
    uint8_t asked; /* host */
    uint16_t kept; /* hosts that were to go on although something may be missing there */
};

/* Filled by one run, added up by main.c. */
struct sim_stats {
    uint64_t failovers, stuck, events, steps, acks, faults;
    uint64_t rescues;
    uint32_t lossy; /* promotions without the newest acknowledged commit */
    uint64_t sim_us;
    uint32_t gaps_n;
    struct {
        uint8_t kind, timing;
        uint32_t gap_ms;
    } gaps[64];
    uint32_t fault_kinds[SIM_FAULTS_MAX];
};

struct sim {
    uint64_t seed;
    struct prng prng;
    int64_t now_us;
    struct sim_plan plan;
    bool is_healing; /* faults have ended */
    bool is_over;
    bool is_calm;      /* P5 is watched */
    bool is_measuring; /* a write gap */
    bool is_traced;    /* print while it happens */
    bool is_verbose;   /* with every heartbeat */

    uint8_t hosts_n;
    struct sim_host host[SIM_HOSTS_MAX];
    struct sim_node node[SIM_SERVICES_MAX][SIM_HOSTS_MAX];
    struct sim_link link[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* [from][to] */
    bool client_is_cut[SIM_HOSTS_MAX];

    uint16_t branches_n[SIM_SERVICES_MAX];
    struct sim_branch branch[SIM_SERVICES_MAX][SIM_BRANCHES_MAX];
    struct sim_client client[SIM_SERVICES_MAX];
    struct sim_operator operator[SIM_SERVICES_MAX];
    uint64_t cluster;
    uint32_t cluster_incarnation;
    uint64_t unique; /* ids of copies, servers, incarnations */

    struct {
        bool is_on, is_done; /* one in a run */
        uint8_t survivor;
        uint32_t looks;
    } force;
    struct sim_fault fault[16];
    struct {
        uint8_t kind; /* 0: none; else armed: see faults.c */
        uint8_t detail;
        uint8_t action;
        uint8_t skip; /* so many times it is let pass */
    } trap;
    uint8_t cut_other; /* the other end of the next link that is cut; SIM_NOWHERE: drawn */
    bool is_cut_short; /* the rest of this step's effects is lost with its process */

    struct sim_event *heap; /* owned */
    uint32_t heap_n, heap_size;
    uint32_t order;
    uint32_t events_now;                       /* in this microsecond */
    struct sim_event *deferred[SIM_HOSTS_MAX]; /* owned; for paused processes */
    uint32_t deferred_size[SIM_HOSTS_MAX];
    struct sim_post *post; /* owned */
    uint16_t post_free;
    struct record *record; /* owned */
    uint16_t record_refs[SIM_RECORDS_MAX];
    uint16_t record_free;
    struct core_effects effects;

    struct sim_trace_entry trace[SIM_TRACE_MAX];
    uint32_t trace_n;
    struct sim_stats stats;
    struct check check[SIM_SERVICES_MAX]; /* the judges' own */
    struct sim_eyes {
        struct sim *w;
        unsigned int service;
    } eyes[SIM_SERVICES_MAX];

    /* The first violation ends the run. */
    bool is_violated;
    char violated[16]; /* id of the invariant */
    char what[400];
    int64_t violated_us;
    uint32_t story;
    int64_t story_gap_us;
    int64_t converged_us; /* since when all is well after the faults; -1: it is not */
    char why[CHECK_WHAT_MAX];
};

/* ---- run (sim.c) ---------------------------------------------------------------------------- */

/* Reserves the big arrays once; sim_run() may be called many times. */
void sim_init(struct sim *w);
void sim_done(struct sim *w);
/* Runs one seed to its end or to the first violation (w->is_violated). */
void sim_run(struct sim *w, uint64_t seed);

/* Ends the run as violated. The first one counts. */
void sim_violated(struct sim *w, const char *invariant, const char *format, ...) HM_PRINTF(3, 4);

/* ---- looking at the world ------------------------------------------------------------------- */

/* The clock of a host at the present true time. */
int64_t sim_local_us(const struct sim *w, unsigned int host);
hm_ms sim_local_ms(const struct sim *w, unsigned int host);
/* The true time at which the host's clock shows local_ms if it is not stopped until then; the
 * past for a past time; SIM_NEVER for HM_NEVER or while the clock is stopped. */
int64_t sim_true_us(const struct sim *w, unsigned int host, hm_ms local_ms);
/* True if hamgrd runs on the host, and so node[..][host].core is alive (it may be paused). */
bool sim_core_is_alive(const struct sim *w, unsigned int host);
/* The host whose state directory has this incarnation now, or SIM_NOWHERE. */
uint8_t sim_find_host(const struct sim *w, uint64_t incarnation);
/* True if packets pass from one host to the other now (both on; a paused host is still there). */
bool sim_is_linked(const struct sim *w, unsigned int from, unsigned int to);
/* True if the log that ends at (tip, tip_end) contains byte position `at` of `branch`. */
bool sim_log_has(const struct sim *w, unsigned int service, uint16_t tip, uint64_t tip_end,
                 uint16_t branch, uint64_t at);
/* What probes would see of a copy now. */
void sim_copy_now(const struct sim *w, unsigned int service, unsigned int host, struct copy *ret);
/* True if the copy's processes run: a primary for which this holds acknowledges. */
bool sim_db_runs(const struct sim *w, unsigned int service, unsigned int host);
/* True if a packet from the service's port may leave the host now. */
bool sim_gate_is_open(const struct sim *w, unsigned int service, unsigned int host);

#endif
