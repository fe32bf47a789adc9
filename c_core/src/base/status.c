#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char chain[512];

int status_set(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(chain, sizeof chain, format, arguments);
    va_end(arguments);
    return code;
}

int status_add(int code, const char *format, ...)
{
    size_t used = strlen(chain);
    if (used + 3 >= sizeof chain)
        return code;
    if (used > 0) {
        memcpy(chain + used, ": ", 3);
        used += 2;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(chain + used, sizeof chain - used, format, arguments);
    va_end(arguments);
    return code;
}

const char *status_text(void)
{
    return chain;
}
