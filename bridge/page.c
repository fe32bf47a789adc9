#include "page.h"
#include "allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A reader gives up on a page whose writer stays in the middle of a copy for this many tries. */
#define PAGE_READ_TRIES 200

struct page {
    struct participant_page *shared;
    int writable;
};

MAPPING_HOLDS(struct participant_page);

/* page_file: opens path and checks that it is a plain file of ours that nobody else can read. */
static int page_file(const char *path, int flags)
{
    struct stat info;
    int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == ELOOP ? -EPERM : -errno;
    if (fstat(fd, &info) != 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

static int page_map(struct page **out, int fd, int writable)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    struct page *page = ALLOCATE(struct page);
    void *memory;

    if (page == NULL)
        return -ENOMEM;
    memory =
        mmap(NULL, sizeof(struct participant_page), protection, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED) {
        int error = errno;

        free(page);
        return -error;
    }
    page->shared = memory;
    page->writable = writable;
    *out = page;
    return 0;
}

static int page_is_ours(const struct participant_page *shared)
{
    return __atomic_load_n(&shared->magic, __ATOMIC_ACQUIRE) == PROTOCOL_PAGE_MAGIC &&
           shared->version == PROTOCOL_VERSION && shared->size == sizeof *shared;
}

int page_create(struct page **out, const char *path, struct participant_page *previous)
{
    int fd = page_file(path, O_RDWR | O_CREAT);
    struct stat info;
    int error;

    memset(previous, 0, sizeof *previous);
    if (fd < 0)
        return fd;
    error = fstat(fd, &info) != 0 ? errno : 0;
    if (error == 0 && info.st_size != (off_t)sizeof(struct participant_page))
        error = ftruncate(fd, 0) != 0 ? errno : 0;
    if (error == 0)
        error = posix_fallocate(fd, 0, sizeof(struct participant_page));
    error = error != 0 ? -error : page_map(out, fd, 1);
    close(fd);
    if (error != 0)
        return error;
    (void)mlock((*out)->shared, sizeof(struct participant_page));
    if (page_is_ours((*out)->shared)) {
        /* A writer that died in the middle of a copy leaves old and new values side by side; the
         * totals are rebuilt from the journal, and the next publish makes the page whole. */
        (void)page_read(*out, previous);
    } else {
        memset((*out)->shared, 0, sizeof(struct participant_page));
    }
    return 0;
}

int page_open(struct page **out, const char *path)
{
    int fd = page_file(path, O_RDONLY);
    struct stat info;
    int error;

    if (fd < 0)
        return fd;
    if (fstat(fd, &info) != 0)
        error = -errno;
    else if (info.st_size != (off_t)sizeof(struct participant_page))
        error = -EPROTO;
    else
        error = page_map(out, fd, 0);
    close(fd);
    if (error == 0 && !page_is_ours((*out)->shared)) {
        page_close(*out);
        *out = NULL;
        error = -EPROTO;
    }
    return error;
}

void page_close(struct page *page)
{
    if (page == NULL)
        return;
    munmap(page->shared, sizeof(struct participant_page));
    free(page);
}

void page_publish(struct page *page, const struct participant_page *content)
{
    const size_t head = offsetof(struct participant_page, role);
    struct participant_page *shared = page->shared;
    uint64_t sequence = shared->sequence;

    if (!page->writable)
        return;
    /* The order of ledger_private.h's "sequence": no byte of the copy is visible before the odd
     * number, none is missing once the even one is seen. */
    __atomic_store_n(&shared->sequence, sequence | 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    shared->version = PROTOCOL_VERSION;
    shared->size = sizeof *shared;
    memcpy((char *)shared + head, (const char *)content + head, sizeof *shared - head);
    __atomic_store_n(&shared->sequence, (sequence | 1) + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&shared->magic, PROTOCOL_PAGE_MAGIC, __ATOMIC_RELEASE);
}

int page_read(const struct page *page, struct participant_page *out)
{
    const struct participant_page *shared = page->shared;

    for (int attempt = 0; attempt < PAGE_READ_TRIES; attempt++) {
        uint64_t before = __atomic_load_n(&shared->sequence, __ATOMIC_ACQUIRE);

        if ((before & 1) == 0) {
            memcpy(out, shared, sizeof *out);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(&shared->sequence, __ATOMIC_RELAXED) == before)
                return 0;
        }
        usleep(attempt < 16 ? 1 : 100);
    }
    memcpy(out, shared, sizeof *out);
    return -EAGAIN;
}

void histogram_record(struct histogram *histogram, int64_t value_ns)
{
    uint64_t value = value_ns < 0 ? 0 : (uint64_t)value_ns;
    uint64_t bucket = value;

    if (value >= 16) {
        uint64_t power = 63 - (uint64_t)__builtin_clzll(value);

        bucket = 16 * (power - 3) + ((value >> (power - 4)) & 15);
    }
    if (bucket >= HISTOGRAM_BUCKETS)
        bucket = HISTOGRAM_BUCKETS - 1;
    if (histogram->count == 0 || (int64_t)value < histogram->min_ns)
        histogram->min_ns = (int64_t)value;
    if ((int64_t)value > histogram->max_ns)
        histogram->max_ns = (int64_t)value;
    histogram->buckets[bucket]++;
    histogram->sum_ns += (int64_t)value;
    histogram->count++;
}

/* bucket_upper_edge: the largest value that falls into the bucket. */
static int64_t bucket_upper_edge(int bucket)
{
    int power = bucket / 16 + 3;
    unsigned long long lower;

    if (bucket < 16)
        return bucket;
    lower = (16ULL + (unsigned long long)(bucket % 16)) << (power - 4);
    return (int64_t)(lower + (1ULL << (power - 4)) - 1);
}

int64_t histogram_percentile(const struct histogram *histogram, int permille)
{
    int64_t rank = (histogram->count * permille + 999) / 1000;
    int64_t seen = 0;

    if (histogram->count <= 0)
        return 0;
    if (rank < 1)
        rank = 1;
    for (int bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= rank)
            return bucket_upper_edge(bucket);
    }
    return histogram->max_ns;
}
