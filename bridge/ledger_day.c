/* The end of a day and the doubt about the clock: the words of the header that one leader writes
 * and every participant follows. The rules are in ledger.h. */
#include "ledger_private.h"

#include <errno.h>

#define NS_PER_DAY 86400000000000

static uint32_t ack_word(uint32_t sequence, uint32_t phase)
{
    return sequence * 4 + (phase & 3);
}

void ledger_roll_now(const struct ledger *ledger, struct ledger_roll *out)
{
    const struct ledger_header *header = &ledger->shared->header;

    /* The phase first and last: the leader stores the day before the phase that names it. */
    do {
        out->phase = LOAD(header->roll_phase);
        out->sequence = LOAD(header->roll_sequence);
        out->day = LOAD(header->day);
        out->began_ns = LOAD(header->roll_ns);
        out->began_wall_ns = LOAD(header->roll_wall_ns);
        out->clock_doubt_ns = LOAD(header->clock_doubt_ns);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (out->phase != LOAD(header->roll_phase));
    /* Day and instant say the same twice: where they differ, one was not written by a leader. */
    if (out->began_wall_ns / NS_PER_DAY != out->day)
        out->day = 0;
}

static void name_day(struct ledger_header *header, int64_t wall_ns)
{
    STORE(header->roll_wall_ns, wall_ns);
    STORE(header->day, wall_ns / NS_PER_DAY);
}

/* --- the leader --- */

int ledger_first_day(struct ledger *ledger, int64_t day)
{
    struct ledger_header *header = &ledger->shared->header;

    if (day <= 0 || day >= INT64_MAX / NS_PER_DAY)
        return -EINVAL;
    if (LOAD(header->day) >= day)
        return -EALREADY;
    if (LOAD(header->roll_phase) != ROLL_NONE)
        return -EBUSY;
    name_day(header, day * NS_PER_DAY);
    return 0;
}

void ledger_mend_day(struct ledger *ledger, int64_t day)
{
    struct ledger_header *header = &ledger->shared->header;
    struct ledger_roll roll;

    ledger_roll_now(ledger, &roll);
    if (roll.day != day)
        name_day(header, day * NS_PER_DAY);
    if (roll.phase != ROLL_NONE)
        ledger_roll_end(ledger);
}

int64_t ledger_roll_pause(struct ledger *ledger, int64_t now_ns)
{
    struct ledger_header *header = &ledger->shared->header;
    uint32_t sequence = LOAD(header->roll_sequence) + 1;

    /* A roll that a dead leader left in its pause is begun anew: only new acknowledgements count,
     * because since the old ones the lease ran out and exits were let through. */
    if (LOAD(header->roll_phase) == ROLL_BEGIN)
        return -EALREADY;
    STORE(header->roll_ns, now_ns);
    STORE(header->roll_sequence, sequence);
    STORE(header->roll_phase, (uint32_t)ROLL_PAUSE);
    return sequence;
}

int ledger_roll_begin(struct ledger *ledger, int64_t wall_ns, int64_t now_ns)
{
    struct ledger_header *header = &ledger->shared->header;

    if (LOAD(header->roll_phase) != ROLL_PAUSE || wall_ns / NS_PER_DAY <= LOAD(header->day))
        return -EINVAL;
    name_day(header, wall_ns);
    STORE(header->roll_ns, now_ns);
    STORE(header->roll_phase, (uint32_t)ROLL_BEGIN);
    return 0;
}

void ledger_roll_end(struct ledger *ledger)
{
    STORE(ledger->shared->header.roll_phase, (uint32_t)ROLL_NONE);
}

int ledger_roll_acked(const struct ledger *ledger, uint32_t participant)
{
    const struct ledger_header *header = &ledger->shared->header;
    const struct ledger_participant *line;

    if (participant >= PROTOCOL_PARTICIPANTS)
        return 0;
    line = &ledger->shared->participants[participant];
    ledger_fence_full(); /* the phase is stored before this is read: whoever reconciles later sees
                            it */
    if (LOAD(line->reconciled_ns) == 0)
        return 1;
    if (LOAD(line->roll_ack) == ack_word(LOAD(header->roll_sequence), LOAD(header->roll_phase)))
        return 1;
    return !process_is(LOAD(line->pid), LOAD(line->start_time));
}

int64_t ledger_day_of(const struct ledger *ledger, uint32_t participant)
{
    return participant < PROTOCOL_PARTICIPANTS ? LOAD(ledger->shared->participants[participant].day)
                                               : 0;
}

void ledger_doubt_clock(struct ledger *ledger, int64_t since_ns)
{
    STORE(ledger->shared->header.clock_doubt_ns, since_ns);
}

/* --- a participant --- */

void ledger_roll_ack(struct ledger *ledger, uint32_t sequence, uint32_t phase, int64_t day)
{
    if (ledger->line == NULL || LOAD(ledger->line->generation) != ledger->generation)
        return;
    STORE(ledger->line->day, day);
    if (phase != ROLL_NONE)
        STORE(ledger->line->roll_ack, ack_word(sequence, phase));
}

/* --- who trades without a supervisor --- */

static int all_acked(const struct ledger *ledger)
{
    for (uint32_t i = ROLE_ENGINE; i < PROTOCOL_PARTICIPANTS; i++)
        if (!ledger_roll_acked(ledger, i))
            return 0;
    return 1;
}

static void lead_phase(struct ledger *ledger, const struct ledger_roll *roll, int64_t wall_ns,
                       int64_t now_ns)
{
    int64_t today = wall_ns / NS_PER_DAY;

    switch ((enum roll_phase)roll->phase) {
    case ROLL_NONE:
        if (roll->day == 0)
            (void)ledger_first_day(ledger, today);
        else if (today > roll->day && roll->clock_doubt_ns == 0)
            (void)ledger_roll_pause(ledger, now_ns);
        break;
    case ROLL_PAUSE:
        if (today <= roll->day || roll->clock_doubt_ns != 0)
            ledger_roll_end(ledger);
        else if (all_acked(ledger))
            (void)ledger_roll_begin(ledger, wall_ns, now_ns);
        break;
    case ROLL_BEGIN:
        if (all_acked(ledger))
            ledger_roll_end(ledger);
        break;
    }
    if (roll->phase > ROLL_BEGIN) /* no phase: not ours */
        ledger_roll_end(ledger);
}

void ledger_lead_alone(struct ledger *ledger, struct wall_watch *watch, int64_t wall_ns,
                       int64_t now_ns, int64_t monotonic_ns)
{
    struct ledger_roll roll;
    struct wall_look look;
    int64_t doubt_ns;

    wall_watch_look(watch, &look, wall_ns, now_ns, monotonic_ns);
    ledger_roll_now(ledger, &roll);
    doubt_ns = roll.clock_doubt_ns;
    if (wall_watch_doubted(watch)) {
        if (doubt_ns == 0)
            watch->doubt_ns = doubt_ns = now_ns;
    } else if (watch->doubt_ns != 0) {
        /* Who left another doubt had seen a jump that this watcher has not. */
        if (doubt_ns == watch->doubt_ns)
            doubt_ns = 0;
        watch->doubt_ns = 0;
    }
    if (doubt_ns != roll.clock_doubt_ns)
        ledger_doubt_clock(ledger, doubt_ns);
    roll.clock_doubt_ns = doubt_ns;
    lead_phase(ledger, &roll, wall_ns, now_ns);
}

/* --- what judge asks --- */

/* led_in_roll: somebody who is alive waits for acknowledgements. */
static int led_in_roll(const struct ledger_header *header, int64_t now_ns)
{
    uint32_t phase = LOAD(header->roll_phase);

    return now_ns < LOAD(header->lease_deadline_ns) && (phase == ROLL_PAUSE || phase == ROLL_BEGIN);
}

int roll_denies(const struct ledger_header *header, struct ledger_participant *line, int reducing,
                int64_t now_ns)
{
    if (LOAD(header->roll_phase) != ROLL_NONE) {
        /* An exit waits for the second that a day's end takes, but not for a leader that is gone,
         * nor for a word that is no phase. */
        if (!reducing || led_in_roll(header, now_ns))
            return REJECT_DAY_ROLL;
        /* A leader that comes back renews its lease and then counts acknowledgements: either it
         * finds this one taken back, or its lease is seen here. */
        STORE(line->roll_ack, 0);
        ledger_fence_full();
        if (led_in_roll(header, now_ns))
            return REJECT_DAY_ROLL;
    }
    if (!reducing && LOAD(header->clock_doubt_ns) != 0)
        return REJECT_CLOCK_JUMP;
    return REJECT_NONE;
}
