/* The tracks of the shared memory: which sources are recorded, and why one is missing. */
#include <string.h>

#include "sampler/sampler.h"

void track_set_missing(struct cm_track *track, int error, const char *why)
{
    DEBUG_DETAIL(0, track->source, why, error);
    track->error = error;
    strncpy(track->why_not, why, sizeof track->why_not - 1);
}

/* Print for each requested source whether the host could prepare it. */
void tracks_debug(const struct sampler *s)
{
    for (int i = 0; debug_fd > 0 && i < CM_SOURCES; i++) {
        const struct cm_track *track = &s->head->tracks[i];
        if (track->wanted)
            DEBUG_DETAIL(0, track->source, track->error != 0 ? track->why_not : "requested", track->error);
    }
}

bool track_wanted(const struct sampler *s, int source)
{
    return s->head->tracks[source].wanted && s->head->tracks[source].error == 0;
}
