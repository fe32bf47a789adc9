/*
 * ledger.h: the shared risk ledger. One number, the limit, is shared by every process that sends
 * orders; each holds rights (alloc) drawn from it, and no order leaves without a reservation.
 *
 *   invariant   sum(used) <= sum(alloc) <= limit, in both dimensions (loss, notional)
 *   pool        limit - sum(alloc), derived, never stored
 *
 * An order's reservation:
 *
 *   FREE -ledger_reserve-> RESERVED -ledger_gate-> SENT -ledger_live-> LIVE -ledger_release-> FREE
 *                             |  gate denies: FREE   |  definite reject: ledger_release
 *                                                    |  no or unclear answer: ledger_unknown
 *   UNKNOWN is left only when the venue has said what became of the order.
 *
 * The limit is the number that was chosen, or nothing. Limit, headroom, ceiling and every right
 * carry a checksum, made anew by each change under the lock and looked at before each draw. A
 * mismatch while alloc_sequence is odd is a change that was interrupted: its values are legal as
 * they stand, and the next holder of the lock makes the checksum anew. At an even sequence it is
 * damage: nothing is drawn, and the ledger is HALTED. An order that needs no draw is judged by its
 * handle's own memory of what it was granted, so that a bit that flips in shared memory makes room
 * for nobody.
 *
 * SENT is stored before the bytes leave; FREE only after the venue confirmed. Whoever is killed
 * between two stores over-counts by at most one order and never under-counts.
 *
 * The owner computes `used`: loss so far + worst further loss of positions with any subset of its
 * open orders + fees. The functions below take the new total after the change, for both dimensions.
 *
 * Threads: each participant has one sending thread; only that thread calls reserve, gate, live,
 * unknown, release, reprice. Everything else may be called from anywhere.
 * The hot calls (reserve, gate, live, unknown, release, reprice) allocate nothing, make no system
 * call, and never wait: a draw try-locks a bounded number of times, then denies with LEDGER_BUSY.
 *
 * Times are CLOCK_BOOTTIME nanoseconds, passed in. Results: 0 or a positive count on success, a
 * negative errno on failure of the world; enum reject_reason where an order is judged.
 */
#ifndef PURSER_BRIDGE_LEDGER_H
#define PURSER_BRIDGE_LEDGER_H

#ifndef PURSER_CDEF
#include "protocol.h"
#include "reasons.h"
#include "wall_clock.h"
#endif

struct ledger; /* one process's mapping of the shared file */

/* --- life cycle --- */

/* Where the ledger that ledger_create returns comes from. */
enum ledger_origin {
    LEDGER_NEW = 0,
    LEDGER_ADOPTED = 1,   /* an intact one of this boot, every charge in it kept */
    LEDGER_RESCUED = 2,   /* made from a damaged one */
    LEDGER_SUPERSEDED = 3 /* beside one of an older layout that may hold orders */
};

/* ledger_create: makes the file at path (0600, O_EXCL|O_NOFOLLOW, fully allocated) or takes over an
 * intact one of the same boot and layout, keeping every charge in it. The state is INIT (a kept
 * HALTED stays) until ledger_set_state. limit and headroom: micro-USD per dimension.
 *
 * A ledger that fails its checks is never replaced by an empty one. The damaged file is kept as
 * path.damaged-N; the new one has each of its orders that can be read, in state UNKNOWN, with as
 * much charged as lines and slots tell, and is HALTED: a person looks before anything trades on it.
 * It is a new file and no repair in place, because whoever still maps the old one believes his own
 * rights. Only a whole ledger of another boot or layout is moved aside, to path.old; the new one is
 * HALTED when that one is of this boot and may hold orders. *origin is an enum ledger_origin.
 * -EEXIST: another live supervisor owns it. */
int ledger_create(struct ledger **out, int *origin, const char *path, const int64_t limit_micros[2],
                  const int64_t headroom_micros[2], int64_t now_ns);

/* ledger_open: maps an existing file. -ENOENT; -EPROTO wrong magic, version, layout or size;
 * -EPERM not ours or not 0600. */
int ledger_open(struct ledger **out, const char *path);

/* ledger_open_damaged: the same whatever the file holds, as long as it is ours and not shorter than
 * the header; of a cut file the missing slots read as FREE. For who must halt it and read its
 * orders all the same. When ledger_damage finds something, such a handle joins nothing. */
int ledger_open_damaged(struct ledger **out, const char *path);
void ledger_close(struct ledger *ledger);

/* --- supervisor --- */

/* ledger_heartbeat_supervisor: renews the lease: participants may add risk until deadline_ns. */
void ledger_heartbeat_supervisor(struct ledger *ledger, int64_t now_ns, int64_t deadline_ns);

/* ledger_set_limit: a lower limit stops grants until sum(alloc) <= limit; it takes nothing back.
 * -EBADMSG: limit or rights are damaged; the ledger is then HALTED, and they stay as they are. */
int ledger_set_limit(struct ledger *ledger, const int64_t limit_micros[2],
                     const int64_t headroom_micros[2]);

/* ledger_set_state: moves the state up freely; down (towards ACTIVE) only with by_person = 1, which
 * also starts a new epoch. INIT to ACTIVE is allowed to the supervisor. Returns the epoch, or
 * -EPERM. */
int64_t ledger_set_state(struct ledger *ledger, uint32_t state, uint32_t reason, int by_person);

/* ledger_reclaim: after the participant's process is certainly dead (the caller has waited for it):
 * raises the generation, turns RESERVED into FREE, SENT and LIVE into UNKNOWN, and leaves used, and
 * rights for it, charged for the next owner to reconcile; rights above used go back to the pool.
 * Returns the number of slots still charged, or -EBUSY: try again. */
int ledger_reclaim(struct ledger *ledger, uint32_t participant);

/* --- anyone --- */

/* ledger_halt: raises the state to HALTED with one compare-and-swap; needs no lock and no other
 * process. Returns the epoch of the halt. Idempotent. A control word that is no state counts as
 * HALTED everywhere, and is overwritten here, so that this never fails for what stands in it. */
int64_t ledger_halt(struct ledger *ledger, uint32_t reason);

/* ledger_snapshot: a consistent copy; `consistent` is 0 after a bounded number of tries, when the
 * copy is still good for showing but not for adding up. Takes no lock. */
void ledger_snapshot(const struct ledger *ledger, struct ledger_view *out, int64_t now_ns);

/* ledger_glance: the same without counting open_orders, which stay 0: cheap enough for each cycle.
 */
void ledger_glance(const struct ledger *ledger, struct ledger_view *out, int64_t now_ns);

/* ledger_slots: copies at most max slots that are not FREE, returns how many. One whose state and
 * checksum are both wrong is noise and left out. */
int ledger_slots(const struct ledger *ledger, uint32_t participant, struct ledger_slot *out,
                 int max);

/* ledger_slot_is_whole: of a copied slot: it is in a known state, and its order is as it was
 * written. ledger_slot_landing_is_whole: when it was sent and until when it can land are. */
int ledger_slot_is_whole(const struct ledger_slot *slot);
int ledger_slot_landing_is_whole(const struct ledger_slot *slot);

/* ledger_find: the index of this participant's slot that holds the order, FREE ones excepted.
 * 0 or -ENOENT. */
int ledger_find(const struct ledger *ledger, uint64_t client_order_id, uint32_t *slot);

/* ledger_lands_until: until when this participant's order can still reach the venue's book, by its
 * slot. LANDS_UNTIL_UNTOLD: there is no slot of it, it never passed the gate, or what the slot says
 * of it is damaged. */
#define LANDS_UNTIL_UNTOLD 0
int64_t ledger_lands_until(const struct ledger *ledger, uint64_t client_order_id);

/* ledger_damage: whether header, limit, rights and lock are as they were last written: the number
 * of findings, and the first one's sentence. Takes no lock; rights that move all the time are not
 * judged. Reads /proc: off the hot path. */
int ledger_damage(const struct ledger *ledger, char *text, int text_size);

/* ledger_audit: checks the invariants I1, I5, slot checksums and ledger_damage; returns the number
 * of violations and writes the first one's sentence. */
int ledger_audit(const struct ledger *ledger, char *text, int text_size);

/* ledger_control: the control word's parts. */
uint32_t ledger_state_now(const struct ledger *ledger);
uint32_t ledger_epoch_now(const struct ledger *ledger);

/* --- participant --- */

/* ledger_generation: of this handle since it joined; part of every client order id. */
uint32_t ledger_generation(const struct ledger *ledger);

/* ledger_join: takes the participant's line for this process (pid and start time are recorded) and
 * raises its generation. Charges found there stay: the caller reconciles, then calls
 * ledger_rebuild. -EBUSY: a live process holds the line. */
int ledger_join(struct ledger *ledger, uint32_t participant, int64_t now_ns);

/* ledger_set_access: says which record (bridge/access.py) tells where this participant trades; the
 * record is on disk before. A join keeps the predecessor's, whose orders may still rest there. */
void ledger_set_access(struct ledger *ledger, uint64_t fingerprint);

/* ledger_leave: gives back unused rights. Charges stay (positions outlive the process). */
void ledger_leave(struct ledger *ledger);

/* ledger_rebuild: after reconcile: frees every slot of the line that is not in keep[], sets used
 * and positions to the truth, draws or returns rights, and marks the line reconciled. Returns 0 or
 * -ENOSPC when the truth is above what can be drawn (used is set all the same; only reducing
 * orders are then accepted). */
int ledger_rebuild(struct ledger *ledger, const int64_t used_micros[2],
                   const int64_t positions_micros[2], const uint64_t *keep, int keep_count,
                   int64_t now_ns);

/* What the order is, for the slot. */
struct ledger_order {
    uint64_t client_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t strategy;
    uint8_t reducing; /* 1: worst case does not grow; allowed at 100 % and in REDUCING */
    uint8_t reserved0[3];
    int64_t price_e9;
    int64_t quantity_e9;
    int64_t window_ns; /* how long after the gate it can land; 0, LANDS_UNTIL_NONE: no end */
    char symbol[32];
    char query_id[32]; /* the id by which the venue can be asked for it; all zero: none */
};

/* ledger_reserve: FREE to RESERVED, and used becomes used_after. Draws rights when it must.
 * Denies with HALTED, NOT_ACTIVE, REDUCING, LEASE_EXPIRED, NOT_RECONCILED, BUDGET, LEDGER_BUSY,
 * NO_SLOT, DUPLICATE, STALE_GENERATION; NO_LEDGER when a draw finds limit or rights damaged, which
 * also halts. Returns enum reject_reason. */
int ledger_reserve(struct ledger *ledger, uint32_t *slot, const struct ledger_order *order,
                   const int64_t used_after_micros[2], int64_t now_ns);

/* ledger_gate: the last look before the bytes leave: RESERVED to SENT, with the last instant at
 * which the order can land (now plus its window) in the slot before that. On a denial the slot is
 * FREE again and used becomes used_before. */
int ledger_gate(struct ledger *ledger, uint32_t slot, const int64_t used_before_micros[2],
                int64_t now_ns);

/* ledger_live, ledger_unknown: what the venue said, or did not. */
void ledger_live(struct ledger *ledger, uint32_t slot);
void ledger_unknown(struct ledger *ledger, uint32_t slot);

/* ledger_filled: cumulative filled quantity, and the new totals (never above the old ones but for
 * rounding; a rise is charged like a reprice). */
void ledger_filled(struct ledger *ledger, uint32_t slot, int64_t filled_e9,
                   const int64_t used_micros[2], const int64_t positions_micros[2], int64_t now_ns);

/* ledger_release: the venue confirmed the end: FREE, then used becomes used_after. */
void ledger_release(struct ledger *ledger, uint32_t slot, const int64_t used_after_micros[2],
                    const int64_t positions_micros[2], int64_t now_ns);

/* ledger_reprice: marks moved. Draws what is missing, headroom included; returns 0, or -ENOSPC when
 * the pool is empty: used is then above alloc, and the participant's state becomes REDUCING until a
 * later call fits. Also gives back rights that are idle or wanted by another participant. Call it
 * every duty cycle in which something changed, and at least every 100 ms. */
int ledger_reprice(struct ledger *ledger, const int64_t used_micros[2],
                   const int64_t positions_micros[2], int64_t now_ns);

/* ledger_beat: the owner's heartbeat and progress; call it in each duty cycle. Also acknowledges a
 * halt when asked: pass halted = 1 once no further increasing order can leave this thread. */
void ledger_beat(struct ledger *ledger, int64_t now_ns, int halted);

/* ledger_journal_put: the newest seal of this participant's journal: its sequence and digest; kept
 * when the participant ends. Each mode (as in a page) has a journal of its own.
 * ledger_journal_head: what the line holds of that mode's journal; 0: no seal is known. */
void ledger_journal_put(struct ledger *ledger, uint32_t mode, int64_t sequence,
                        const uint8_t head[32]);
int64_t ledger_journal_head(const struct ledger *ledger, uint32_t participant, uint32_t mode,
                            uint8_t head[32]);

/* --- the end of a day, and the clock (ledger_day.c) ---
 *
 * One leader ends the day for everybody: the supervisor, or a process that trades without one.
 *
 *   NONE -ledger_roll_pause-> PAUSE -ledger_roll_begin-> BEGIN -ledger_roll_end-> NONE
 *                               |  given up: ledger_roll_end -> NONE, the day stays
 *
 *   PAUSE  a participant cancels everything and acknowledges once nothing more can leave it. It
 *          does not wait for UNKNOWN orders: those keep their charge. Meanwhile reserve and gate
 *          deny every order with REJECT_DAY_ROLL, also for one who does not take part.
 *   BEGIN  header.day is the new day. A participant writes its close of the old day, begins the
 *          new one, and acknowledges.
 *   NONE   trading goes on.
 *
 * Who joins late, or wakes up after the roll, finds a later day in the header than its own and
 * begins it then. No participant begins a day that the header does not name, and no day is ever
 * smaller than one before. While clock_doubt_ns is not 0, new risk is denied with
 * REJECT_CLOCK_JUMP and exits pass. */

struct ledger_roll {
    int64_t day; /* UTC day number; 0: nobody leads, or its words contradict each other */
    uint32_t sequence;
    uint32_t phase;         /* enum roll_phase */
    int64_t began_ns;       /* of the phase */
    int64_t began_wall_ns;  /* of the day: the one instant for all */
    int64_t clock_doubt_ns; /* since when the wall is doubted; 0: it is believed */
};

/* ledger_roll_now: one picture of the header's words; no lock, a few loads. */
void ledger_roll_now(const struct ledger *ledger, struct ledger_roll *out);

/* ledger_first_day: at start, before anybody trades: the day goes up without a roll. -EALREADY when
 * it is not later than the one that is there, -EBUSY in a roll, -EINVAL. */
int ledger_first_day(struct ledger *ledger, int64_t day);

/* ledger_roll_pause: returns the number of the roll; -EALREADY when a day has just begun. In a
 * pause it begins the pause anew. */
int64_t ledger_roll_pause(struct ledger *ledger, int64_t now_ns);

/* ledger_roll_begin: the day of this instant; only from PAUSE and only a later one, else -EINVAL.
 */
int ledger_roll_begin(struct ledger *ledger, int64_t wall_ns, int64_t now_ns);
void ledger_roll_end(struct ledger *ledger);

/* ledger_mend_day: the leader's own words again, outside of a roll, whatever has become of them. */
void ledger_mend_day(struct ledger *ledger, int64_t day);

/* ledger_roll_acked: the participant has acknowledged the phase of now, or no process that lives
 * holds its line, or it has not reconciled yet: it can send nothing, may wait for its venue for
 * long, and begins in the header's day when it gets there. */
int ledger_roll_acked(const struct ledger *ledger, uint32_t participant);
int64_t ledger_day_of(const struct ledger *ledger, uint32_t participant);

/* ledger_doubt_clock: since_ns = 0: it is believed again. */
void ledger_doubt_clock(struct ledger *ledger, int64_t since_ns);

/* ledger_roll_ack: by the participant, with the day that it counts now. */
void ledger_roll_ack(struct ledger *ledger, uint32_t sequence, uint32_t phase, int64_t day);

/* ledger_lead_alone: one step of the leader's work, for a process that trades without a supervisor:
 * names the first day, doubts a wall that moved by more than five seconds until it has moved back,
 * and rolls. A doubt that it finds is not its own to lift: a supervisor does, which asks two venues
 * or a person. It ends nobody: it waits until every participant has acknowledged. */
void ledger_lead_alone(struct ledger *ledger, struct wall_watch *watch, int64_t wall_ns,
                       int64_t now_ns, int64_t monotonic_ns);

/* ledger_now_ns: CLOCK_BOOTTIME in nanoseconds, for callers without a clock of their own. */
int64_t ledger_now_ns(void);

#endif
