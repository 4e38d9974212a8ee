/*
 * Print what the sampler does, if the host asks for it (CONCMEM_DEBUG=1): what it opens, adds, kills and reaps, and
 * what the kernel refuses. Each line is one write to the host's standard error, so lines of several samplers do not
 * mix.
 */
#include <string.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { DEBUG_LINE_BYTES = 512, NUMBER_BYTES = 20 };

int debug_fd;

static char *append(char *at, const char *end, const char *text)
{
    while (*text != 0 && at < end)
        *at++ = *text++;
    return at;
}

void debug_print(const char *file, int line, int pid, const char *event, const char *detail, int error)
{
    char text[DEBUG_LINE_BYTES], *at = text;
    const char *end = text + sizeof text - 3 * NUMBER_BYTES - sizeof ": PID : (errno )\n";
    at = append(at, end, "concmem-sampler: ");
    at = append(at, end, file);
    *at++ = ':';
    at = cm_format_number(at, (uint64_t)line);
    at = append(at, at + sizeof ": PID ", pid > 0 ? ": PID " : ": ");
    if (pid > 0) {
        at = cm_format_number(at, (uint64_t)pid);
        *at++ = ' ';
    }
    at = append(at, end, event);
    at = append(at, at + sizeof ": ", detail[0] != 0 ? ": " : "");
    at = append(at, end, detail);
    if (error != 0) {
        at = append(at, at + sizeof " (errno ", " (errno ");
        at = cm_format_number(at, (uint64_t)(error < 0 ? -error : error));
        *at++ = ')';
    }
    *at++ = '\n';
    ssize_t ignored = write(debug_fd, text, (size_t)(at - text));
    (void)ignored;
}
