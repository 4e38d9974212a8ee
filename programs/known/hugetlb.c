/*
 * hugetlb PRIVATE SHARED [SECONDS=0.2]
 *
 * Touches PRIVATE bytes of private and SHARED bytes of shared huge pages (hugetlbfs), both multiples of the machine's
 * huge page size. A forked child reads the shared ones. Prints "holding", both hold them for SECONDS, exits 0. They are in
 * no RSS and no PSS, and the file HugetlbPages of each process has those that it maps. The footprint is PRIVATE +
 * SHARED. Exits with 1 if the system has too few of them (vm.nr_hugepages, vm.nr_overcommit_hugepages).
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: hugetlb PRIVATE SHARED [SECONDS]\n");
        return 2;
    }
    size_t own = (size_t)known_arg(argc, argv, 1, 0), shared = (size_t)known_arg(argc, argv, 2, 0);
    double seconds = known_arg(argc, argv, 3, 0.2);
    pthread_barrier_t *together = known_barrier(2);
    /* Not known_map_with: without a reservation, a page that is missing is a SIGBUS. */
    char *mapping =
        own ? mmap(NULL, own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) : NULL;
    if (mapping == MAP_FAILED)
        known_fail("mmap");
    known_write(mapping, own);
    int fd = shared ? memfd_create("known", MFD_HUGETLB) : -1;
    if (shared && (fd < 0 || ftruncate(fd, (off_t)shared)))
        known_fail("memfd_create");
    char *common = known_map_file(fd, shared);
    known_write(common, shared);
    bool child = known_fork() == 0;
    if (child)
        known_read(common, shared);
    known_meet(together);
    if (!child)
        known_print("holding");
    known_sleep(seconds);
    if (!child)
        known_reap_all();
    return 0;
}
