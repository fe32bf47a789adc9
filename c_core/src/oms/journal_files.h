/*
 * journal_files.h: the journal's files, shared by its reader (journal_read.c), its writer
 * (journal.c) and the keeper of its head (journal_head.c) only.
 */
#ifndef PURSER_OMS_JOURNAL_FILES_H
#define PURSER_OMS_JOURNAL_FILES_H

#include "journal.h"

#define JOURNAL_RECORD sizeof(struct journal_record)
#define JOURNAL_PATH   4096

/* journal_list: numbers of the folder's segments, ascending; *out is freed by the caller. Count or
 * -errno; 0 for an absent folder. */
int journal_list(const char *folder, int **out);
void journal_segment_path(char out[JOURNAL_PATH], const char *folder, int number);

/*
 * The head: <folder>.head, beside the folder so that it survives the folder's loss. It holds copies
 * of the newest seals, written in turn into its two places, so that a process that dies while it
 * writes one leaves the other.
 */
struct journal_head {
    struct journal_record *places; /* two, mapped; NULL: not open */
    int next;
};

/* journal_head_read: the newest good copy: 1, or 0 when there is none, or -errno. */
int journal_head_read(const char *folder, struct journal_record *out);
/* journal_head_open: makes or maps the file for writing. 0 or -errno. */
int journal_head_open(struct journal_head *head, const char *folder);
/* journal_head_put: two stores into the mapping; no system call. */
void journal_head_put(struct journal_head *head, const struct journal_record *seal);
/* journal_head_reset: the seal in both places: what they held before counts no more. */
void journal_head_reset(struct journal_head *head, const struct journal_record *seal);
void journal_head_close(struct journal_head *head);

#endif
