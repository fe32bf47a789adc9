/*
 * journal.h: intents and reports on disk, in the order in which they happened, so that a restarted
 * engine knows what it may have sent and what it holds.
 *
 * The folder holds segments journal-00000001.bin, … of fixed size. Each is fully allocated
 * (posix_fallocate) and mapped before it is needed, and one segment is always made ahead: a full
 * disk is known while there is still room for what must be written. Appending is a copy into the
 * mapping and a CRC: no system call, no heap. What is written survives the death of the process at
 * any instruction; a power cut may cost the last seconds, which the venue's own records then fill.
 *
 * Room: when the segment ahead cannot be made, the last JOURNAL_RESERVE records of the current one
 * are kept for reports, cancels and reducing orders (journal_room). When even they are used up,
 * reports wait in memory (JOURNAL_BACKLOG) and are written when space is back.
 *
 * Every segment begins with an OPEN record and a checkpoint of the whole state, so that the oldest
 * ones can go (JOURNAL_SEGMENTS are kept). All amounts in a record are totals after it, so
 * replaying is reading: the last record of a (venue, symbol, strategy) is the truth. A reader stops
 * at the first record whose checksum or sequence is wrong, and writing goes on in a new segment.
 *
 * Off the order path every JOURNAL_SEAL_NS the records since the last seal are sealed
 * (journal_chain.h), and the seal is copied into the head beside the folder. A reader believes a
 * journal whose chain is broken only up to the last seal that fits; one that is another than the
 * head remembers not at all: its segments are set aside, as distrusted-00000001.bin, ….
 */
#ifndef PURSER_OMS_JOURNAL_H
#define PURSER_OMS_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "journal_chain.h"

#define JOURNAL_SEGMENT_BYTES (256 * 1024)
#define JOURNAL_SEGMENTS      1024
#define JOURNAL_RESERVE       512
#define JOURNAL_BACKLOG       4096
#define JOURNAL_SEAL_NS       100000000 /* between two seals at least, while records come */

/* MARK records carry one instrument's books: position, cost, realized and fees in the fields of
 * that name, price_e9 the mark, quantity_e9 the volume in micros, cumulative_e9 the cash flow in
 * micros. With a strategy set, position_e9 alone: the part of the position that this strategy's
 * fills made. */

/* CASH records carry one movement of money: the kind in type, its worth in USD in last_quantity_e9,
 * the change of the wallet in last_price_e9, the coin in symbol, its key in execution_id, the
 * venue's time in venue_wall_ns. Without a key they carry a venue's sums instead, which
 * replace what was added up: today's result in last_quantity_e9 and transfers in last_price_e9 (in
 * quantity_e9 and price_e9 the part of them that belongs to the next day), until when movements are
 * none of ours in position_e9, until when they are in the wallet that the books began with in
 * cumulative_e9 (0: the books have not begun), how far the history was read in venue_wall_ns, the
 * day of the sums in cost_micros. A reject_reason says that a loss of
 * unknown worth waits for a person. Times are wall nanoseconds. wallet_e8 holds the cash that the
 * books expect, in every record of a fill or movement. */

/* Meaning of JOURNAL_CONTROL records: in execution_type. */
enum journal_control {
    JOURNAL_CONTROL_HALT = 1,
    JOURNAL_CONTROL_RESUME = 2,
    JOURNAL_CONTROL_RECONCILED = 3,
    JOURNAL_CONTROL_MISMATCH = 4,
    JOURNAL_CONTROL_ADOPTED = 5, /* position taken from the venue as it is, or a fill in it */
    JOURNAL_CONTROL_RUNAWAY = 6,
    JOURNAL_CONTROL_DAY = 7,     /* position_e9: the new day number */
    JOURNAL_CONTROL_FILLS = 8,   /* position_e9: fills_total; in a checkpoint */
    JOURNAL_CONTROL_LATE = 12,   /* position_e9: what today learnt of closed days, in micros */
    JOURNAL_CONTROL_UNTOLD = 13, /* position_e9: the fill whose rows will tell its money */
};

enum journal_room { JOURNAL_ROOM_NONE, JOURNAL_ROOM_RESERVE, JOURNAL_ROOM_FREE };

struct journal;

/* What journal_replay hands to its caller, in order. */
typedef void journal_reader(void *context, const struct journal_record *record);

/* What a reader found out about the folder. */
struct journal_replayed {
    uint64_t records;
    uint64_t last_sequence;
    int segments;
    bool damaged;    /* stopped before the end of what was written, or of what the head covers */
    bool healed;     /* … and an earlier run had found it, and gone on from there */
    bool distrusted; /* another journal than the head remembers: nothing was read of it */
    bool headless;   /* there are seals, and no head: an end that is missing cannot be seen */
    uint64_t head_sequence, missing; /* what the head covers; how many records of it are not here */
    uint32_t head_generation;
    struct journal_chain chain; /* as it was left: the writer goes on from here */
    char text[200];             /* where and why, for people */
};

/* journal_replay: checks the chain over every segment of the folder, then hands over the records
 * that hold; makes nothing. 0 or -errno, with text set when a segment is no plain file. An absent
 * folder is an empty journal. */
int journal_replay(const char *folder, journal_reader *reader, void *context,
                   struct journal_replayed *out);

/* journal_open: begins a new segment after the highest found, and the chain where `read` ended
 * (NULL: there was nothing to read). checkpoint is called at the start of every segment and appends
 * the whole state (through journal_append). segment_bytes 0: the default. -ENOSPC when not even the
 * first two segments fit. */
int journal_open(struct journal **out, const char *folder, const struct journal_replayed *read,
                 uint32_t mode, uint32_t generation, size_t segment_bytes,
                 void (*checkpoint)(void *context), void *context);
/* journal_close: seals what waits. */
void journal_close(struct journal *journal);

/* journal_append: sets sequence, version and crc, and writes. Without room: -ENOSPC, and a required
 * record waits in the backlog; -ENOBUFS when that is full too. */
int journal_append(struct journal *journal, struct journal_record *record, bool required);

/* journal_prepare: call it before an event changes the state that the checkpoint describes: moves
 * on to the segment ahead when the current one might not hold the event's records. */
void journal_prepare(struct journal *journal);

enum journal_room journal_room_now(const struct journal *journal);

/* journal_do_work: off the order path: seals, makes the segment ahead, retires the full ones,
 * writes the backlog. Returns the amount of work done. */
int journal_do_work(struct journal *journal, int64_t now_ns);

/* journal_seal_head: the sequence of the newest seal (0: none yet) and its digest. */
uint64_t journal_seal_head(const struct journal *journal, unsigned char digest[JOURNAL_DIGEST]);

uint64_t journal_sequence(const struct journal *journal);
uint32_t journal_crc(const struct journal_record *record);

/* The limit line of the last failure to make a segment, "" when all is well. */
const char *journal_problem(const struct journal *journal);

#endif
