/*
 * listen_taskstats probe
 * listen_taskstats run COMMAND...            run it, wait for it, and only then read the records
 * listen_taskstats wait COUNT                COUNT children in sequence; after each wait its record must be there
 * listen_taskstats burst COUNT BUFFER_BYTES  COUNT children that end at once; 0: the listener's own buffer size
 *
 * Prints one line of JSON; "run" prints all records of the machine. Exit code 3 and a sentence if taskstats are not
 * available.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/internal.h"

static int run(int fd, char **command)
{
    struct cm_exit_record r;
    uint64_t lost = 0;
    int status;
    struct rusage usage;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(command[0], command);
        _exit(127);
    }
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    printf("{\"root\": %d, \"status\": %d, \"maxrss_kib\": %ld, \"records\": [", pid, status, usage.ru_maxrss);
    for (const char *comma = ""; cm_taskstats_next(fd, &r, &lost); comma = ", ") {
        for (char *c = r.comm; *c; c++)
            if (*c < ' ' || *c == '"' || *c == '\\')
                *c = '?';
        printf("%s[%d, %d, %d, %llu, %llu, %llu, %llu, %u, %d, \"%s\"]", comma, r.pid, r.tgid, r.ppid,
               (unsigned long long)r.hwm_bytes, (unsigned long long)r.elapsed_ns, (unsigned long long)r.user_ns,
               (unsigned long long)r.system_ns, r.exit_code, r.ends_process, r.comm);
    }
    printf("], \"lost\": %llu}\n", (unsigned long long)lost);
    return 0;
}

static void drain(int fd, int ppid, int pid, int *found, uint64_t *lost)
{
    struct cm_exit_record r;
    while (cm_taskstats_next(fd, &r, lost))
        *found += r.ppid == ppid && (pid == 0 || r.pid == pid) && r.ends_process;
}

static int wait_for_each(int fd, int count)
{
    int found = 0;
    uint64_t lost = 0;
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
        drain(fd, getpid(), pid, &found, &lost);
    }
    printf("{\"found\": %d, \"lost\": %llu}\n", found, (unsigned long long)lost);
    return 0;
}

static int burst(int fd, int count, int bytes)
{
    int found = 0, gate[2];
    uint64_t lost = 0;
    char byte;
    if ((bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0) || pipe(gate) < 0)
        return 2;
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 2;
        if (pid == 0) {
            close(gate[1]);
            _exit(read(gate[0], &byte, 1) != 0);
        }
    }
    close(gate[1]);
    for (int i = 0; i < count; i++)
        wait(NULL);
    drain(fd, getpid(), 0, &found, &lost);
    printf("{\"found\": %d, \"lost\": %llu}\n", found, (unsigned long long)lost);
    return 0;
}

int main(int argc, char **argv)
{
    const char *why = "";
    if (argc < 2)
        return 2;
    int fd = strcmp(argv[1], "probe") == 0 ? cm_source_taskstats.probe(-1, &why) : cm_taskstats_open(&why);
    if (fd < 0) {
        printf("%s\n", why);
        return 3;
    }
    if (strcmp(argv[1], "probe") == 0)
        return 0;
    if (argc >= 3 && strcmp(argv[1], "run") == 0)
        return run(fd, argv + 2);
    if (argc == 3 && strcmp(argv[1], "wait") == 0)
        return wait_for_each(fd, atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "burst") == 0)
        return burst(fd, atoi(argv[2]), atoi(argv[3]));
    return 2;
}
