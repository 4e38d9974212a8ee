/*
 * Read kernel text files of unbounded length line by line, through a small buffer. /proc/PID/status is one: the line of
 * supplementary groups comes before the memory figures, and a process may have 65,536 groups.
 *
 * Such a file is one record of the kernel's seq_file. Consecutive reads return one snapshot of it. A read that returns
 * less than requested has reached its end.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shared/internal.h"

void cm_lines_begin(struct cm_lines *lines, int fd, char *buffer, size_t n)
{
    *lines = (struct cm_lines){.fd = fd, .text = buffer, .capacity = n - 1};
    buffer[0] = 0;
}

/* Move the text that has not been returned to the front, and read more behind it. */
static void read_on(struct cm_lines *lines)
{
    lines->end -= lines->next;
    memmove(lines->text, lines->text + lines->next, lines->end);
    lines->next = 0;
    size_t wanted = lines->capacity - lines->end;
    ssize_t got = pread(lines->fd, lines->text + lines->end, wanted, lines->offset);
    if (got < 0)
        lines->error = -errno;
    else
        lines->end += (size_t)got;
    lines->offset += got > 0 ? got : 0;
    lines->is_last = got < (ssize_t)wanted;
    lines->text[lines->end] = 0;
}

/* Return the next line, without its newline, in the buffer: valid until the next call. A line that does not fit is
 * cut, and its rest is skipped. Return NULL at the end of the file, or if `error` has been set. */
char *cm_lines_next(struct cm_lines *lines)
{
    for (;;) {
        char *line = lines->text + lines->next, *end = strchr(line, '\n');
        bool is_whole = end != NULL, is_rest = lines->is_cut;
        if (!is_whole && !lines->is_last && lines->error == 0 && (lines->next > 0 || lines->end < lines->capacity)) {
            read_on(lines);
            continue;
        }
        if (lines->error != 0 || (!is_whole && lines->end == lines->next))
            return NULL;
        lines->next = is_whole ? (size_t)(end + 1 - lines->text) : lines->end;
        lines->is_cut = !is_whole && !lines->is_last;
        if (is_whole)
            *end = 0;
        if (!is_rest)
            return line;
    }
}

/*
 * Read the numbers that follow "NAME" and the separator at the starts of lines; CM_NO_FIELD if there is no such line.
 * Return 0, -ESRCH if the file is empty, or another -errno.
 */
int cm_read_fields(int fd, char separator, const char *const *names, uint64_t *values, size_t n)
{
    char buffer[4096];
    struct cm_lines lines;
    size_t missing = n;
    for (size_t i = 0; i < n; i++)
        values[i] = CM_NO_FIELD;
    cm_lines_begin(&lines, fd, buffer, sizeof buffer);
    for (const char *line; missing > 0 && (line = cm_lines_next(&lines)) != NULL;)
        for (size_t i = 0; i < n; i++) {
            if (line[0] != names[i][0] || values[i] != CM_NO_FIELD)
                continue;
            size_t length = strlen(names[i]);
            if (strncmp(line, names[i], length) != 0 || line[length] != separator)
                continue;
            const char *at = line + length + 1;
            values[i] = cm_parse_number(&at);
            missing--;
            break;
        }
    return lines.error != 0 ? lines.error : lines.offset == 0 ? -ESRCH : 0;
}
