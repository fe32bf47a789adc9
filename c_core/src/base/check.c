#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void (*failure_handler)(void *context);
static void *failure_context;

void check_on_failure(void (*handler)(void *context), void *context)
{
    failure_context = context;
    failure_handler = handler;
}

_Noreturn void check_failed(const char *expression, const char *file, int line,
                            const char *function)
{
    /* The handler runs once: a CHECK that fails inside it must not come back here. */
    void (*handler)(void *context) = failure_handler;
    failure_handler = NULL;
    if (handler != NULL)
        handler(failure_context);
    char text[512];
    int n = snprintf(text, sizeof text, "%s:%d: %s: this must hold: %s\n", file, line, function,
                     expression);
    if (n > 0) {
        size_t length = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        if (write(STDERR_FILENO, text, length) < 0)
            abort();
    }
    abort();
}
