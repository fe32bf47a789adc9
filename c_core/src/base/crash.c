#include "crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FRAMES_MAX  48
#define STACK_BYTES 65536 /* room for the handler when the thread's own stack has run out */

static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));

/* Only calls that POSIX allows in a signal handler: no printf, no allocation. */
static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* the log is gone; the exit status still tells */
}

static void say_hex(uintptr_t value)
{
    char text[2 + 2 * sizeof value + 1] = "0x";
    size_t digits = 2 * sizeof value;

    for (size_t n = 0; n < digits; n++)
        text[2 + n] = "0123456789abcdef"[value >> (4 * (digits - 1 - n)) & 15];
    text[2 + digits] = '\0';
    say(text);
}

static const char *name_of(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    case SIGABRT:
        return "SIGABRT";
    default:
        return "a signal";
    }
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    void *frames[FRAMES_MAX];

    (void)context;
    say("\nfatal: ");
    say(name_of(number));
    say(" at ");
    say_hex((uintptr_t)info->si_addr);
    say(". This is a bug in Purser; the calls that led here:\n");
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
    /* The handler was installed for one time only: raised again, the signal ends the process. */
    (void)raise(number);
}

void crash_tell(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    void *first[1];

    /* The first call loads what it needs; later ones, in the handler, load nothing. */
    (void)backtrace(first, 1);
    (void)sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    (void)sigemptyset(&action.sa_mask);
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
        (void)sigaction(numbers[n], &action, NULL);
}
