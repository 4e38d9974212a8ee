/* Execute a program by its name, as execvpe does, except that a file that is not text is never passed to the shell. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "shared/internal.h"

#define DEFAULT_PATH "/usr/local/bin:/bin:/usr/bin"

static const char *path_of(char **envp)
{
    for (; *envp != NULL; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return DEFAULT_PATH;
}

/* Return whether the file's first line is text, by the shell's test: a program for another machine has a NUL there. */
static __attribute__((noinline)) bool first_line_is_text(const char *file)
{
    char line[128];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, line, sizeof line) : -1;
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < size && line[i] != '\n'; i++)
        if (line[i] == 0)
            return false;
    return size >= 0;
}

/* Pass a script without #! to the shell, as execvp does. No memory can be allocated here, so the arguments grow at
 * their front. Not inlined: only few commands need the stack for it. */
static __attribute__((noinline)) int exec_by_shell(const char *file, char **argv, char **envp)
{
    static const char shell[] = "/bin/sh";
    char **longer = argv - 1;
    if (!first_line_is_text(file))
        return ENOEXEC;
    longer[0] = (char *)(uintptr_t)shell;
    longer[1] = (char *)(uintptr_t)file;
    execve(shell, longer, envp);
    return errno == E2BIG ? E2BIG : ENOEXEC;
}

static int exec_file(const char *file, char **argv, char **envp, bool shell)
{
    execve(file, argv, envp);
    return errno == ENOEXEC && shell ? exec_by_shell(file, argv, envp) : errno;
}

/* Search the folders of PATH. Not inlined: the buffer for a path takes one more page of stack, and so one more
 * fault. */
static __attribute__((noinline)) int exec_searching(char **argv, char **envp, bool shell)
{
    char file[PATH_MAX];
    size_t name = strlen(argv[0]);
    int access_error = 0;
    const char *folder = path_of(envp);
    for (const char *end; folder != NULL && name > 0; folder = *end ? end + 1 : NULL) {
        end = strchrnul(folder, ':');
        size_t length = (size_t)(end - folder);
        if (length + name + 2 > sizeof file)
            continue;
        memcpy(file, folder, length);
        if (length > 0)
            file[length++] = '/';
        memcpy(file + length, argv[0], name + 1);
        int error = exec_file(file, argv, envp, shell);
        if (error == EACCES)
            access_error = error;
        else if (error != ENOENT && error != ENOTDIR)
            return error;
    }
    return access_error ? access_error : ENOENT;
}

/* Execute the program; return an errno if that fails. With `shell`, argv[-1] must be writable. */
int cm_exec(char **argv, char **envp, bool shell)
{
    return strchr(argv[0], '/') == NULL ? exec_searching(argv, envp, shell) : exec_file(argv[0], argv, envp, shell);
}
