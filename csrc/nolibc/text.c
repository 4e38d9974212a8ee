/* The part of <string.h> that a sampler without libc uses. The compiler may call the first four by itself. */
#include "sampler/sampler.h"

#ifdef CM_FREESTANDING

#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t n)
{
    if ((uintptr_t)to - (uintptr_t)from >= n)
        return memcpy(to, from, n);
    for (volatile char *end = to; n > 0; n--)
        end[n - 1] = ((const char *)from)[n - 1];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n > 0; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strnlen(const char *text, size_t most)
{
    size_t n = 0;
    while (n < most && text[n])
        n++;
    return n;
}

size_t strlen(const char *text)
{
    return strnlen(text, SIZE_MAX);
}

char *strchrnul(const char *text, int c)
{
    while (*text && *text != (char)c)
        text++;
    return (char *)text;
}

char *strchr(const char *text, int c)
{
    char *at = strchrnul(text, c);
    return *at == (char)c ? at : NULL;
}

char *strrchr(const char *text, int c)
{
    const char *found = NULL;
    do
        if (*text == (char)c)
            found = text;
    while (*text++);
    return (char *)found;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n > 0 && *a && *a == *b; n--)
        a++, b++;
    return n == 0 ? 0 : (unsigned char)*a - (unsigned char)*b;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

char *strstr(const char *text, const char *part)
{
    size_t n = strlen(part);
    while (strncmp(text, part, n) != 0)
        if (*text++ == 0)
            return NULL;
    return (char *)text;
}

char *strcpy(char *restrict to, const char *restrict from)
{
    memcpy(to, from, strlen(from) + 1);
    return to;
}

char *strncpy(char *restrict to, const char *restrict from, size_t n)
{
    size_t used = strnlen(from, n);
    memset(to + used, 0, n - used);
    return memcpy(to, from, used);
}

#endif
