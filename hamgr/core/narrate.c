#include "core/narrate.h"

#include "base/text.h"
#include "core/rules.h"

const char *core_why(const struct core *c)
{
    const struct rule *row = rule_find(c->rule);

    return row != NULL ? row->because : "nothing has been decided yet";
}

char *core_narrate(const struct core *c, enum core_state before, char *line, size_t size)
{
    struct text t;

    text_init(&t, line, size);
    text_add(&t, c->config.name);
    text_add(&t, " rule ");
    text_add_u64(&t, c->rule);
    text_add_char(&t, ' ');
    text_add(&t, core_state_name(before));
    if (c->state != before) {
        text_add(&t, " -> ");
        text_add(&t, core_state_name(c->state));
    }
    text_add(&t, ": ");
    text_add(&t, core_why(c));
    return line;
}

void core_print_rules(void (*print)(void *arg, const char *line), void *arg)
{
    char line[200];
    struct text t;

    for (size_t i = 0; i < rules_n; i++) {
        const struct rule *row = &rules[i];

        text_init(&t, line, sizeof line);
        text_add_u64(&t, row->id);
        text_pad(&t, 5);
        text_add(&t, row->state == ST_ANY ? "any" : core_state_name((enum core_state)row->state));
        text_pad(&t, 21);
        text_add(&t, row->when_name);
        text_pad(&t, 46);
        text_add(&t, core_state_name(row->to));
        text_pad(&t, 62);
        text_add(&t, row->because);
        print(arg, line);
    }
}
