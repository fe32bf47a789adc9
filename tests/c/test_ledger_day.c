/* The end of a day in the ledger: who may order when, and when the wall clock is believed. */
#include "../../bridge/ledger.h"
#include "../../bridge/ledger_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

#define SECOND 1000000000LL
#define MS     1000000LL
#define USD    1000000LL
#define DAY    86400000000000LL
#define TODAY  20800LL

static char folder[64];
static char path[128];

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_ledger_day.c:%d: %s\n", line, expression);
    abort();
}

static const int64_t limit[2] = {1000 * USD, 20000 * USD};
static const int64_t headroom[2] = {20 * USD, 400 * USD};
static const int64_t nothing[2] = {0, 0};
static const int64_t ten[2] = {10 * USD, 10 * USD};

static int64_t now;
static struct ledger *supervisor, *engine;

static void begin(void)
{
    int adopted;

    (void)unlink(path);
    now = ledger_now_ns();
    REQUIRE(ledger_create(&supervisor, &adopted, path, limit, headroom, now) == 0);
    ledger_heartbeat_supervisor(supervisor, now, now + 600 * SECOND);
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
    REQUIRE(ledger_open(&engine, path) == 0);
    REQUIRE(ledger_join(engine, ROLE_ENGINE, now) == 0);
    REQUIRE(ledger_rebuild(engine, nothing, nothing, NULL, 0, now) == 0);
    REQUIRE(ledger_first_day(supervisor, TODAY) == 0);
}

static void end(void)
{
    ledger_leave(engine);
    ledger_close(engine);
    ledger_close(supervisor);
}

static int reserve_one(uint64_t id, int reducing, uint32_t *slot)
{
    struct ledger_order order = {
        .client_order_id = id, .venue = VENUE_BINANCE, .reducing = (uint8_t)reducing};

    return ledger_reserve(engine, slot, &order, reducing ? nothing : ten, now);
}

static void deny_both(int reason, int reducing_reason)
{
    uint32_t slot;

    REQUIRE(reserve_one(1, 0, &slot) == reason);
    REQUIRE(reserve_one(2, 1, &slot) == reducing_reason);
    if (reducing_reason == REJECT_NONE)
        ledger_release(engine, slot, nothing, nothing, now);
}

/* Between the pause and the end of the roll the ledger itself lets no order out, exits included. */
static void test_no_order_leaves_while_the_day_ends(void)
{
    struct ledger_roll roll;

    begin();
    deny_both(REJECT_NONE, REJECT_NONE);
    end();
    begin();
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    deny_both(REJECT_DAY_ROLL, REJECT_DAY_ROLL);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 1) * DAY, now) == 0);
    deny_both(REJECT_DAY_ROLL, REJECT_DAY_ROLL);
    ledger_roll_end(supervisor);
    ledger_roll_now(supervisor, &roll);
    REQUIRE(roll.day == TODAY + 1 && roll.phase == ROLL_NONE && roll.sequence == 1);
    REQUIRE(roll.began_wall_ns == (TODAY + 1) * DAY);
    deny_both(REJECT_NONE, REJECT_NONE);
    end();
}

/* An order that was reserved before the pause is stopped at the gate: not one byte leaves. */
static void test_the_gate_looks_again(void)
{
    struct ledger_slot left;
    uint32_t slot;

    begin();
    REQUIRE(reserve_one(1, 0, &slot) == REJECT_NONE);
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(ledger_gate(engine, slot, nothing, now) == REJECT_DAY_ROLL);
    REQUIRE(ledger_slots(engine, ROLE_ENGINE, &left, 1) == 0);
    ledger_roll_end(supervisor);
    REQUIRE(reserve_one(2, 0, &slot) == REJECT_NONE);
    ledger_doubt_clock(supervisor, now);
    REQUIRE(ledger_gate(engine, slot, nothing, now) == REJECT_CLOCK_JUMP);
    end();
}

/* A doubted clock stops new risk; exits pass. */
static void test_a_doubted_clock_lets_exits_pass(void)
{
    begin();
    ledger_doubt_clock(supervisor, now);
    deny_both(REJECT_CLOCK_JUMP, REJECT_NONE);
    ledger_doubt_clock(supervisor, 0);
    deny_both(REJECT_NONE, REJECT_NONE);
    end();
}

/* A leader that died in the pause blocks no exit beyond its lease, nor does a word that is no
 * phase. */
static void test_exits_do_not_wait_for_a_dead_leader(void)
{
    begin();
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    ledger_heartbeat_supervisor(supervisor, now, now);
    deny_both(REJECT_DAY_ROLL, REJECT_NONE);
    ledger_heartbeat_supervisor(supervisor, now, now + SECOND);
    STORE(supervisor->shared->header.roll_phase, 77u);
    deny_both(REJECT_DAY_ROLL, REJECT_NONE);
    end();
}

/* An exit that left while nobody led takes the acknowledgement of the pause back: a leader that
 * comes back waits for a new one before the day begins. */
static void test_an_exit_takes_the_acknowledgement_back(void)
{
    begin();
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    ledger_roll_ack(engine, 1, ROLL_PAUSE, TODAY);
    deny_both(REJECT_DAY_ROLL, REJECT_DAY_ROLL);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_heartbeat_supervisor(supervisor, now, now);
    deny_both(REJECT_DAY_ROLL, REJECT_NONE);
    ledger_heartbeat_supervisor(supervisor, now, now + SECOND);
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_roll_ack(engine, 1, ROLL_PAUSE, TODAY);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_ENGINE));
    end();
}

/* The day only grows, and only from the pause or before anybody trades. */
static void test_a_day_never_goes_back(void)
{
    struct ledger_roll roll;

    begin();
    REQUIRE(ledger_first_day(supervisor, TODAY) == -EALREADY);
    REQUIRE(ledger_first_day(supervisor, TODAY - 1) == -EALREADY);
    REQUIRE(ledger_first_day(supervisor, 0) == -EINVAL);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 1) * DAY, now) == -EINVAL);
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(ledger_first_day(supervisor, TODAY + 1) == -EBUSY);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY)*DAY, now) == -EINVAL);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY - 1) * DAY, now) == -EINVAL);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 1) * DAY, now) == 0);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 2) * DAY, now) == -EINVAL);
    REQUIRE(ledger_roll_pause(supervisor, now) == -EALREADY);
    ledger_roll_now(supervisor, &roll);
    REQUIRE(roll.day == TODAY + 1 && roll.phase == ROLL_BEGIN);
    end();
}

/* One flipped bit in the words of the day names no other day: nobody leads until the leader mends
 * it. */
static void test_a_flipped_bit_names_no_day(void)
{
    struct ledger_roll roll;

    begin();
    for (int bit = 0; bit < 63; bit++) {
        int64_t *words[2] = {&supervisor->shared->header.day,
                             &supervisor->shared->header.roll_wall_ns};

        for (int w = 0; w < 2; w++) {
            *words[w] ^= (int64_t)1 << bit;
            ledger_roll_now(engine, &roll);
            REQUIRE(roll.day == TODAY || roll.day == 0);
            ledger_mend_day(supervisor, TODAY);
            ledger_roll_now(engine, &roll);
            REQUIRE(roll.day == TODAY && roll.phase == ROLL_NONE);
        }
    }
    end();
}

/* Only an acknowledgement of this roll and this phase counts; who is dead is not waited for. */
static void test_acknowledgements_are_of_one_roll(void)
{
    begin();
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    REQUIRE(ledger_roll_acked(supervisor, ROLE_BOT)); /* nobody holds it */
    ledger_roll_ack(engine, 1, ROLL_PAUSE, TODAY);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_ENGINE));
    REQUIRE(ledger_roll_pause(supervisor, now) == 2); /* begun anew by the next leader */
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_roll_ack(engine, 2, ROLL_PAUSE, TODAY);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 1) * DAY, now) == 0);
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_ENGINE));
    ledger_roll_ack(engine, 2, ROLL_BEGIN, TODAY + 1);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_ENGINE));
    REQUIRE(ledger_day_of(supervisor, ROLE_ENGINE) == TODAY + 1);
    ledger_roll_end(supervisor);
    REQUIRE(ledger_roll_pause(supervisor, now) == 3);
    REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == 0);
    ledger_roll_ack(engine, 3, ROLL_PAUSE, TODAY + 9); /* replaced: its word is not heard */
    REQUIRE(ledger_day_of(supervisor, ROLE_ENGINE) == TODAY + 1);
    end();
}

/* A participant that was killed, and not reclaimed yet, does not hold the others up. */
static void test_the_dead_are_not_waited_for(void)
{
    pid_t child;

    begin();
    child = fork();
    if (child == 0) {
        struct ledger *bot;

        if (ledger_open(&bot, path) != 0 || ledger_join(bot, ROLE_BOT, now) != 0 ||
            ledger_rebuild(bot, nothing, nothing, NULL, 0, now) != 0)
            _exit(1);
        pause();
        _exit(0);
    }
    while (LOAD(supervisor->shared->participants[ROLE_BOT].reconciled_ns) == 0)
        usleep(1000);
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_BOT));
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, NULL, 0) == child);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_BOT));
    end();
}

/* Who has joined but not reconciled can send nothing and is not waited for; from its reconciling on
 * it is. */
static void test_who_starts_is_not_waited_for(void)
{
    struct ledger *bot;
    uint32_t slot;

    begin();
    REQUIRE(ledger_open(&bot, path) == 0 && ledger_join(bot, ROLE_BOT, now) == 0);
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(ledger_roll_acked(supervisor, ROLE_BOT) && !ledger_roll_acked(supervisor, ROLE_ENGINE));
    REQUIRE(ledger_rebuild(bot, nothing, nothing, NULL, 0, now) == 0);
    REQUIRE(!ledger_roll_acked(supervisor, ROLE_BOT));
    REQUIRE(reserve_one(1, 0, &slot) == REJECT_DAY_ROLL);
    ledger_leave(bot);
    ledger_close(bot);
    end();
}

/* UNKNOWN orders keep their slot and their charge across the day's end. */
static void test_unknown_orders_keep_their_charge(void)
{
    struct ledger_view view;
    struct ledger_slot left;
    uint32_t slot;

    begin();
    REQUIRE(reserve_one(1, 0, &slot) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, now) == REJECT_NONE);
    ledger_unknown(engine, slot);
    REQUIRE(ledger_roll_pause(supervisor, now) == 1);
    REQUIRE(ledger_roll_begin(supervisor, (TODAY + 1) * DAY, now) == 0);
    ledger_roll_end(supervisor);
    ledger_snapshot(supervisor, &view, now);
    REQUIRE(view.participants[ROLE_ENGINE].used_micros[0] == ten[0]);
    REQUIRE(ledger_slots(supervisor, ROLE_ENGINE, &left, 1) == 1 && left.state == SLOT_UNKNOWN);
    end();
}

/* --- the wall clock --- */

struct clocks {
    int64_t wall, boot, monotonic;
};

static void pass(struct clocks *clocks, int64_t ns)
{
    clocks->wall += ns;
    clocks->boot += ns;
    clocks->monotonic += ns;
}

static struct wall_look look(struct wall_watch *watch, const struct clocks *clocks)
{
    struct wall_look out;

    wall_watch_look(watch, &out, clocks->wall, clocks->boot, clocks->monotonic);
    return out;
}

/* A jump of more than 250 ms is seen in either direction, a slew is not, and a suspend is neither.
 */
static void test_jumps_slews_and_sleeps_are_told_apart(void)
{
    struct wall_watch watch = {0};
    struct clocks at = {TODAY * DAY, 1000 * SECOND, 900 * SECOND};

    REQUIRE(look(&watch, &at).jumped_ns == 0);
    pass(&at, 100 * MS);
    REQUIRE(look(&watch, &at).jumped_ns == 0 && look(&watch, &at).slept_ns == 0);
    at.wall += 249 * MS;
    REQUIRE(look(&watch, &at).jumped_ns == 0);
    at.wall += 2 * MS; /* small steps add up */
    REQUIRE(look(&watch, &at).jumped_ns == 251 * MS);
    pass(&at, 100 * MS);
    at.wall -= 600 * SECOND;
    REQUIRE(look(&watch, &at).jumped_ns == -600 * SECOND && wall_watch_doubted(&watch));
    for (int i = 0; i < 36000; i++) { /* an hour of slewing by 500 ppm */
        pass(&at, 100 * MS);
        at.wall += 50000;
        REQUIRE(look(&watch, &at).jumped_ns == 0);
    }
    at.wall += 600 * SECOND;
    pass(&at, 600 * SECOND);
    at.monotonic -= 600 * SECOND;
    at.wall -= 600 * SECOND;
    REQUIRE(look(&watch, &at).slept_ns == 600 * SECOND &&
            watch.moved_ns == -600 * SECOND + 251 * MS);
    REQUIRE(look(&watch, &at).slept_ns == 0);
}

/* Doubt begins beyond five seconds, summed over jumps, and ends with a confirmation or the way
 * back. */
static void test_doubt_adds_up(void)
{
    struct wall_watch watch = {0};
    struct clocks at = {TODAY * DAY, 1000 * SECOND, 1000 * SECOND};

    (void)look(&watch, &at);
    at.wall += 3 * SECOND;
    (void)look(&watch, &at);
    REQUIRE(!wall_watch_doubted(&watch));
    at.wall += 3 * SECOND;
    (void)look(&watch, &at);
    REQUIRE(wall_watch_doubted(&watch));
    at.wall -= 6 * SECOND;
    (void)look(&watch, &at);
    REQUIRE(!wall_watch_doubted(&watch));
    at.wall += 86400 * SECOND;
    (void)look(&watch, &at);
    REQUIRE(wall_watch_doubted(&watch));
    wall_watch_confirm(&watch);
    REQUIRE(!wall_watch_doubted(&watch));
}

/* Without a supervisor one process leads: it rolls at midnight, not when the wall jumps a day. */
static void test_a_process_alone_leads_itself(void)
{
    struct wall_watch watch = {0};
    struct ledger_roll roll;
    struct clocks at = {(TODAY + 1) * DAY - 100 * MS, now, now};

    begin();
    at.boot = at.monotonic = now;
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    at.wall += 86400 * SECOND; /* a day ahead: no roll, no new risk */
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    ledger_roll_now(engine, &roll);
    REQUIRE(roll.day == TODAY && roll.phase == ROLL_NONE && roll.clock_doubt_ns != 0);
    at.wall -= 86400 * SECOND;
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    pass(&at, 200 * MS);
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    ledger_roll_now(engine, &roll);
    REQUIRE(roll.day == TODAY && roll.phase == ROLL_PAUSE && roll.clock_doubt_ns == 0);
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    ledger_roll_now(engine, &roll);
    REQUIRE(roll.phase == ROLL_PAUSE); /* not acknowledged yet */
    ledger_roll_ack(engine, roll.sequence, ROLL_PAUSE, TODAY);
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    ledger_roll_now(engine, &roll);
    REQUIRE(roll.day == TODAY + 1 && roll.phase == ROLL_BEGIN);
    ledger_roll_ack(engine, roll.sequence, ROLL_BEGIN, TODAY + 1);
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    at.wall -= 86400 * SECOND; /* back: the day stays */
    ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
    ledger_roll_now(engine, &roll);
    REQUIRE(roll.day == TODAY + 1 && roll.phase == ROLL_NONE && roll.clock_doubt_ns != 0);
    end();
}

/* A doubt that a supervisor left behind is not lifted by a process that never saw the jump, nor
 * when its own doubt begins and ends meanwhile. */
static void test_a_process_alone_lifts_only_its_own_doubt(void)
{
    struct wall_watch watch = {0};
    struct ledger_roll roll;
    struct clocks at = {TODAY * DAY + 3600 * SECOND, now, now};

    begin();
    at.boot = at.monotonic = now;
    ledger_doubt_clock(supervisor, 17);
    for (int i = 0; i < 3; i++) {
        ledger_lead_alone(engine, &watch, at.wall, at.boot, at.monotonic);
        ledger_roll_now(engine, &roll);
        REQUIRE(roll.clock_doubt_ns == 17);
        at.wall += i == 0 ? 3600 * SECOND : -3600 * SECOND;
    }
    end();
}

int main(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/test-ledger-day-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/ledger", folder);
    test_no_order_leaves_while_the_day_ends();
    test_the_gate_looks_again();
    test_a_doubted_clock_lets_exits_pass();
    test_exits_do_not_wait_for_a_dead_leader();
    test_an_exit_takes_the_acknowledgement_back();
    test_a_day_never_goes_back();
    test_a_flipped_bit_names_no_day();
    test_acknowledgements_are_of_one_roll();
    test_the_dead_are_not_waited_for();
    test_who_starts_is_not_waited_for();
    test_unknown_orders_keep_their_charge();
    test_jumps_slews_and_sleeps_are_told_apart();
    test_doubt_adds_up();
    test_a_process_alone_leads_itself();
    test_a_process_alone_lifts_only_its_own_doubt();
    unlink(path);
    rmdir(folder);
    return 0;
}
