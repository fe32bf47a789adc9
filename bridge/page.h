/*
 * page.h: a participant's status page: one writer, any number of readers, no locks. The writer
 * fills a private struct participant_page and publishes it whole; readers copy it whole, and retry
 * while the sequence is odd or changed. A page of a dead process stays readable.
 */
#ifndef PURSER_BRIDGE_PAGE_H
#define PURSER_BRIDGE_PAGE_H

#ifndef PURSER_CDEF
#include "protocol.h"
#endif

struct page; /* mapping of the shared file */

/* page_create: makes or takes over the file (0600, O_NOFOLLOW). When a page of the same layout was
 * there, *previous receives it (its fills and fills_total let the sequence go on), else zeroes. */
int page_create(struct page **out, const char *path, struct participant_page *previous);
int page_open(struct page **out, const char *path);
void page_close(struct page *page);

/* page_publish: copies content (its sequence and magic are set here). No allocation, no system
 * call. */
void page_publish(struct page *page, const struct participant_page *content);

/* page_read: 0, or -EAGAIN when the writer died while writing: out then holds the torn copy. */
int page_read(const struct page *page, struct participant_page *out);

/* histogram_record, histogram_percentile (permille 500, 990, 999): see protocol.h for the buckets.
 * The percentile is the upper edge of its bucket; 0 when empty. */
void histogram_record(struct histogram *histogram, int64_t value_ns);
int64_t histogram_percentile(const struct histogram *histogram, int permille);

#endif
