/*
 * compare_text ROUNDS SEED
 *
 * Compares the string functions of csrc/nolibc/text.c with libc's, on random texts that end at the end of their memory.
 * The functions under test are compiled with `own_` before their names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *own_memcpy(void *restrict to, const void *restrict from, size_t n);
void *own_memmove(void *to, const void *from, size_t n);
void *own_memset(void *to, int value, size_t n);
int own_memcmp(const void *a, const void *b, size_t n);
size_t own_strnlen(const char *text, size_t most);
size_t own_strlen(const char *text);
char *own_strchrnul(const char *text, int c);
char *own_strchr(const char *text, int c);
char *own_strrchr(const char *text, int c);
int own_strncmp(const char *a, const char *b, size_t n);
char *own_strstr(const char *text, const char *part);
char *own_strcpy(char *restrict to, const char *restrict from);
char *own_strncpy(char *restrict to, const char *restrict from, size_t n);

enum { LONGEST = 40 };

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

/* Return a text of random length in memory of exactly its size, of few letters, so that parts of it recur. */
static char *text(size_t *length)
{
    *length = (size_t)rand() % LONGEST;
    char *made = malloc(*length + 1);
    for (size_t i = 0; i < *length; i++)
        made[i] = "ab:\xff"[rand() % 4];
    made[*length] = 0;
    return made;
}

#define CHECK(what) \
    do \
        if (!(what)) { \
            printf("%s: \"%s\", \"%s\", n = %zu, c = %d\n", #what, a, b, n, c); \
            fflush(stdout); \
            _Exit(1); \
        } \
    while (0)

static void compare(void)
{
    size_t length_a, length_b;
    char *a = text(&length_a), *b = text(&length_b), *own = malloc(LONGEST), *theirs = malloc(LONGEST);
    size_t n = (size_t)rand() % LONGEST, both = length_a < length_b ? length_a : length_b;
    int c = "ab:\xffz"[rand() % 6];

    CHECK(own_strlen(a) == strlen(a));
    CHECK(own_strnlen(a, n) == strnlen(a, n));
    CHECK(own_strchr(a, c) == strchr(a, c));
    CHECK(own_strchrnul(a, c) == strchrnul(a, c));
    CHECK(own_strrchr(a, c) == strrchr(a, c));
    CHECK(own_strstr(a, b) == strstr(a, b));
    CHECK(own_strstr(a, "a:") == strstr(a, "a:"));
    CHECK(sign(own_strncmp(a, b, n)) == sign(strncmp(a, b, n)));
    CHECK(sign(own_memcmp(a, b, both)) == sign(memcmp(a, b, both)));

    CHECK(own_memset(own, c, n) == own && memset(theirs, c, n) && memcmp(own, theirs, n) == 0);
    CHECK(own_strncpy(own, a, n) == own && strncpy(theirs, a, n) && memcmp(own, theirs, n) == 0);
    char *exact = malloc(length_a + 1);
    CHECK(own_strcpy(exact, a) == exact && strcmp(exact, a) == 0);
    CHECK(own_memcpy(exact, a, length_a + 1) == exact && strcmp(exact, a) == 0);

    own_memset(own, 0, LONGEST);
    for (int i = 0; i < LONGEST; i++)
        own[i] = theirs[i] = (char)i;
    size_t from = (size_t)rand() % LONGEST, to = (size_t)rand() % LONGEST;
    size_t most = LONGEST - (from > to ? from : to);
    size_t moved = n < most ? n : most;
    CHECK(own_memmove(own + to, own + from, moved) == own + to);
    memmove(theirs + to, theirs + from, moved);
    CHECK(memcmp(own, theirs, LONGEST) == 0);
    free(exact), free(theirs), free(own), free(b), free(a);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    srand((unsigned)atoi(argv[2]));
    for (int i = atoi(argv[1]); i > 0; i--)
        compare();
    return 0;
}
