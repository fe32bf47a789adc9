/* Log lines are one line each, carry time, level and name, hide secrets and are limited per name.
 */
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/base/log.h"
#include "../../c_core/src/base/status.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    char folder[] = "purser-log-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/engine.log", folder);
    CHECK(log_open(path, LOG_INFO) == STATUS_OK);
    CHECK(log_redact("short") == STATUS_LIMIT);
    CHECK(log_redact("very-secret-key") == STATUS_OK);
    log_event(LOG_DEBUG, "not_written", "below the level");
    log_event(LOG_WARNING, "key_loaded", "key very-secret-key twice very-secret-key\nforged line");
    for (int i = 0; i < 3 * LOG_BURST; i++)
        log_event(LOG_INFO, "book_changed", "number %d", i);
    log_close();
    struct stat info;
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    static char text[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    CHECK(fd >= 0 && n > 0);
    close(fd);
    CHECK(strstr(text, "warning key_loaded key *** twice *** forged line\n") != NULL);
    CHECK(strstr(text, "very-secret-key") == NULL && strstr(text, "not_written") == NULL);
    CHECK(text[4] == '-' && text[10] == 'T' && text[26] == 'Z');
    int lines = 0;
    for (char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    /* One burst, or two when the second changed in between. */
    CHECK(lines == 1 + LOG_BURST || lines == 1 + 2 * LOG_BURST || log_suppressed() > 0);
    CHECK(log_open("/nonexistent-folder/x.log", LOG_INFO) == STATUS_IO);
    unlink(path);
    rmdir(folder);
    return 0;
}
