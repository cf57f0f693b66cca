#include "core/narrate.h"

#include "base/text.h"
#include "core/rules.h"

const char *core_why(const struct core *c)
{
    const struct rule *row = rule_find(c->rule);

    return row != NULL ? row->because : "nothing has been decided yet";
}

static void add_rule(struct text *t, uint16_t id, enum core_state from)
{
    const struct rule *row = rule_find(id);

    text_add(t, " rule ");
    text_add_u64(t, id);
    text_add_char(t, ' ');
    text_add(t, core_state_name(from));
    if (row != NULL && row->to != from) {
        text_add(t, " -> ");
        text_add(t, core_state_name(row->to));
    }
    text_add(t, ": ");
    text_add(t, row != NULL ? row->because : "nothing has been decided yet");
}

char *core_narrate(const struct core *c, char *line, size_t size)
{
    struct text t;

    text_init(&t, line, size);
    text_add(&t, c->config.name);
    if (c->moves_n == 0)
        add_rule(&t, c->rule, c->state);
    for (unsigned i = 0; i < c->moves_n; i++) {
        if (i > 0)
            text_add_char(&t, ';');
        add_rule(&t, c->moves[i].rule, c->moves[i].from);
    }
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
