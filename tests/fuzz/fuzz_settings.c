/* fuzz_settings.c - any bytes as a settings file: either errors with text, or settings that every
 * other part can rely on. Both files are tried with the same bytes. */
#include "settings/settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets a text that it has read when a syntax error follows. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

static void want(bool is_so)
{
    if (!is_so)
        abort();
}

static void want_errors(enum hm_rc rc, struct settings_errors *e)
{
    want((rc == HM_OK) == (e->n == 0));
    for (size_t i = 0; i < e->n; i++) {
        want(strncmp(e->line[i], "f:", 2) == 0);
        want(strpbrk(e->line[i], "\n\r\033") == NULL);
    }
    settings_errors_done(e);
}

static void want_text(const char *text, size_t size)
{
    want(memchr(text, '\0', size) != NULL);
}

static void want_good(const struct settings *s)
{
    want(s->members_n >= 1 && s->members_n <= HM_MEMBERS_MAX);
    want(s->services_n >= 1 && s->services_n <= HM_SERVICES_MAX);
    want(s->timing.ttl_ms >= 3 * s->timing.heartbeat_ms && s->timing.heartbeat_ms > 0);
    want(s->timing.ttl_ms > 3 * s->timing.fence_margin_ms && s->timing.ttl_ms <= HM_TTL_MAX_MS);
    want(s->self == HM_NOBODY || s->self < s->members_n);
    want(s->cluster[0] != '\0' && s->state_dir[0] == '/' && s->run_dir[0] == '/');
    for (size_t i = 0; i < s->members_n; i++) {
        want_text(s->member[i].name, sizeof s->member[i].name);
        want_text(s->member[i].host, sizeof s->member[i].host);
        want(s->member[i].name[0] != '\0' && s->member[i].host[0] != '\0');
        want(s->member[i].port > 0 && s->member[i].role != ROLE_NONE);
    }
    for (size_t i = 0; i < s->services_n; i++) {
        const struct settings_service *service = &s->service[i];
        struct record first;
        const char *why;

        want(service->name[0] != '\0' && service->data_dir[0] == '/' && service->port > 0);
        want((service->control == CONTROL_SYSTEMD) == (service->unit[0] != '\0'));
        want(service->sync_standbys >= 1);
        want((service->kind == SERVICE_POSTGRES) == (service->replication_user[0] != '\0'));
        want(service->kind == SERVICE_POSTGRES || service->config_file[0] == '/');
        settings_first_record(s, service, &first);
        first.epoch = first.version = 1;
        first.pairs_n = 1;
        while (first.holder < HM_MEMBERS_MAX && first.member[first.holder].role != ROLE_DB)
            first.holder++;
        want(record_check(&first, &why) == HM_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct settings_errors errors;
    struct settings_witness witness;
    struct settings settings;
    enum hm_rc rc;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    rc = settings_load_text(text, "f", SETTINGS_WITHOUT_NODE | SETTINGS_WITHOUT_KEY, &settings,
                            &errors);
    if (rc == HM_OK)
        want_good(&settings);
    want_errors(rc, &errors);
    rc = settings_load_witness_text(text, "f", SETTINGS_WITHOUT_KEY, &witness, &errors);
    if (rc == HM_OK) {
        want(witness.clusters_n >= 1 && witness.clusters_n <= SETTINGS_CLUSTERS_MAX);
        settings_witness_done(&witness);
    }
    want_errors(rc, &errors);
    free(text);
    return 0;
}
