/*
 * Read the clock without a system call, as libc does: the kernel maps a small ELF object into every process, the vDSO,
 * whose function __vdso_clock_gettime computes the time from a page that the kernel updates.
 */
#include "sampler/sampler.h"

#ifdef CM_FREESTANDING

#include <elf.h>
#include <string.h>

static int (*clock_function)(clockid_t, struct timespec *);
static const Elf64_Ehdr *object;

/* The kernel has said where the vDSO is (AT_SYSINFO_EHDR). */
void vdso_found(const void *at)
{
    object = at;
}

/* Find the function. Before the first tick this would cost more than it saves: it touches pages of the vDSO. */
void vdso_use(void)
{
    if (object == NULL)
        return;
    const char *base = (const char *)object, *names = NULL;
    const Elf64_Phdr *part = (const Elf64_Phdr *)(base + object->e_phoff);
    const Elf64_Dyn *entry = NULL;
    const Elf64_Sym *symbols = NULL;
    const Elf64_Word *hash = NULL;
    for (int i = 0; i < object->e_phnum; i++)
        if (part[i].p_type == PT_DYNAMIC)
            entry = (const Elf64_Dyn *)(base + part[i].p_offset);
    for (; entry != NULL && entry->d_tag != DT_NULL; entry++) {
        const void *at = base + entry->d_un.d_ptr; /* addresses are offsets: the object begins at 0 */
        if (entry->d_tag == DT_STRTAB)
            names = at;
        else if (entry->d_tag == DT_SYMTAB)
            symbols = at;
        else if (entry->d_tag == DT_HASH)
            hash = at;
    }
    if (names == NULL || symbols == NULL || hash == NULL)
        return;
    for (Elf64_Word i = 0; i < hash[1]; i++) /* the number of symbols */
        if (symbols[i].st_shndx != SHN_UNDEF && strcmp(names + symbols[i].st_name, "__vdso_clock_gettime") == 0)
            memcpy(&clock_function, &(const char *){base + symbols[i].st_value}, sizeof clock_function);
}

/* Return 0, or another number if the vDSO does not have this clock. */
int vdso_clock_gettime(clockid_t clock, struct timespec *to)
{
    return clock_function == NULL ? -1 : clock_function(clock, to);
}

#endif
