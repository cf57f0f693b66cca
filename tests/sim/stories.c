#include "parts.h"

#include "faults.h"

void sim_story_step(struct sim *w, const struct sim_event *e)
{
    (void)w;
    (void)e;
}

int sim_story(struct sim *w, const char *name, bool is_traced)
{
    (void)w;
    (void)is_traced;
    fprintf(stderr, "sim: there is no story '%s'\n", name);
    return 2;
}

int sim_stories(struct sim *w)
{
    (void)w;
    return 0;
}

void sim_story_list(FILE *out)
{
    (void)out;
}
