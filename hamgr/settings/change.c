/* change.c - settings of a host that differ from those that the other members have. */
#include "settings/reader.h"
#include "settings/text.h"

#include <stdlib.h>
#include <string.h>

/* Into the file's own settings, or into those of every service that has it. */
static bool change_one(struct reader *r, const config_setting_t *value, struct schema_file *f)
{
    const char *name = config_setting_name(value);
    const struct setting *row = schema_find(IN_FILE, name);
    bool is_taken = false;
    bool is_of_file =
        row != NULL && row->type != TYPE_LIST && row->offset < offsetof(struct schema_file, timing);

    if (is_of_file) {
        value_take(r, row, value, f);
        return true;
    }
    for (size_t i = 0; i < f->s.services_n; i++) {
        row = schema_find(schema_service(f->s.service[i].kind), name);
        if (row == NULL)
            continue;
        is_taken = true;
        value_take(r, row, value, &f->s.service[i]);
    }
    return is_taken;
}

static void change_all(struct reader *r, const config_setting_t *root, struct schema_file *f)
{
    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *value = config_setting_get_elem(root, (unsigned int)i);

        if (!change_one(r, value, f))
            reader_error(r, 0, "'%.60s' is no setting that a host has for itself",
                         config_setting_name(value));
    }
}

enum hm_rc settings_change(struct settings *s, const char *text, struct hm_err *err)
{
    struct reader r = { .file = "--set" };
    struct schema_file f = { .s = *s };
    struct text_fault fault;
    char *copy = text_for_libconfig(text, &fault);
    enum hm_rc rc = HM_OK;
    config_t config;

    config_init(&config);
    if (copy == NULL)
        r.is_out_of_memory = true;
    else if (fault.line > 0)
        reader_error(&r, 0, "%s", fault.what);
    else if (config_read_string(&config, copy) != CONFIG_TRUE)
        reader_error(&r, 0, "%s", config_error_text(&config));
    else
        change_all(&r, config_root_setting(&config), &f);
    config_destroy(&config);
    free(copy);
    if (r.errors_n > 0 || r.is_out_of_memory)
        rc = hm_fail(err, HM_BAD_INPUT, "%s", r.errors_n > 0 ? r.error[0].text : "no memory");
    else
        *s = f.s;
    for (size_t i = 0; i < r.errors_n; i++)
        free(r.error[i].text);
    free(r.error);
    explicit_bzero(&f, sizeof f);
    return rc;
}
