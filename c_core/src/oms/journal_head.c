/* A file of two records, mapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal_files.h"

#define PLACES     2
#define HEAD_BYTES (PLACES * JOURNAL_RECORD)

static void head_path(char out[JOURNAL_PATH], const char *folder)
{
    snprintf(out, JOURNAL_PATH, "%s.head", folder);
}

static bool is_seal(const struct journal_record *record)
{
    return record->kind == JOURNAL_SEAL && record->version == JOURNAL_VERSION &&
           record->sequence != 0 && journal_crc(record) == record->crc;
}

int journal_head_read(const char *folder, struct journal_record *out)
{
    char path[JOURNAL_PATH];
    struct journal_record places[PLACES];
    memset(places, 0, sizeof places);
    head_path(path, folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : -errno;
    ssize_t got = read(fd, places, sizeof places);
    close(fd);
    if (got < 0)
        return 0; /* a folder in its place holds no head */
    int found = 0;
    for (int n = 0; n < PLACES; n++)
        if (is_seal(&places[n]) && (!found || places[n].sequence > out->sequence)) {
            *out = places[n];
            found = 1;
        }
    return found;
}

int journal_head_open(struct journal_head *head, const char *folder)
{
    char path[JOURNAL_PATH];
    struct stat status;
    head_path(path, folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) < 0 ? errno : 0;
    if (!error && !S_ISREG(status.st_mode))
        error = EINVAL;
    if (!error)
        error = posix_fallocate(fd, 0, HEAD_BYTES);
    void *map = MAP_FAILED;
    if (!error) {
        map = mmap(NULL, HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        error = map == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (error)
        return -error;
    head->places = map;
    head->next = 0;
    return 0;
}

void journal_head_put(struct journal_head *head, const struct journal_record *seal)
{
    if (!head->places)
        return;
    memcpy(&head->places[head->next], seal, JOURNAL_RECORD);
    head->next = (head->next + 1) % PLACES;
}

void journal_head_reset(struct journal_head *head, const struct journal_record *seal)
{
    for (int n = 0; n < PLACES; n++)
        journal_head_put(head, seal);
}

void journal_head_close(struct journal_head *head)
{
    if (head->places)
        munmap(head->places, HEAD_BYTES);
    head->places = NULL;
}
