/* A process that dies of a defect says which signal it was and where, and still dies of it. */
#include "../../c_core/src/base/crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(expression)                                                                        \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expression);                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* die_of: a child that gets the signal; what it wrote, and how it ended. */
static int die_of(int number, char *said, size_t size)
{
    int ends[2], status;
    size_t length = 0;
    ssize_t got;
    pid_t child;

    REQUIRE(pipe(ends) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        crash_tell();
        (void)raise(number);
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < size && (got = read(ends[0], said + length, size - 1 - length)) > 0)
        length += (size_t)got;
    said[length] = '\0';
    close(ends[0]);
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

static void each_defect_is_told_and_still_ends_the_process(void)
{
    static const struct {
        int number;
        const char *name;
    } cases[] = {{SIGSEGV, "SIGSEGV"},
                 {SIGBUS, "SIGBUS"},
                 {SIGILL, "SIGILL"},
                 {SIGFPE, "SIGFPE"},
                 {SIGABRT, "SIGABRT"}};
    char said[16384];

    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        int status = die_of(cases[n].number, said, sizeof said);

        REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == cases[n].number);
        REQUIRE(strstr(said, "fatal: ") != NULL && strstr(said, cases[n].name) != NULL);
        REQUIRE(strstr(said, "test_crash") != NULL); /* a frame of this program */
    }
}

static void what_somebody_sends_is_not_called_a_defect(void)
{
    char said[16384];
    int status = die_of(SIGTERM, said, sizeof said);

    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    REQUIRE(said[0] == '\0');
}

int main(void)
{
    each_defect_is_told_and_still_ends_the_process();
    what_somebody_sends_is_not_called_a_defect();
    return 0;
}
