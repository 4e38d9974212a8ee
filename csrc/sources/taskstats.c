/*
 * taskstats: the kernel's exit record of every task of the machine. This file subscribes to the records by generic
 * netlink. It needs CAP_NET_ADMIN in the initial user namespace, and the initial PID and network namespaces.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sources/taskstats.h"

enum {
    /* For records that wait to be read. The kernel doubles it, and counts 2.3 KiB for each record. */
    BACKLOG_BYTES = 32 << 20,
    TEXT_BYTES = 256,
};

/* Send one request with one text. Return the result: 0 or -errno. Netlink has answered when write() returns. The ID
 * of the family, if the answer holds one, is stored in `family`. */
static int request(int fd, uint16_t type, uint8_t command, uint16_t attribute, const char *text, uint16_t *family)
{
    struct {
        struct nlmsghdr head;
        struct genlmsghdr command;
        struct nlattr attribute;
        char text[TEXT_BYTES];
    } out = {.command = {.cmd = command, .version = TASKSTATS_GENL_VERSION}};
    size_t n = strlen(text) + 1;
    memcpy(out.text, text, n);
    out.attribute = (struct nlattr){.nla_type = attribute, .nla_len = (uint16_t)(NLA_HDRLEN + n)};
    out.head.nlmsg_type = type;
    out.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    out.head.nlmsg_len = (uint32_t)(offsetof(typeof(out), text) + NLA_ALIGN(n));
    if (write(fd, &out, out.head.nlmsg_len) < 0)
        return -errno;

    char buffer[CM_DATAGRAM_BYTES];
    uint64_t lost = 0;
    for (struct cm_span datagram; (datagram = cm_receive(fd, buffer, &lost)).n > 0;) {
        struct cm_span payload;
        for (int got; (got = cm_message_next(&datagram, &payload)) != 0;) {
            int32_t error;
            struct cm_span id = cm_attribute(payload, CTRL_ATTR_FAMILY_ID);
            if (got == NLMSG_ERROR && payload.n >= sizeof error) {
                memcpy(&error, payload.at, sizeof error);
                return error;
            }
            if (got == GENL_ID_CTRL && id.n >= sizeof *family)
                memcpy(family, id.at, sizeof *family);
        }
    }
    return -ENOMSG;
}

/* Subscribe to the records of all CPUs, or unsubscribe. */
static int subscribe(int fd, uint16_t how, const char **why)
{
    char cpus[TEXT_BYTES];
    uint16_t family = 0;
    *why = "the list of CPUs, /sys/devices/system/cpu/possible, cannot be read";
    ssize_t n = cm_read_file_at(AT_FDCWD, "/sys/devices/system/cpu/possible", cpus, sizeof cpus);
    if (n < 0)
        return (int)n;
    *why = "the list of CPUs, /sys/devices/system/cpu/possible, is longer than concmem supports";
    if (n == (ssize_t)sizeof cpus - 1)
        return -E2BIG;
    *why = "this kernel has no taskstats (CONFIG_TASKSTATS), or none for this network namespace";
    int error = request(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, TASKSTATS_GENL_NAME, &family);
    if (error != 0)
        return error;
    error = request(fd, family, TASKSTATS_CMD_GET, how, cpus, &family);
    if (error == -EPERM)
        *why = "taskstats need CAP_NET_ADMIN in the initial user namespace: root outside of containers has it";
    else if (error == -EINVAL)
        *why = "the kernel sends taskstats to the initial PID namespace only, and this process is in another one";
    else
        *why = "the kernel refuses to send taskstats";
    return error;
}

/*
 * Check that the record of a child arrives, and in a known form. A subscription from another network namespace is
 * accepted, but the kernel sends the records to the socket with the same address in the initial one. The child is a
 * fork that only exits, without an exit signal.
 */
static int try_with_child(int fd, const char **why)
{
    *why = "no process could be started to test taskstats";
    int pid = (int)syscall(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    if (pid < 0)
        return -errno;
    while (wait4(pid, NULL, __WALL, NULL) < 0 && errno == EINTR)
        ;
    *why = "the kernel sends taskstats to the initial network namespace only, and this process is in another one";
    int error = -ENOMSG;
    char buffer[CM_DATAGRAM_BYTES];
    uint64_t lost = 0;
    for (struct cm_span datagram; (datagram = cm_receive(fd, buffer, &lost)).n > 0;) {
        struct cm_span payload = {NULL, 0};
        struct cm_exit_record record;
        int type = cm_message_next(&datagram, &payload);
        struct cm_span stats = cm_stats_of(type, payload);
        if (stats.n > 0 && !cm_stats_read(stats, &record)) {
            *why = "this kernel's taskstats have a form that concmem does not support: "
                   "it needs Linux 5.19 or later, not 6.14";
            error = -EOPNOTSUPP;
        } else if (stats.n > 0 && record.pid == pid) {
            *why = "this kernel's taskstats hold nothing about memory (CONFIG_TASK_XACCT)";
            return cm_stats_have_memory(stats) ? 0 : -ENODATA;
        }
    }
    return error;
}

/* Unsubscribe and close. If the socket were just closed, each CPU would keep sending until a task has ended there.
 * And the socket's address, this process's PID, may by then belong to another socket. */
void cm_taskstats_close(int fd)
{
    const char *why;
    subscribe(fd, TASKSTATS_CMD_ATTR_DEREGISTER_CPUMASK, &why);
    close(fd);
}

/* Subscribe. Return a non-blocking descriptor, or -errno and one sentence in `why`. */
int cm_taskstats_open(const char **why)
{
    int bytes = BACKLOG_BYTES;
    *why = "this kernel has no generic netlink, which taskstats need";
    int fd = (int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
    if (fd < 0)
        return -errno;
    /* Up to net.core.rmem_max for all users; above it with CAP_NET_ADMIN. */
    if (syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    int error = subscribe(fd, TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, why);
    if (error != 0) {
        close(fd);
        return error;
    }
    error = try_with_child(fd, why);
    if (error != 0) {
        cm_taskstats_close(fd);
        return error;
    }
    *why = "";
    return fd;
}

static int probe(int proc_fd, const char **why)
{
    (void)proc_fd;
    int fd = cm_taskstats_open(why);
    if (fd < 0)
        return fd;
    cm_taskstats_close(fd);
    return 0;
}

const struct cm_source cm_source_taskstats = {
    .name = "taskstats",
    .needs = "CAP_NET_ADMIN outside of containers, and Linux 5.19 with CONFIG_TASK_XACCT",
    .remedy = "sudo concmem run --taskstats -- CMD",
    .cadence = CM_AT_EXIT,
    .on_request = true,
    .column = "taskst.",
    .ncolumns = 1,
    .columns = {{.name = "hwm", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .probe = probe,
};
