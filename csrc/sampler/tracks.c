/* The tracks of the shared memory: which sources are recorded, and why one is missing. */
#include <string.h>

#include "sampler/sampler.h"

void track_set_missing(struct cm_track *track, int error, const char *why)
{
    DEBUG(0, track->source, 0);
    DEBUG(0, why, error);
    track->error = error;
    strncpy(track->why_not, why, sizeof track->why_not - 1);
}

bool track_wanted(const struct sampler *s, int source)
{
    return s->head->tracks[source].wanted && s->head->tracks[source].error == 0;
}
