#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "status.h"

#define LOG_LINE       1024
#define LOG_NAMES      64
#define LOG_SECRET_MIN 6
#define LOG_SECRET_MAX 128

/* One name's allowance; names that share a place share it. */
struct allowance {
    int64_t second;
    int used;
    int left_out;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int output = STDERR_FILENO;
static enum log_level lowest = LOG_INFO;
static char secrets[LOG_SECRETS][LOG_SECRET_MAX];
static size_t secret_count;
static struct allowance allowances[LOG_NAMES];
static int64_t suppressed;

int log_open(const char *path, enum log_level level)
{
    int fd = STDERR_FILENO;
    if (path != NULL) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return status_set(STATUS_IO, "cannot write the log %s (%s); check its folder", path,
                              strerror(errno));
    }
    log_close();
    pthread_mutex_lock(&mutex);
    output = fd;
    lowest = level;
    pthread_mutex_unlock(&mutex);
    return STATUS_OK;
}

void log_close(void)
{
    pthread_mutex_lock(&mutex);
    if (output != STDERR_FILENO)
        close(output);
    output = STDERR_FILENO;
    pthread_mutex_unlock(&mutex);
}

int log_redact(const char *text)
{
    size_t length = strlen(text);
    if (length < LOG_SECRET_MIN || length >= LOG_SECRET_MAX)
        return status_set(STATUS_LIMIT, "a secret to redact must have %d to %d bytes",
                          LOG_SECRET_MIN, LOG_SECRET_MAX - 1);
    pthread_mutex_lock(&mutex);
    int result = STATUS_OK;
    if (secret_count == LOG_SECRETS)
        result = status_set(STATUS_LIMIT, "at most %d secrets can be redacted", LOG_SECRETS);
    else
        memcpy(secrets[secret_count++], text, length + 1);
    pthread_mutex_unlock(&mutex);
    return result;
}

static void redact(char *line)
{
    for (size_t i = 0; i < secret_count; i++) {
        size_t length = strlen(secrets[i]);
        char *at;
        while ((at = strstr(line, secrets[i])) != NULL) {
            memcpy(at, "***", 3);
            memmove(at + 3, at + length, strlen(at + length) + 1);
        }
    }
}

/* The number of lines left out before this one, or -1 when this one is left out too. */
static int admit(const char *name, int64_t second)
{
    uint32_t hash = 2166136261u;
    for (const char *p = name; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    struct allowance *a = &allowances[hash % LOG_NAMES];
    if (a->second != second) {
        a->second = second;
        a->used = 0;
    }
    if (a->used == LOG_BURST) {
        a->left_out++;
        suppressed++;
        return -1;
    }
    a->used++;
    int left_out = a->left_out;
    a->left_out = 0;
    return left_out;
}

static size_t format_prefix(char *line, size_t capacity, int64_t wall_ns, const char *level,
                            const char *name, int left_out)
{
    time_t seconds = (time_t)(wall_ns / CLOCK_NS_PER_S);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char date[32];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line, capacity, "%s.%06dZ %s %s ", date,
                     (int)(wall_ns % CLOCK_NS_PER_S / 1000), level, name);
    if (left_out > 0)
        n += snprintf(line + n, capacity - (size_t)n, "(%d more left out) ", left_out);
    return (size_t)n;
}

void log_event(enum log_level level, const char *name, const char *format, ...)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    if (level < lowest)
        return;
    int64_t wall_ns = clock_wall_ns();
    pthread_mutex_lock(&mutex);
    int left_out = admit(name, wall_ns / CLOCK_NS_PER_S);
    if (left_out >= 0) {
        char line[LOG_LINE];
        size_t used = format_prefix(line, 256, wall_ns, levels[level], name, left_out);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(line + used, sizeof line - used - 1, format, arguments);
        va_end(arguments);
        redact(line);
        size_t length = strlen(line);
        for (size_t i = 0; i < length; i++)
            line[i] = (unsigned char)line[i] < 0x20 || line[i] == 0x7f ? ' ' : line[i];
        line[length++] = '\n';
        if (write(output, line, length) < 0)
            suppressed++; /* a full disk must not stop trading; the count tells */
    }
    pthread_mutex_unlock(&mutex);
}

int64_t log_suppressed(void)
{
    pthread_mutex_lock(&mutex);
    int64_t count = suppressed;
    pthread_mutex_unlock(&mutex);
    return count;
}
