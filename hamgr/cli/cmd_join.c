/* cmd_join.c - hamgr join: a new host becomes a member of a cluster that runs.
 *
 * A member of the cluster tells its settings; here they are looked at, written, and hamgrd is
 * started. It is hamgrd that then asks to be added, as long as it takes, so nothing is lost when
 * this command is broken off; given again it goes on. */
#include "base/clock.h"
#include "cli/join.h"
#include "cli/print.h"

#include <libgen.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ASK_MS = 15000, ADDED_MS = 60000, LOOK_MS = 500 };

#define KEY_NAME "cluster.key"

extern char **environ;

/* --- the cluster's settings ---------------------------------------------------------------------
 */

static enum ctl_exit fail(struct cli *c, struct join *j, enum hm_rc rc, const struct hm_err *err)
{
    return cli_tell_failure(c, ctl_exit_of(rc), err->text, j->next[0] != '\0' ? j->next : NULL);
}

static void take_names(struct cli *c, struct join *j)
{
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1); /* at worst the name is empty, which is refused */
    host[strcspn(host, ".")] = '\0';
    (void)snprintf(j->self.name, sizeof j->self.name, "%.*s", HM_NAME_MAX - 1,
                   c->name != NULL ? c->name : host);
    if (c->address != NULL) {
        char address[HM_ADDRESS_MAX + 8];

        cli_full_address(c->address, address);
        (void)snprintf(j->self.address, sizeof j->self.address, "%.*s", HM_ADDRESS_MAX - 1,
                       address);
    } else {
        bool is_ipv6 = strchr(j->answer.own_host, ':') != NULL;

        (void)snprintf(j->self.address, sizeof j->self.address, "%s%.48s%s:7420",
                       is_ipv6 ? "[" : "", j->answer.own_host, is_ipv6 ? "]" : "");
    }
    j->self.role = ROLE_DB;
    j->self.priority = c->priority;
    j->self.is_nofailover = (c->given & CLI_NOFAILOVER) != 0;
    (void)snprintf(j->self.follow, sizeof j->self.follow, "%s", c->follow != NULL ? c->follow : "");
}

static enum hm_rc ask_cluster(struct join *j, const char *where, json_t **ret, struct hm_err *err)
{
    char address[HM_ADDRESS_MAX + 8];
    enum hm_rc rc;

    cli_full_address(where, address);
    rc = guest_ask(address, j->key, "{\"command\":\"config\"}", ASK_MS, &j->answer, err);
    if (j->answer.version != 0 && j->answer.version != WIRE_VERSION) {
        (void)snprintf(j->next, sizeof j->next, "install the version that %s has", j->answer.from);
        return hm_fail(err, HM_REFUSED, "%s runs %s, this is hamgr " HAMGR_VERSION, j->answer.from,
                       j->answer.software);
    }
    if (rc != HM_OK) {
        (void)snprintf(
            j->next, sizeof j->next, "%s",
            rc == HM_REFUSED && j->answer.version == 0
                ? "copy the key file from a database member of the cluster"
                : "name a database member whose hamgrd runs, with the port that its file "
                  "says");
        return rc;
    }
    *ret = json_loads(j->answer.text, 0, NULL);
    if (!json_is_string(json_object_get(*ret, "conf")))
        return hm_fail(err, HM_FAILED, "%s gave no settings: %.100s", j->answer.from,
                       print_text(*ret, "error"));
    if (!print_is(*ret, "has_record")) {
        (void)snprintf(j->next, sizeof j->next, "'hamgr status' on %s says why", j->answer.from);
        return hm_fail(err, HM_REFUSED, "the cluster has had no primary yet");
    }
    return HM_OK;
}

/* The cluster's file, and this host as its last member. */
static enum hm_rc make_settings(struct cli *c, struct join *j, const char *conf, struct hm_err *err)
{
    struct settings_errors errors;
    struct settings *s = &j->settings;
    enum hm_rc rc = settings_load_text(conf, "the cluster's settings",
                                       SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY, s, &errors);

    if (rc != HM_OK)
        rc = hm_fail(err, rc, "%s", errors.n > 0 ? errors.line[0] : "the settings are garbled");
    settings_errors_done(&errors);
    if (rc != HM_OK)
        return rc;
    rc = settings_check_member(j->self.name, j->self.address, s->member, s->members_n, j->self.host,
                               err);
    if (rc == HM_OK && s->members_n == HM_MEMBERS_MAX)
        rc = hm_fail(err, HM_REFUSED, "the cluster has %d members, which is the most that fit",
                     HM_MEMBERS_MAX);
    if (rc != HM_OK) {
        (void)snprintf(j->next, sizeof j->next,
                       "choose with --name and --address; a member that is gone for good is "
                       "removed first: hamgr member remove NAME");
        return HM_REFUSED;
    }
    if (c->data_dir != NULL && s->services_n == 1)
        (void)snprintf(s->service[0].data_dir, sizeof s->service[0].data_dir, "%s", c->data_dir);
    else if (c->data_dir != NULL)
        return hm_fail(err, HM_BAD_INPUT,
                       "--data-dir: the cluster has %u services, each with a "
                       "directory of its own",
                       (unsigned)s->services_n);
    if (c->set != NULL) {
        rc = settings_change(s, c->set, err);
        if (rc != HM_OK)
            return rc;
    }
    memcpy(s->node, j->self.name, sizeof s->node);
    memcpy(s->key_file, j->key_file, sizeof s->key_file);
    s->member[s->members_n++] = j->self;
    return HM_OK;
}

/* --- starting -----------------------------------------------------------------------------------
 */

static bool has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

static enum hm_rc start(struct join *j, struct hm_err *err)
{
    char *argv[] = { (char[]){ "systemctl" },   (char[]){ "enable" }, (char[]){ "--now" },
                     (char[]){ "hamgr-fence" }, (char[]){ "hamgrd" }, NULL };
    int status = -1, number;
    pid_t pid;

    number = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (number == 0 && waitpid(pid, &status, 0) == pid && status == 0)
        return HM_OK;
    (void)snprintf(j->next, sizeof j->next, "systemctl enable --now hamgr-fence hamgrd");
    return hm_fail(err, HM_FAILED, "hamgrd could not be started%s%s", number != 0 ? ": " : "",
                   number != 0 ? strerror(number) : "");
}

/* What hamgrd says of this member: NULL: it does not answer. The caller owns it. */
static json_t *ask_hamgrd(const struct join *j)
{
    struct ctl_request request = { .command = CTL_STATUS };
    char path[SETTINGS_PATH_MAX + sizeof CTL_SOCKET + 1];
    json_t *answer = NULL;
    struct hm_err err;
    const char *next;

    (void)snprintf(path, sizeof path, "%s/" CTL_SOCKET, j->settings.run_dir);
    if (cli_call(path, &request, ASK_MS, &answer, &next, &err) != HM_OK)
        return NULL;
    return answer;
}

static bool is_added(const json_t *status, const char *name)
{
    const json_t *services = json_object_get(status, "services"), *service, *member;
    size_t i, k, found = 0;

    json_array_foreach(services, i, service)
    {
        if (strcmp(print_text(service, "state"), "stopped") == 0)
            continue; /* what it knows is from before a failover was forced */
        json_array_foreach(json_object_get(service, "members"), k, member)
        {
            found += strcmp(print_text(member, "name"), name) == 0 &&
                     print_is(member, "is_voter") && print_number(service, "epoch") > 0;
        }
    }
    return found > 0 && found == json_array_size(services);
}

/* True once every service names this host; *ret_why: what hamgrd says meanwhile. */
static bool wait_until_added(const struct join *j, hm_ms limit_ms, char why[200])
{
    hm_ms until_ms = clock_boot_ms() + limit_ms;
    bool is_done = false;

    (void)snprintf(why, 200, "hamgrd does not answer");
    while (!is_done && clock_boot_ms() < until_ms) {
        json_t *status = ask_hamgrd(j);
        const char *warning =
            json_string_value(json_array_get(json_object_get(status, "warnings"), 0));

        if (status != NULL)
            (void)snprintf(why, 200, "%s", warning != NULL ? warning : "");
        is_done = is_added(status, j->self.name);
        json_decref(status);
        if (!is_done)
            (void)poll(NULL, 0, LOOK_MS);
    }
    return is_done;
}

/* --- the command --------------------------------------------------------------------------------
 */

static enum ctl_exit tell(struct cli *c, const struct join *j, bool is_member, const char *text,
                          const char *next)
{
    json_t *doc;

    if ((c->given & CLI_JSON) == 0) {
        print_wrapped(c, PRINT_PLAIN, "", text);
        (void)fprintf(c->out, "  next: %s\n", next);
        return CTL_DONE;
    }
    doc = json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:s, s:s}", "rc", 0, "cluster",
                    j->settings.cluster, "name", j->self.name, "address", j->self.address, "conf",
                    j->conf, "is_member", is_member, "text", text, "next", next);
    cli_print_json(c, doc);
    json_decref(doc);
    return CTL_DONE;
}

/* The files are there: hamgrd does the rest. */
static enum ctl_exit begin(struct cli *c, struct join *j)
{
    char text[300], next[SETTINGS_PATH_MAX * 2 + 120], why[200];
    struct hm_err err;
    json_t *running;

    if (has_systemd() && start(j, &err) != HM_OK)
        return fail(c, j, HM_FAILED, &err);
    running = ask_hamgrd(j);
    json_decref(running);
    if (running == NULL && !has_systemd()) {
        (void)snprintf(text, sizeof text,
                       "%s is written; hamgrd asks %s to be added as soon as it runs", j->conf,
                       j->settings.cluster);
        (void)snprintf(next, sizeof next,
                       "start both: hamgr-fence -c %s (as root), hamgrd -c %s (as %s)", j->conf,
                       j->conf, j->settings.user);
        return tell(c, j, false, text, next);
    }
    if (!wait_until_added(j, c->timeout_ms != 0 ? c->timeout_ms : ADDED_MS, why)) {
        (void)snprintf(text, sizeof text, "%s was not added in time: %.150s", j->self.name, why);
        return cli_tell_failure(c, CTL_TIMED_OUT, text,
                                "hamgrd goes on asking: 'hamgr status' here says what is in the "
                                "way");
    }
    (void)snprintf(text, sizeof text, "%s is a member of %s; its data are copied from the primary",
                   j->self.name, j->settings.cluster);
    return tell(c, j, true, text, "'hamgr status --watch' shows how far it is");
}

/* conf: the cluster's settings. */
static bool is_in_cluster(const char *conf, const char *name)
{
    struct settings *s = malloc(sizeof *s);
    struct settings_errors errors;
    bool is_there = false;

    if (s == NULL)
        return false;
    if (settings_load_text(conf, "the cluster's settings",
                           SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY, s, &errors) == HM_OK)
        for (size_t i = 0; i < s->members_n && !is_there; i++)
            is_there = strcmp(s->member[i].name, name) == 0;
    settings_errors_done(&errors);
    free(s);
    return is_there;
}

/* A member that was removed has votes and data of then: nobody comes back as who he was. */
static bool was_removed(struct join *j, const char *conf, struct hm_err *err)
{
    const struct settings *s = &j->settings;
    char path[SETTINGS_PATH_MAX + 16];

    (void)snprintf(path, sizeof path, "%s/joining", s->state_dir);
    if (access(path, F_OK) == 0 || is_in_cluster(conf, j->self.name))
        return false;
    (void)snprintf(j->next, sizeof j->next,
                   "systemctl stop hamgrd; mv %.100s %.100s.old; mv %.100s %.100s.old; and the "
                   "data directory",
                   j->conf, j->conf, s->state_dir, s->state_dir);
    (void)hm_fail(err, HM_REFUSED, "%s was a member before and was removed: move what is left away",
                  j->self.name);
    return true;
}

/* What was given now would be ignored without a word: the file has its own. */
static bool is_elsewhere(struct join *j, struct hm_err *err)
{
    const struct settings *s = &j->settings;

    for (size_t i = 0; i < s->members_n; i++) {
        if (strcmp(s->member[i].name, j->self.name) != 0 ||
            strcmp(s->member[i].address, j->self.address) == 0)
            continue;
        (void)snprintf(j->next, sizeof j->next,
                       "mv %s %s.old   (if that address is wrong); then again", j->conf, j->conf);
        (void)hm_fail(err, HM_REFUSED, "'%s' of an attempt before says that this host is at %s",
                      j->conf, s->member[i].address);
        return true;
    }
    return false;
}

/* The settings that are there are those of an attempt before; false: they are not. */
static bool is_begun(struct cli *c, struct join *j, const char *conf, struct hm_err *err)
{
    struct settings_errors errors;
    struct settings *s = malloc(sizeof *s);
    bool is_ours;

    if (s == NULL)
        return false;
    is_ours = settings_load(j->conf, SETTINGS_WITHOUT_KEY, s, &errors) == HM_OK &&
              strcmp(s->cluster, j->answer.cluster) == 0 && strcmp(s->node, j->self.name) == 0;
    settings_errors_done(&errors);
    if (is_ours)
        j->settings = *s;
    free(s);
    if (is_ours)
        return !was_removed(j, conf, err) && (c->address == NULL || !is_elsewhere(j, err));
    (void)snprintf(j->next, sizeof j->next, "mv %s %s.old   (if this host is no member any more)",
                   j->conf, j->conf);
    (void)hm_fail(err, HM_REFUSED, "'%s' is there already: this host has been set up before",
                  j->conf);
    return false;
}

static enum ctl_exit join_cluster(struct cli *c, struct join *j)
{
    char dir[SETTINGS_PATH_MAX];
    json_t *document = NULL;
    struct hm_err err;
    enum hm_rc rc;

    (void)snprintf(dir, sizeof dir, "%s", c->config);
    j->conf = c->config;
    (void)snprintf(j->key_file, sizeof j->key_file, "%.200s/" KEY_NAME, dirname(dir));
    rc = settings_read_key(c->key != NULL ? c->key : j->key_file, j->key, &err);
    if (rc != HM_OK)
        (void)snprintf(j->next, sizeof j->next,
                       "copy it from a member: scp -p root@MEMBER:%s . ; then --key FILE",
                       j->key_file);
    if (rc == HM_OK)
        rc = ask_cluster(j, c->arg[0], &document, &err);
    if (rc == HM_OK) {
        take_names(c, j);
        if (access(j->conf, F_OK) == 0) {
            bool is_ours = is_begun(c, j, print_text(document, "conf"), &err);

            json_decref(document);
            return is_ours ? begin(c, j) : fail(c, j, HM_REFUSED, &err);
        }
        rc = make_settings(c, j, print_text(document, "conf"), &err);
    }
    if (rc == HM_OK)
        rc = join_look(j, json_object_get(document, "services"), &err);
    if (rc == HM_OK)
        rc = join_write(j, &err);
    json_decref(document);
    return rc == HM_OK ? begin(c, j) : fail(c, j, rc, &err);
}

enum ctl_exit cli_join(struct cli *c)
{
    struct join *j;
    enum ctl_exit rc;

    if (c->args_n != 1 || strlen(c->arg[0]) >= HM_ADDRESS_MAX) {
        cli_complain(c, "'join' wants the ADDRESS of a database member: hamgr join 10.0.0.11:7420 "
                        "--key FILE");
        return CTL_USAGE;
    }
    if (strlen(c->config) >= SETTINGS_PATH_MAX - sizeof KEY_NAME ||
        (c->data_dir != NULL && strlen(c->data_dir) >= SETTINGS_PATH_MAX)) {
        cli_complain(c, "a path is too long");
        return CTL_USAGE;
    }
    j = calloc(1, sizeof *j);
    if (j == NULL)
        return cli_tell_failure(c, CTL_FAILED, "no memory", NULL);
    rc = join_cluster(c, j);
    explicit_bzero(j, sizeof *j);
    free(j);
    return rc;
}
