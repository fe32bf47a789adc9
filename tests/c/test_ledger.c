/* The escrow ledger: one participant's rules, several processes, and what deaths leave behind. */
#include "../../bridge/ledger.h"
#include "../../bridge/ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

#define SECOND        1000000000LL
#define USD           1000000LL
#define HAMMER_ORDERS 200000

static char folder[64];
static char path[128];

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_ledger.c:%d: %s\n", line, expression);
    abort();
}

static void audit_clean(const struct ledger *ledger)
{
    char text[512];

    if (ledger_audit(ledger, text, sizeof text) != 0) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
}

static const int64_t limit[2] = {1000 * USD, 20000 * USD};
static const int64_t headroom[2] = {20 * USD, 400 * USD};
static const int64_t nothing[2] = {0, 0};

/* fresh: a new ledger in state ACTIVE whose lease runs for ten minutes; its mapping is the
 * supervisor's. */
static struct ledger *fresh(void)
{
    struct ledger *supervisor;
    int adopted;

    (void)unlink(path);
    REQUIRE(ledger_create(&supervisor, &adopted, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(adopted == 0);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() + 600 * SECOND);
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
    return supervisor;
}

/* without: what this machine cannot do, by the caller's word in the environment; tests that need it
 * are left out, and say so. "ptrace": a sanitized build takes half a minute of single steps, and
 * qemu-user has none. "robust": qemu-user does not tell the kernel which mutexes a process holds.
 * "start_time": qemu-user invents a process's own, which may differ from what others read. */
static int without(const char *what)
{
    const char *list = getenv("PURSER_TEST_WITHOUT");

    if (list == NULL || strstr(list, what) == NULL)
        return 0;
    printf("left out: a test that needs %s\n", what);
    return 1;
}

static struct ledger *joined(uint32_t participant)
{
    struct ledger *ledger;

    REQUIRE(ledger_open(&ledger, path) == 0);
    REQUIRE(ledger_join(ledger, participant, ledger_now_ns()) == 0);
    REQUIRE(ledger_rebuild(ledger, nothing, nothing, NULL, 0, ledger_now_ns()) == 0);
    return ledger;
}

static int try_reserve(struct ledger *ledger, uint32_t *slot, uint64_t id, int64_t loss,
                       int reducing)
{
    struct ledger_order order = {
        .client_order_id = id, .venue = VENUE_BINANCE, .symbol = "BTCUSDT"};
    const int64_t used[2] = {loss, loss * 10};

    order.reducing = (uint8_t)reducing;
    return ledger_reserve(ledger, slot, &order, used, ledger_now_ns());
}

static struct ledger_view view_of(const struct ledger *ledger)
{
    struct ledger_view view;

    ledger_snapshot(ledger, &view, ledger_now_ns());
    REQUIRE(view.consistent);
    return view;
}

static void test_life_of_an_order(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    const int64_t ten[2] = {10 * USD, 100 * USD};
    struct ledger_slot slots[4];
    uint32_t slot;
    uint32_t found;

    REQUIRE(try_reserve(engine, &slot, 1, 10 * USD, 0) == REJECT_NONE);
    REQUIRE(try_reserve(engine, &found, 1, 20 * USD, 0) == REJECT_DUPLICATE);
    REQUIRE(ledger_slots(engine, ROLE_ENGINE, slots, 4) == 1);
    REQUIRE(slots[0].state == SLOT_RESERVED && slots[0].delta_micros[0] == 10 * USD);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_NONE);
    ledger_live(engine, slot);
    ledger_unknown(engine, slot);
    ledger_live(engine, slot);
    ledger_filled(engine, slot, 500, ten, ten, ledger_now_ns());
    REQUIRE(ledger_slots(engine, ROLE_ENGINE, slots, 4) == 1 && slots[0].state == SLOT_LIVE);
    REQUIRE(slots[0].filled_e9 == 500);
    REQUIRE(ledger_find(engine, 1, &found) == 0 && found == slot);
    audit_clean(supervisor);
    ledger_release(engine, slot, ten, ten, ledger_now_ns());
    REQUIRE(ledger_find(engine, 1, &found) == -ENOENT);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 10 * USD);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* A slot that is used again is another reservation: its generation tells them apart. */
static void test_each_reservation_has_its_own_generation(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    uint32_t before;
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NONE);
    before = engine->line->slots[slot].slot_generation;
    ledger_release(engine, slot, nothing, nothing, ledger_now_ns());
    REQUIRE(engine->line->slots[slot].slot_generation == before);
    REQUIRE(try_reserve(engine, &slot, 2, USD, 0) == REJECT_NONE);
    REQUIRE(engine->line->slots[slot].slot_generation == before + 1);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_denials(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine;
    uint32_t slot = 0;

    REQUIRE(ledger_open(&engine, path) == 0);
    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NO_LEDGER);
    REQUIRE(ledger_join(engine, ROLE_ENGINE, ledger_now_ns()) == 0);
    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NOT_RECONCILED);
    REQUIRE(ledger_rebuild(engine, nothing, nothing, NULL, 0, ledger_now_ns()) == 0);
    REQUIRE(try_reserve(engine, &slot, 0, USD, 0) == REJECT_BAD_ORDER);
    REQUIRE(try_reserve(engine, &slot, 1, -USD, 0) == REJECT_BAD_ORDER);
    REQUIRE(try_reserve(engine, &slot, 1, INT64_MAX / 10, 0) == REJECT_BAD_ORDER);
    REQUIRE(try_reserve(engine, &slot, 1, 980 * USD + 1, 0) == REJECT_BUDGET);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() - 1);
    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_LEASE_EXPIRED);
    REQUIRE(try_reserve(engine, &slot, 1, 0, 1) == REJECT_NONE);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() + 600 * SECOND);
    ledger_set_state(supervisor, LEDGER_REDUCING, HALT_NONE, 0);
    REQUIRE(try_reserve(engine, &slot, 2, USD, 0) == REJECT_REDUCING);
    ledger_set_state(supervisor, LEDGER_CANCEL_ONLY, HALT_NONE, 0);
    REQUIRE(try_reserve(engine, &slot, 2, 0, 1) == REJECT_NOT_ACTIVE);
    ledger_halt(supervisor, HALT_OPERATOR);
    REQUIRE(try_reserve(engine, &slot, 2, 0, 1) == REJECT_HALTED);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* try_used: an order, or a way out, after which exactly so much would be used. */
static int try_used(struct ledger *ledger, uint64_t id, int64_t loss, int64_t notional,
                    int reducing)
{
    struct ledger_order order = {.client_order_id = id, .reducing = (uint8_t)reducing};
    const int64_t used[2] = {loss, notional};
    uint32_t slot;
    int reason = ledger_reserve(ledger, &slot, &order, used, ledger_now_ns());

    if (reason == REJECT_NONE)
        ledger_release(ledger, slot, used, nothing, ledger_now_ns());
    return reason;
}

/* With nothing left in the pool the last micro of the rights is usable, in each dimension, and not
 * one more; a way out may stay where it is and not rise. */
static void test_rights_end_where_they_end(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    const int64_t *alloc;
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, 100 * USD, 0) == REJECT_NONE);
    alloc = engine->line->alloc_micros;
    REQUIRE(ledger_set_limit(supervisor, alloc, nothing) == 0);
    REQUIRE(try_used(engine, 2, alloc[0], alloc[1], 0) == REJECT_NONE);
    REQUIRE(try_used(engine, 2, alloc[0] + 1, alloc[1], 0) == REJECT_BUDGET);
    REQUIRE(try_used(engine, 2, alloc[0], alloc[1] + 1, 0) == REJECT_BUDGET);
    REQUIRE(try_used(engine, 2, alloc[0] + 1, alloc[1], 1) == REJECT_BUDGET);
    REQUIRE(ledger_set_limit(supervisor, nothing, nothing) == 0);
    REQUIRE(ledger_reprice(engine, (int64_t[2]){alloc[0] + 5, alloc[1]}, nothing,
                           ledger_now_ns()) == -ENOSPC);
    REQUIRE(try_used(engine, 2, alloc[0] + 6, alloc[1], 1) == REJECT_BUDGET);
    REQUIRE(try_used(engine, 2, alloc[0] + 5, alloc[1], 1) == REJECT_NONE);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* The lease runs out at its deadline, at the gate as at the reservation. */
static void test_lease_ends_at_its_deadline(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger_order order = {.client_order_id = 1};
    uint32_t slot;

    ledger_heartbeat_supervisor(supervisor, 1000, 5000);
    REQUIRE(ledger_reserve(engine, &slot, &order, nothing, 5000) == REJECT_LEASE_EXPIRED);
    REQUIRE(ledger_reserve(engine, &slot, &order, nothing, 4999) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, 5000) == REJECT_LEASE_EXPIRED);
    REQUIRE(ledger_reserve(engine, &slot, &order, nothing, 4999) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, 4999) == REJECT_NONE);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_slots_run_out(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    uint32_t slot;

    for (uint32_t i = 1; i <= PROTOCOL_SLOTS; i++)
        REQUIRE(try_reserve(engine, &slot, i, i, 0) == REJECT_NONE && slot == i - 1);
    REQUIRE(try_reserve(engine, &slot, 1000, 1000, 0) == REJECT_NO_SLOT);
    ledger_release(engine, 17, nothing, nothing, ledger_now_ns());
    REQUIRE(try_reserve(engine, &slot, 1000, 1000, 0) == REJECT_NONE && slot == 17);
    audit_clean(supervisor);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_halt_between_reserve_and_gate(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    uint32_t slot;
    int64_t epoch;

    REQUIRE(try_reserve(engine, &slot, 7, 5 * USD, 0) == REJECT_NONE);
    epoch = ledger_halt(supervisor, HALT_OPERATOR);
    REQUIRE(ledger_halt(engine, HALT_BUG) == epoch);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_HALTED);
    REQUIRE(ledger_slots(engine, ROLE_ENGINE, &(struct ledger_slot){0}, 1) == 0);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 0);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].halt_ack != epoch);
    ledger_beat(engine, ledger_now_ns(), 0); /* its owner has not obeyed yet */
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].halt_ack != epoch);
    ledger_beat(engine, ledger_now_ns(), 1);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].halt_ack == epoch);
    REQUIRE(view_of(supervisor).reason == HALT_OPERATOR);
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) == -EPERM);
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) == epoch + 1);
    ledger_beat(engine, ledger_now_ns(), 1); /* nothing to acknowledge any more */
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].halt_ack == epoch);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_each_gets_nearly_everything_while_the_other_is_idle(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *both[2] = {joined(ROLE_ENGINE), joined(ROLE_BOT)};
    const int64_t most[2] = {980 * USD, 9800 * USD};
    uint32_t slot;

    for (int turn = 0; turn < 4; turn++) {
        struct ledger *busy = both[turn % 2];
        struct ledger *idle = both[(turn + 1) % 2];

        (void)ledger_reprice(busy, nothing, nothing, ledger_now_ns());
        if (try_reserve(busy, &slot, 1, most[0], 0) == REJECT_BUDGET) {
            REQUIRE(ledger_reprice(idle, nothing, nothing, ledger_now_ns()) == 0);
            REQUIRE(try_reserve(busy, &slot, 1, most[0], 0) == REJECT_NONE);
        }
        audit_clean(supervisor);
        REQUIRE(try_reserve(idle, &slot, 2, 20 * USD, 0) == REJECT_BUDGET);
        REQUIRE(ledger_find(busy, 1, &slot) == 0);
        ledger_release(busy, slot, nothing, nothing, ledger_now_ns());
        REQUIRE(ledger_reprice(busy, nothing, nothing, ledger_now_ns()) == 0);
    }
    ledger_close(both[0]);
    ledger_close(both[1]);
    ledger_close(supervisor);
}

static void test_headroom_is_for_marks(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    const int64_t inside[2] = {1000 * USD, 9000 * USD};
    const int64_t above[2] = {1001 * USD, 9000 * USD};
    const int64_t back[2] = {970 * USD, 9000 * USD};
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, 980 * USD, 0) == REJECT_NONE);
    REQUIRE(try_reserve(engine, &slot, 2, 981 * USD, 0) == REJECT_BUDGET);
    REQUIRE(ledger_reprice(engine, inside, nothing, ledger_now_ns()) == 0);
    REQUIRE(ledger_reprice(engine, above, nothing, ledger_now_ns()) == -ENOSPC);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].state == LEDGER_REDUCING);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].alloc_micros[0] == 1000 * USD);
    audit_clean(supervisor);
    REQUIRE(try_reserve(engine, &slot, 2, 1002 * USD, 0) == REJECT_REDUCING);
    REQUIRE(try_reserve(engine, &slot, 2, 1000 * USD, 1) == REJECT_NONE);
    REQUIRE(ledger_reprice(engine, back, nothing, ledger_now_ns()) == 0);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].state == LEDGER_ACTIVE);
    /* Rights drawn from the headroom are not there for the next order. */
    REQUIRE(try_reserve(engine, &slot, 3, 985 * USD, 0) == REJECT_BUDGET);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_lower_limit_stops_grants(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger *bot = joined(ROLE_BOT);
    const int64_t low[2] = {100 * USD, 1000 * USD};
    const int64_t small[2] = {50 * USD, 500 * USD};
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, 600 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_set_limit(supervisor, low, nothing) == 0);
    audit_clean(supervisor);
    REQUIRE(try_reserve(bot, &slot, 2, 1 * USD, 0) == REJECT_BUDGET);
    REQUIRE(ledger_reprice(engine, small, small, ledger_now_ns()) == 0);
    REQUIRE(try_reserve(bot, &slot, 2, 40 * USD, 0) == REJECT_NONE);
    REQUIRE(supervisor->shared->header.ceiling_micros[0] == 100 * USD);
    audit_clean(supervisor);
    ledger_close(engine);
    ledger_close(bot);
    ledger_close(supervisor);
}

static void test_bugs_of_the_caller_halt(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NONE);
    ledger_release(engine, slot, nothing, nothing, ledger_now_ns());
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    ledger_release(engine, slot, nothing, nothing, ledger_now_ns());
    REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
    REQUIRE(view_of(supervisor).reason == HALT_BUG);
    REQUIRE(engine->free_count == PROTOCOL_SLOTS);
    ledger_close(engine);
    ledger_close(supervisor);
    /* An order that the gate has not let out cannot be at the venue. */
    supervisor = fresh();
    engine = joined(ROLE_ENGINE);
    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NONE);
    ledger_live(engine, slot);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_stale_generation(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *old = joined(ROLE_ENGINE);
    const int64_t seven[2] = {7 * USD, 7 * USD};
    struct ledger *new;
    uint32_t slot;

    REQUIRE(try_reserve(old, &slot, 1, 5 * USD, 0) == REJECT_NONE);
    new = joined(ROLE_ENGINE);
    REQUIRE(ledger_generation(new) == ledger_generation(old) + 1);
    REQUIRE(ledger_gate(old, slot, nothing, ledger_now_ns()) == REJECT_STALE_GENERATION);
    REQUIRE(try_reserve(old, &slot, 2, 5 * USD, 0) == REJECT_STALE_GENERATION);
    REQUIRE(ledger_reprice(old, seven, seven, ledger_now_ns()) == -ESTALE);
    /* Replaced between its own look and the lock: the lock's holder looks again. */
    REQUIRE(rights_draw(old, seven, DRAW_ORDER, 0) == -ESTALE);
    REQUIRE(rights_lower(old, nothing, 0) == -ESTALE);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 0);
    ledger_close(old);
    ledger_close(new);
    ledger_close(supervisor);
}

static void test_reclaimed_while_alive(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    const int64_t six[2] = {6 * USD, 60 * USD};
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, 5 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_NONE);
    REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == 1);
    REQUIRE(try_reserve(engine, &slot, 2, 6 * USD, 0) == REJECT_STALE_GENERATION);
    REQUIRE(ledger_reprice(engine, six, six, ledger_now_ns()) == -ESTALE);
    ledger_release(engine, slot, nothing, nothing, ledger_now_ns());
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 5 * USD);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].open_orders == 1);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_leaving_keeps_charges_and_their_rights(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    const int64_t held[2] = {5 * USD, 50 * USD};

    REQUIRE(ledger_reprice(engine, held, held, ledger_now_ns()) == 0);
    ledger_leave(engine);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == held[0]);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].alloc_micros[0] == held[0]);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].pid == 0);
    audit_clean(supervisor);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_zeroed_and_foreign_memory(void)
{
    struct ledger *ledger = NULL;
    struct ledger *supervisor;
    int adopted;
    int fd;

    (void)unlink(path);
    REQUIRE(ledger_open(&ledger, path) == -ENOENT);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)sizeof(struct ledger_shared)) == 0);
    REQUIRE(ledger_open(&ledger, path) == -EPROTO);
    /* The same memory reached by a handle that does not look at the magic still denies. */
    supervisor = fresh();
    ledger = joined(ROLE_ENGINE);
    memset(ledger->shared, 0, offsetof(struct ledger_header, mutex));
    REQUIRE(try_reserve(ledger, &(uint32_t){0}, 1, 0, 1) == REJECT_NOT_ACTIVE);
    memset(ledger->shared, 0, sizeof *ledger->shared);
    REQUIRE(try_reserve(ledger, &(uint32_t){0}, 1, 0, 1) != REJECT_NONE);
    ledger_close(ledger);
    ledger_close(supervisor);
    REQUIRE(ledger_create(&supervisor, &adopted, path, limit, headroom, 1) == 0);
    REQUIRE(adopted == LEDGER_RESCUED && ledger_state_now(supervisor) == LEDGER_HALTED);
    ledger_close(supervisor);
    REQUIRE(fchmod(fd, 0600) == 0 && chmod(path, 0644) == 0);
    REQUIRE(ledger_open(&ledger, path) == -EPERM);
    close(fd);
    (void)unlink(path);
    REQUIRE(symlink("/dev/null", path) == 0 && ledger_open(&ledger, path) == -EPERM);
    REQUIRE(unlink(path) == 0);
}

static void test_takeover_keeps_charges(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger *next;
    uint32_t slot;
    int adopted;
    pid_t child;
    int status;

    REQUIRE(try_reserve(engine, &slot, 1, 5 * USD, 0) == REJECT_NONE);
    child = fork();
    if (child == 0)
        _exit(ledger_create(&next, &adopted, path, limit, headroom, 1) == -EEXIST ? 0 : 1);
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    ledger_close(supervisor);
    REQUIRE(ledger_create(&next, &adopted, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(adopted == 1 && ledger_state_now(next) == LEDGER_INIT);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_NOT_ACTIVE);
    /* The dead supervisor's lease is not the new one's. */
    REQUIRE(ledger_set_state(next, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
    REQUIRE(try_reserve(engine, &slot, 2, 5 * USD, 0) == REJECT_LEASE_EXPIRED);
    ledger_halt(next, HALT_OPERATOR);
    ledger_close(next);
    REQUIRE(ledger_create(&next, &adopted, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(adopted == 1 && ledger_state_now(next) == LEDGER_HALTED);
    ledger_close(engine);
    ledger_close(next);
}

/* child_dies: runs work in a child that kills itself with SIGKILL at its end. */
static pid_t child_dies(void (*work)(struct ledger *))
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        work(joined(ROLE_ENGINE));
        raise(SIGKILL);
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    return child;
}

static void send_three(struct ledger *engine)
{
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 11, 1 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_NONE);
    ledger_live(engine, slot);
    REQUIRE(try_reserve(engine, &slot, 12, 2 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_NONE);
    REQUIRE(try_reserve(engine, &slot, 13, 3 * USD, 0) == REJECT_NONE);
}

static void test_reclaim_and_rebuild(void)
{
    struct ledger *supervisor = fresh();
    const int64_t truth[2] = {1 * USD, 10 * USD};
    const uint64_t keep[1] = {12};
    struct ledger_slot slots[4];
    struct ledger *engine;
    uint32_t slot;

    child_dies(send_three);
    REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == 2);
    REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == 2);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].reconciled_ns == 0);
    REQUIRE(ledger_slots(supervisor, ROLE_ENGINE, slots, 4) == 2);
    REQUIRE(slots[0].state == SLOT_UNKNOWN && slots[1].state == SLOT_UNKNOWN);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 3 * USD);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].alloc_micros[0] == 3 * USD);
    audit_clean(supervisor);
    REQUIRE(ledger_open(&engine, path) == 0);
    REQUIRE(ledger_join(engine, ROLE_ENGINE, ledger_now_ns()) == 0);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 3 * USD);
    REQUIRE(ledger_rebuild(engine, truth, truth, keep, 1, ledger_now_ns()) == 0);
    REQUIRE(ledger_find(engine, 12, &slot) == 0 && ledger_find(engine, 11, &slot) == -ENOENT);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].used_micros[0] == 1 * USD);
    audit_clean(supervisor);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* A line taken over from a dead process that nobody reclaimed: its orders are UNKNOWN, and nothing
 * leaves before the new owner has reconciled. */
static void test_joining_after_a_death(void)
{
    struct ledger *supervisor = fresh();
    struct ledger_slot slots[4];
    struct ledger *engine;
    uint32_t slot;

    child_dies(send_three);
    REQUIRE(ledger_open(&engine, path) == 0);
    REQUIRE(ledger_join(engine, ROLE_ENGINE, ledger_now_ns()) == 0);
    REQUIRE(ledger_slots(supervisor, ROLE_ENGINE, slots, 4) == 2);
    REQUIRE(slots[0].state == SLOT_UNKNOWN && slots[1].state == SLOT_UNKNOWN);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].reconciled_ns == 0);
    REQUIRE(try_reserve(engine, &slot, 14, 4 * USD, 0) == REJECT_NOT_RECONCILED);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void die_with_the_lock(struct ledger *engine)
{
    REQUIRE(ledger_lock_try(engine->shared) == 0);
    rights_begin(engine->shared);
    STORE(engine->line->alloc_micros[0], 100 * USD);
}

static void test_owner_killed_holding_the_lock(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *bot = joined(ROLE_BOT);
    struct ledger_view view;
    uint32_t slot;

    child_dies(die_with_the_lock);
    ledger_snapshot(supervisor, &view, 0);
    REQUIRE(view.consistent == 0);
    REQUIRE(try_reserve(bot, &slot, 1, 880 * USD, 0) == REJECT_NONE);
    view = view_of(supervisor);
    REQUIRE(view.participants[ROLE_ENGINE].alloc_micros[0] == 100 * USD);
    REQUIRE(view.participants[ROLE_BOT].alloc_micros[0] == 880 * USD);
    audit_clean(supervisor);
    child_dies(die_with_the_lock);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() + SECOND);
    (void)view_of(supervisor);
    ledger_close(bot);
    ledger_close(supervisor);
}

static void test_stopped_lock_holder_never_blocks_an_order(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *bot = joined(ROLE_BOT);
    uint32_t slot;
    int status;
    pid_t child = fork();

    if (child == 0) {
        (void)ledger_lock_try(bot->shared);
        raise(SIGSTOP);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    REQUIRE(try_reserve(bot, &slot, 1, 880 * USD, 0) == REJECT_LEDGER_BUSY);
    REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    REQUIRE(try_reserve(bot, &slot, 1, 880 * USD, 0) == REJECT_NONE);
    ledger_close(bot);
    ledger_close(supervisor);
}

/* hammer: random orders of one participant until the count is reached. */
static void hammer(uint32_t participant, unsigned seed)
{
    struct ledger *ledger = joined(participant);
    int64_t used[2] = {0, 0};
    int denied = 0;

    for (uint64_t id = 1; id <= HAMMER_ORDERS; id++) {
        struct ledger_order order = {.client_order_id = id, .venue = VENUE_BINANCE};
        int64_t step = (int64_t)(rand_r(&seed) % 1000) * USD;
        int64_t after[2] = {used[0] + step, used[1] + step};
        uint32_t slot;

        if (ledger_reserve(ledger, &slot, &order, after, ledger_now_ns()) != REJECT_NONE) {
            denied++;
        } else if (ledger_gate(ledger, slot, used, ledger_now_ns()) == REJECT_NONE) {
            ledger_live(ledger, slot);
            ledger_release(ledger, slot, used, used, ledger_now_ns());
        }
        if (id % 8 == 0)
            (void)ledger_reprice(ledger, used, used, ledger_now_ns());
    }
    ledger_leave(ledger);
    ledger_close(ledger);
    _exit(denied > 0 && denied < HAMMER_ORDERS ? 0 : 1);
}

static void test_two_processes_hammering(void)
{
    struct ledger *supervisor = fresh();
    pid_t children[2];
    int running = 2;
    int consistent = 0;

    for (unsigned i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0)
            hammer(i == 0 ? ROLE_ENGINE : ROLE_BOT, i + 1);
    }
    while (running > 0) {
        struct ledger_view view;
        int status;

        ledger_snapshot(supervisor, &view, 0);
        consistent += (int)view.consistent;
        for (int d = 0; d < 2 && view.consistent; d++) {
            const struct ledger_participant_view *line = view.participants;

            REQUIRE(line[1].alloc_micros[d] + line[2].alloc_micros[d] <= limit[d] - headroom[d]);
            REQUIRE(line[1].used_micros[d] <= line[1].alloc_micros[d]);
            REQUIRE(line[2].used_micros[d] <= line[2].alloc_micros[d]);
        }
        if (waitpid(-1, &status, WNOHANG) > 0) {
            REQUIRE(status == 0);
            running--;
        }
    }
    REQUIRE(consistent > 0);
    REQUIRE(view_of(supervisor).participants[ROLE_ENGINE].alloc_micros[0] == 0);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    audit_clean(supervisor);
    ledger_close(supervisor);
}

/* at_venue: what the venue holds open for the trader below; it survives the trader. */
static int64_t *at_venue;

/* one_order: draw, reserve, gate, send, live, release, give back; stepped through by the test. */
static void one_order(struct ledger *engine)
{
    const int64_t after[2] = {300 * USD, 3000 * USD};
    struct ledger_order order = {.client_order_id = 5, .venue = VENUE_BINANCE};
    uint32_t slot;

    if (ledger_reserve(engine, &slot, &order, after, 1) == REJECT_NONE &&
        ledger_gate(engine, slot, nothing, 1) == REJECT_NONE) {
        *(volatile int64_t *)at_venue = after[0];
        ledger_live(engine, slot);
        *(volatile int64_t *)at_venue = 0;
        ledger_release(engine, slot, nothing, nothing, 1);
    }
    (void)ledger_reprice(engine, nothing, nothing, 1);
}

/* stopped_child: a process that joined as the engine and waits to be stepped through work. */
static pid_t stopped_child(int *status, void (*work)(struct ledger *))
{
    pid_t child = fork();

    if (child == 0) {
        struct ledger *engine = joined(ROLE_ENGINE);

        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        work(engine);
        _exit(0);
    }
    REQUIRE(waitpid(child, status, 0) == child && WIFSTOPPED(*status));
    return child;
}

/* step: lets the child run one instruction. */
static void step(pid_t child, int *status)
{
    REQUIRE(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
    REQUIRE(waitpid(child, status, 0) == child);
}

/* killed_after: steps a child through work for so many instructions, then kills it. Returns 0 when
 * it had come to its end before. */
static int killed_after(int instructions, void (*work)(struct ledger *))
{
    int status;
    pid_t child = stopped_child(&status, work);

    for (int i = 0; i < instructions && WIFSTOPPED(status); i++)
        step(child, &status);
    if (!WIFSTOPPED(status))
        return 0;
    REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    return 1;
}

/* rises_and_falls: marks carry what is used above the rights, and back. */
static void rises_and_falls(struct ledger *engine)
{
    const int64_t above[2] = {1200 * USD, 5000 * USD};

    (void)ledger_reprice(engine, above, above, 1);
    (void)ledger_reprice(engine, nothing, nothing, 1);
}

/* watched: lets a child work instruction by instruction and looks at the ledger after each. */
static int watched(struct ledger *supervisor, void (*work)(struct ledger *))
{
    int instructions = 0;
    int status;
    pid_t child = stopped_child(&status, work);

    for (; WIFSTOPPED(status); instructions++) {
        struct ledger_participant *line = &supervisor->shared->participants[ROLE_ENGINE];
        int64_t charged = 0;

        for (int s = 0; s < PROTOCOL_SLOTS; s++)
            if (line->slots[s].state >= SLOT_SENT)
                charged += line->slots[s].delta_micros[0];
        REQUIRE(line->used_micros[0] >= charged && line->used_micros[0] >= *at_venue);
        for (int d = 0; d < 2; d++)
            REQUIRE(line->used_micros[d] <= line->alloc_micros[d] ||
                    line->state == LEDGER_REDUCING);
        step(child, &status);
    }
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return instructions;
}

/* After every instruction what is used covers each order that may be at the venue, and is within
 * the rights unless the line says that it is reducing. */
static void test_legal_after_every_instruction(void)
{
    struct ledger *supervisor = fresh();

    ledger_heartbeat_supervisor(supervisor, 1, INT64_MAX / 2);
    *at_venue = 0;
    REQUIRE(watched(supervisor, one_order) > 500);
    REQUIRE(watched(supervisor, rises_and_falls) > 100);
    ledger_close(supervisor);
}

/* The stride keeps the test to about a second; STRIDE=1 in the environment visits every one. */
static void test_killed_at_any_instruction(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *bot = joined(ROLE_BOT);
    int stride = getenv("STRIDE") != NULL ? atoi(getenv("STRIDE")) : 41;
    int points = 0;

    at_venue =
        mmap(NULL, sizeof *at_venue, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at_venue != MAP_FAILED && stride > 0);
    ledger_heartbeat_supervisor(supervisor, 1, INT64_MAX / 2);
    for (int n = 1; killed_after(n, one_order); n += stride, points++) {
        struct ledger_participant_view line;
        uint32_t slot;

        ledger_heartbeat_supervisor(supervisor, 1, INT64_MAX / 2);
        line = view_of(supervisor).participants[ROLE_ENGINE];
        REQUIRE(line.used_micros[0] >= *at_venue);
        REQUIRE(line.used_micros[0] <= line.alloc_micros[0]);
        REQUIRE(line.used_micros[1] <= line.alloc_micros[1]);
        audit_clean(supervisor);
        REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == (*at_venue > 0) || *at_venue == 0);
        line = view_of(supervisor).participants[ROLE_ENGINE];
        REQUIRE(line.used_micros[0] >= *at_venue && line.alloc_micros[0] == line.used_micros[0]);
        /* The lock is free or comes free: another process still trades. */
        REQUIRE(try_reserve(bot, &slot, 1, 600 * USD, 0) == REJECT_NONE);
        ledger_release(bot, slot, nothing, nothing, ledger_now_ns());
        REQUIRE(ledger_reprice(bot, nothing, nothing, ledger_now_ns()) == 0);
        audit_clean(supervisor);
        *at_venue = 0;
    }
    REQUIRE(points > 20);
    if (getenv("STRIDE") != NULL)
        printf("%d points\n", points);
    ledger_close(bot);
    ledger_close(supervisor);
}

static void raise_limit(struct ledger *engine)
{
    const int64_t higher[2] = {2 * limit[0], 2 * limit[1]};

    (void)ledger_set_limit(engine, higher, headroom);
}

/* Whoever raises the limit may die anywhere: what is then drawn up to it is never a violation, and
 * the next supervisor keeps the ledger. */
static void test_killed_while_the_limit_rises(void)
{
    for (int n = 1, alive = 1; alive; n += 11) {
        struct ledger *supervisor = fresh();
        struct ledger *bot = joined(ROLE_BOT);
        uint32_t slot;

        alive = killed_after(n, raise_limit);
        (void)ledger_reclaim(supervisor, ROLE_ENGINE);
        if (try_reserve(bot, &slot, 1, view_of(supervisor).limit_micros[0] - headroom[0], 0) ==
            REJECT_NONE)
            ledger_release(bot, slot, nothing, nothing, ledger_now_ns());
        audit_clean(supervisor);
        ledger_close(bot);
        ledger_close(supervisor);
    }
}

static void test_join_is_exclusive(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger *other;
    int status;
    pid_t child = fork();

    if (child == 0) {
        REQUIRE(ledger_open(&other, path) == 0);
        _exit(ledger_join(other, ROLE_ENGINE, 1) == -EBUSY ? 0 : 1);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    ledger_leave(engine);
    child = fork();
    if (child == 0)
        _exit(ledger_join(engine, ROLE_ENGINE, 1) == 0 ? 0 : 1);
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    ledger_close(engine);
    ledger_close(supervisor);
}

static void test_damage_is_found(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    char text[256];
    uint32_t slot;

    REQUIRE(try_reserve(engine, &slot, 1, USD, 0) == REJECT_NONE);
    engine->line->slots[slot].price_e9 ^= 1;
    REQUIRE(ledger_audit(supervisor, text, sizeof text) == 1 && strstr(text, "checksum") != NULL);
    engine->line->slots[slot].price_e9 ^= 1;
    engine->line->alloc_micros[0] = limit[0] + 1;
    REQUIRE(ledger_audit(supervisor, text, sizeof text) == 1 && strstr(text, "limit") != NULL);
    ledger_close(engine);
    ledger_close(supervisor);
}

static const int64_t lower_limit[2] = {50 * USD, 50 * USD};
static const int64_t lower_headroom[2] = {5 * USD, 5 * USD};

static void lower_the_limit(struct ledger *engine)
{
    (void)ledger_set_limit(engine, lower_limit, lower_headroom);
}

/* Whoever lowers the limit below the headroom of before may die anywhere: the ledger stays whole,
 * and the next supervisor sets the limit anew. */
static void test_killed_while_the_limit_falls(void)
{
    const int64_t before[2] = {1000 * USD, 1000 * USD};
    const int64_t before_headroom[2] = {100 * USD, 100 * USD};

    for (int n = 1, alive = 1; alive; n += 5) {
        struct ledger *supervisor = fresh();

        REQUIRE(ledger_set_limit(supervisor, before, before_headroom) == 0);
        alive = killed_after(n, lower_the_limit);
        (void)ledger_reclaim(supervisor, ROLE_ENGINE);
        audit_clean(supervisor);
        REQUIRE(ledger_set_limit(supervisor, lower_limit, lower_headroom) == 0);
        REQUIRE(ledger_state_now(supervisor) != LEDGER_HALTED);
        audit_clean(supervisor);
        ledger_close(supervisor);
    }
}

int main(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/test-ledger-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/ledger", folder);
    test_life_of_an_order();
    test_each_reservation_has_its_own_generation();
    test_denials();
    test_rights_end_where_they_end();
    test_lease_ends_at_its_deadline();
    test_slots_run_out();
    test_halt_between_reserve_and_gate();
    test_each_gets_nearly_everything_while_the_other_is_idle();
    test_headroom_is_for_marks();
    test_lower_limit_stops_grants();
    test_bugs_of_the_caller_halt();
    test_stale_generation();
    test_reclaimed_while_alive();
    test_leaving_keeps_charges_and_their_rights();
    test_zeroed_and_foreign_memory();
    if (!without("start_time"))
        test_takeover_keeps_charges();
    test_reclaim_and_rebuild();
    test_joining_after_a_death();
    if (!without("robust")) {
        test_owner_killed_holding_the_lock();
        test_stopped_lock_holder_never_blocks_an_order();
    }
    test_two_processes_hammering();
    if (!without("ptrace")) {
        test_killed_at_any_instruction();
        test_killed_while_the_limit_rises();
        test_killed_while_the_limit_falls();
        test_legal_after_every_instruction();
    }
    if (!without("start_time"))
        test_join_is_exclusive();
    test_damage_is_found();
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/ledger.old", folder);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/ledger.damaged-1", folder);
    (void)unlink(path);
    REQUIRE(rmdir(folder) == 0);
    return 0;
}
