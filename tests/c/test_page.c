/* Status pages: whole copies under a writer that never stops, what death leaves, and histograms. */
#include "../../bridge/crc32c.h"
#include "../../bridge/page.h"
#include "../../bridge/reasons.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

static char folder[64];
static char path[128];
static struct participant_page content;
static struct participant_page copy;

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_page.c:%d: %s\n", line, expression);
    abort();
}

static void test_page_goes_on_after_its_writer(void)
{
    struct page *writer;
    struct page *reader;

    REQUIRE(page_open(&reader, path) == -ENOENT);
    REQUIRE(page_create(&writer, path, &content) == 0 && content.fills_total == 0);
    REQUIRE(page_open(&reader, path) == -EPROTO);
    content.fills_total = 3;
    content.fills[2].sequence = 3;
    page_publish(writer, &content);
    REQUIRE(page_open(&reader, path) == 0 && page_read(reader, &copy) == 0);
    REQUIRE(copy.fills_total == 3 && copy.fills[2].sequence == 3);
    REQUIRE(copy.magic == PROTOCOL_PAGE_MAGIC && copy.size == sizeof copy);
    page_close(writer);
    REQUIRE(page_read(reader, &copy) == 0);
    REQUIRE(page_create(&writer, path, &content) == 0 && content.fills_total == 3);
    page_close(writer);
    page_close(reader);
    REQUIRE(chmod(path, 0640) == 0);
    REQUIRE(page_open(&reader, path) == -EPERM && page_create(&writer, path, &content) == -EPERM);
    REQUIRE(unlink(path) == 0);
}

static void write_until_killed(void)
{
    struct page *writer;

    REQUIRE(page_create(&writer, path, &content) == 0);
    for (int64_t i = 1;; i++) {
        content.day_micros = i;
        content.order_to_ack.max_ns = i;
        page_publish(writer, &content);
        if (i % 4 == 0) /* a writer that never pauses leaves no time for a whole copy */
            usleep(100);
    }
}

static void test_copies_are_whole(void)
{
    struct page *reader = NULL;
    int64_t newest = 0;
    int whole = 0;
    int status;
    pid_t child = fork();

    if (child == 0)
        write_until_killed();
    while (page_open(&reader, path) != 0)
        usleep(100);
    while (whole < 200) {
        if (page_read(reader, &copy) != 0)
            continue;
        REQUIRE(copy.day_micros == copy.order_to_ack.max_ns && copy.day_micros >= newest);
        newest = copy.day_micros;
        whole++;
    }
    REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    status = page_read(reader, &copy);
    REQUIRE(status == 0 || status == -EAGAIN);
    page_close(reader);
    REQUIRE(page_create(&reader, path, &content) == 0);
    page_publish(reader, &content);
    REQUIRE(page_read(reader, &copy) == 0);
    page_close(reader);
    REQUIRE(unlink(path) == 0);
}

static void test_histogram(void)
{
    static struct histogram histogram;

    REQUIRE(histogram_percentile(&histogram, 500) == 0);
    for (int64_t value = 1; value <= 1000; value++)
        histogram_record(&histogram, value * 1000);
    REQUIRE(histogram.count == 1000 && histogram.min_ns == 1000 && histogram.max_ns == 1000000);
    for (int permille = 1; permille <= 1000; permille++) {
        int64_t exact = permille * 1000;
        int64_t shown = histogram_percentile(&histogram, permille);

        REQUIRE(shown >= exact && shown <= exact + exact / 16 + 1);
    }
    memset(&histogram, 0, sizeof histogram);
    histogram_record(&histogram, -5);
    histogram_record(&histogram, INT64_MAX);
    REQUIRE(histogram_percentile(&histogram, 500) == 0);
    REQUIRE(histogram_percentile(&histogram, 1000) == INT64_MAX);
}

static void test_names_and_checksum(void)
{
    REQUIRE(crc32c("123456789", 9) == 0xE3069283U);
    REQUIRE(crc32c_extend(crc32c("1234", 4), "56789", 5) == 0xE3069283U);
    REQUIRE(strcmp(reject_reason_name(REJECT_BUDGET), "BUDGET") == 0);
    REQUIRE(strcmp(reject_reason_name(-1), "?") == 0);
    REQUIRE(strcmp(reject_reason_name(REJECT_REASON_COUNT), "?") == 0);
    for (int reason = 0; reason < REJECT_REASON_COUNT; reason++)
        REQUIRE(strlen(reject_reason_text(reason)) > 0 && reason < PAGE_REASONS);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/test-page-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/engine.page", folder);
    test_page_goes_on_after_its_writer();
    test_copies_are_whole();
    test_histogram();
    test_names_and_checksum();
    REQUIRE(rmdir(folder) == 0);
    return 0;
}
