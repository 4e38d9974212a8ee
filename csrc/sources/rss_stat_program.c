/*
 * The eBPF program that keeps the sum of RSS, and the code that reads what it writes.
 *
 * An event reports the new size of one kind of pages (files, anonymous, shared memory) of one address space. The
 * program exchanges that for the size stored before, and adds the difference to the sum. The atomic addition returns to
 * each CPU the sum at its own step, which is compared with the window's maximum.
 *
 * Which pages count. An address space is added when it is created, and counts until its last page is freed:
 *   - fork fills the child's address space, and exec the new one, in a task of the group but not in the task's own
 *     memory (curr = 0), and starting from 0: the first size is at most what one page table maps. Other sizes with curr
 *     = 0 that a task of the group happens to change (reclaim, truncation) belong to unrelated processes, and mostly
 *     are larger.
 *   - A change that a task of the group makes in its own memory counts if that memory is known. So the sampler's
 *     memory, in which the root runs between vfork and exec, is never added.
 *   - A change by another task counts if the stored size is not 0: kswapd, khugepaged, the OOM killer, or a reader of
 *     /proc/PID that is the last to release a process's memory and so has to free it. Without this a process whose
 *     statm is being read as it ends would stay in the sum for good.
 *
 * Sizes that have become 0 stay in the table. mm_id is a hash of the address of the mm_struct. Those addresses are used
 * again, so there are as many as have been alive at once. The kernel gives the memory of a deleted entry to the next
 * one at once, and a CPU that has just looked up the old one would then write into another entry. For the same reason
 * an entry is made with BPF_NOEXIST, of size 0: if two CPUs find a new key at once, one makes the entry and both use
 * it.
 *
 * A CPU that raises the maximum must not undo what another CPU has raised in between. So it compares and exchanges,
 * again if it failed. It fails because of a larger sum, or of the reader, so ROUNDS failures in a row need as many CPUs
 * at once. They are counted all the same. For the reader see cm_rss_stat_read.
 *
 * Not exact: threads of one process that change the same kind of pages at the same moment. The kernel computes the size
 * before it calls the program, so the older of two sizes can come last. It stays until the next event of that address
 * space, and is wrong by one event of each other thread.
 */
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sources/rss_stat.h"

enum { ANON_PAGES = 1, SWAP_ENTRIES = 2 }; /* MM_*: enum in include/linux/mm_types_task.h; checked in the format */
enum { ROUNDS = 32, LONGEST = 128, NO_JUMP = 0xff };
enum { ATOMIC = BPF_STX | 0xc0 | BPF_DW, FETCH = 0x01, EXCHANGE = 0xe1, COMPARE_EXCHANGE = 0xf1 }; /* as in 5.12 */
enum { R0, R1, R2, R3, R4, R6 = 6, R7, R8, R9, R10 };
enum { KEY = -8, FRESH = -16, ANON_KEY = -24 }; /* on its stack */
enum label { OUT = 1, LOOK_UP, NO_SIZE, OWN_MEMORY, INSERT, KNOWN, RAISE, LABELS };

#define DO(c, d, s, o, i) {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (short)(o), .imm = (int)(i)}
#define SET(d, i) DO(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s) DO(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define WITH(op, d, i) DO(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define WITH_REG(op, d, s) DO(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define LOAD(bytes, d, s, o) DO(BPF_LDX | BPF_MEM | (bytes), d, s, o, 0)
#define STORE(o, s) DO(BPF_STX | BPF_MEM | BPF_DW, R10, s, o, 0)
#define STORE_NUMBER(o, i) DO(BPF_ST | BPF_MEM | BPF_DW, R10, 0, o, i)
#define ATOMICALLY(op, d, o, s) DO(ATOMIC, d, s, o, op)
#define CALL(helper) DO(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define IF(test, d, i, label) DO(BPF_JMP | (test) | BPF_K, d, 0, label, i)
#define IF_REG(test, d, s, label) DO(BPF_JMP | (test) | BPF_X, d, s, label, 0)
#define JUMP(label) DO(BPF_JMP | BPF_JA, 0, 0, label, 0)
#define EXIT DO(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define AT(label) DO(NO_JUMP, 0, 0, label, 0)
#define WIDE(d, kind, fd) DO(BPF_LD | BPF_IMM | BPF_DW, d, kind, 0, fd), DO(0, 0, 0, 0, 0)
#define MAP(d, fd) WIDE(d, BPF_PSEUDO_MAP_FD, fd)
#define VALUES(d, fd) WIDE(d, BPF_PSEUDO_MAP_VALUE, fd)
#define ADDRESS(d, o) COPY(d, R10), WITH(BPF_ADD, d, o)
#define COUNT(o) SET(R2, 1), ATOMICALLY(BPF_ADD, R1, 8 * (o), R2)

/* Remove the labels and replace them by distances. Return the number of instructions that are left. */
static uint32_t assemble(struct bpf_insn *code, uint32_t n)
{
    uint32_t positions[LABELS] = {0}, length = 0;
    for (uint32_t i = 0; i < n; i++)
        if (code[i].code == NO_JUMP)
            positions[code[i].off] = length;
        else
            code[length++] = code[i];
    for (uint32_t i = 0; i < length; i++)
        if (BPF_CLASS(code[i].code) == BPF_JMP && code[i].off != 0)
            code[i].off = (short)(positions[code[i].off] - i - 1);
    return length;
}

/* Return a descriptor of the program, or -1 and errno. */
int rss_program_load(const struct rss_program *p)
{
    const long page = sysconf(_SC_PAGESIZE);
    const long table_maps = page / 8 * page;
    struct bpf_insn code[] = {
        COPY(R6, R1),
        LOAD(BPF_W, R2, R6, p->event.member),
        IF(BPF_JEQ, R2, SWAP_ENTRIES, OUT), /* not resident */
        LOAD(BPF_W, R1, R6, p->event.mm_id),
        WITH(BPF_LSH, R1, 2),
        WITH_REG(BPF_OR, R1, R2),
        STORE(KEY, R1),
        LOAD(BPF_DW, R7, R6, p->event.size),
        LOAD(BPF_W, R8, R6, p->event.curr),
        MAP(R1, p->groups_fd),
        SET(R2, 0),
        CALL(BPF_FUNC_current_task_under_cgroup),
        COPY(R6, R0), /* 1: a task of the group */
        IF(BPF_JEQ, R6, 1, LOOK_UP),
        IF(BPF_JNE, R8, 0, OUT), /* the common case: a task outside of the group, in its own memory */

        AT(LOOK_UP),
        MAP(R1, p->sizes_fd),
        ADDRESS(R2, KEY),
        CALL(BPF_FUNC_map_lookup_elem),
        IF(BPF_JEQ, R0, 0, NO_SIZE),
        IF(BPF_JNE, R8, 0, KNOWN),
        LOAD(BPF_DW, R1, R0, 0),
        IF(BPF_JNE, R1, 0, KNOWN),

        AT(NO_SIZE), /* no entry, or its size is 0 */
        IF(BPF_JNE, R8, 0, OWN_MEMORY),
        IF(BPF_JNE, R6, 1, OUT),
        IF(BPF_JGT, R7, table_maps, OUT), /* not a new address space */
        IF(BPF_JNE, R0, 0, KNOWN),
        JUMP(INSERT),

        AT(OWN_MEMORY), /* a new kind; exec and fork start with anonymous pages, so those have an entry */
        LOAD(BPF_DW, R1, R10, KEY),
        WITH(BPF_AND, R1, ~3),
        WITH(BPF_OR, R1, ANON_PAGES),
        STORE(ANON_KEY, R1),
        MAP(R1, p->sizes_fd),
        ADDRESS(R2, ANON_KEY),
        CALL(BPF_FUNC_map_lookup_elem),
        IF(BPF_JEQ, R0, 0, OUT),

        AT(INSERT),
        STORE_NUMBER(FRESH, 0),
        MAP(R1, p->sizes_fd),
        ADDRESS(R2, KEY),
        ADDRESS(R3, FRESH),
        SET(R4, BPF_NOEXIST),
        CALL(BPF_FUNC_map_update_elem),
        MAP(R1, p->sizes_fd),
        ADDRESS(R2, KEY),
        CALL(BPF_FUNC_map_lookup_elem),
        IF(BPF_JNE, R0, 0, KNOWN),
        VALUES(R1, p->values_fd),
        COUNT(CM_RSS_STAT_LOST),
        JUMP(OUT),

        AT(KNOWN),
        COPY(R8, R7),
        ATOMICALLY(EXCHANGE, R0, 0, R7),
        WITH_REG(BPF_SUB, R8, R7), /* its growth */
        VALUES(R1, p->values_fd),
        COUNT(CM_RSS_STAT_EVENTS),
        COPY(R9, R8),
        ATOMICALLY(BPF_ADD | FETCH, R1, 8 * CM_RSS_STAT_SUM, R9),
        WITH_REG(BPF_ADD, R9, R8), /* the sum at this step */
        SET(R2, ROUNDS),
        LOAD(BPF_DW, R0, R1, 8 * CM_RSS_STAT_WINDOW),
        AT(RAISE),
        IF_REG(BPF_JSLE, R9, R0, OUT),
        COPY(R3, R0),
        ATOMICALLY(COMPARE_EXCHANGE, R1, 8 * CM_RSS_STAT_WINDOW, R9), /* R0: the previous value */
        IF_REG(BPF_JEQ, R0, R3, OUT),
        WITH(BPF_SUB, R2, 1),
        IF(BPF_JNE, R2, 0, RAISE),
        COUNT(CM_RSS_STAT_NOT_RAISED),

        AT(OUT),
        SET(R0, 0), /* perf must not use this event */
        EXIT,
    };
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.prog_type = BPF_PROG_TYPE_TRACEPOINT;
    a.insns = (uintptr_t)code;
    a.insn_cnt = assemble(code, sizeof code / sizeof *code);
    a.license = (uintptr_t)"MIT";
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);
}

/*
 * Read the sum, and its maximum since the last reading. No maximum is lost between two readings: one that was compared
 * before the exchange is in the value taken out, and one after it is in the next window. But a sum that is unchanged at
 * the exchange may have been compared with the old window's larger maximum, and may fall before the next comparison. So
 * the sum is read *after* the exchange, and the new window is raised to it: from then on it holds every maximum. A step
 * that another CPU has added and not yet compared is recorded one window late.
 */
void cm_rss_stat_read(struct cm_rss_stat *r, uint64_t *sum, uint64_t *window_max)
{
    int64_t *window = &r->values[CM_RSS_STAT_WINDOW];
    int64_t max = __atomic_exchange_n(window, 0, __ATOMIC_SEQ_CST);
    int64_t now = __atomic_load_n(&r->values[CM_RSS_STAT_SUM], __ATOMIC_SEQ_CST);
    now = now > 0 ? now : 0;
    int64_t seen = 0;
    while (seen < now && !__atomic_compare_exchange_n(window, &seen, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    *sum = (uint64_t)now;
    *window_max = (uint64_t)(max > now ? max : now);
    if (*window_max > r->peak)
        r->peak = *window_max;
}

/* Return the maximum of the run, including the present window. */
uint64_t cm_rss_stat_peak(const struct cm_rss_stat *r)
{
    int64_t window = __atomic_load_n(&r->values[CM_RSS_STAT_WINDOW], __ATOMIC_SEQ_CST);
    return window > 0 && (uint64_t)window > r->peak ? (uint64_t)window : r->peak;
}
