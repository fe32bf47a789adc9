/* The ledger with damaged memory: what it then allows (nothing new), and what it never loses. */
#include "../../bridge/allocate.h"
#include "../../bridge/channel.h"
#include "../../bridge/ledger.h"
#include "../../bridge/ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(expression) ((expression) ? (void)0 : require_failed(#expression, __LINE__))

#define SECOND 1000000000LL
#define USD    1000000LL

static char folder[64];
static char path[128];
static const int64_t limit[2] = {1000 * USD, 20000 * USD};
static const int64_t headroom[2] = {20 * USD, 400 * USD};
static const int64_t nothing[2] = {0, 0};

static void require_failed(const char *expression, int line)
{
    fprintf(stderr, "test_ledger_damage.c:%d: %s\n", line, expression);
    abort();
}

static void remove_kept(void)
{
    char name[160];

    for (int number = 1; number <= 99; number++) {
        snprintf(name, sizeof name, "%s.damaged-%d", path, number);
        (void)unlink(name);
    }
    snprintf(name, sizeof name, "%s.old", path);
    (void)unlink(name);
    (void)unlink(path);
}

static struct ledger *fresh(void)
{
    struct ledger *supervisor;
    int origin;

    remove_kept();
    REQUIRE(ledger_create(&supervisor, &origin, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(origin == LEDGER_NEW);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() + 600 * SECOND);
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) > 0);
    return supervisor;
}

static struct ledger *joined(uint32_t participant)
{
    struct ledger *ledger;

    REQUIRE(ledger_open(&ledger, path) == 0);
    REQUIRE(ledger_join(ledger, participant, ledger_now_ns()) == 0);
    REQUIRE(ledger_rebuild(ledger, nothing, nothing, NULL, 0, ledger_now_ns()) == 0);
    return ledger;
}

/* try_order: an order after which so much would be used; given back at once when it is let through.
 */
static int try_order(struct ledger *ledger, uint64_t id, int64_t loss, int reducing)
{
    struct ledger_order order = {.client_order_id = id, .reducing = (uint8_t)reducing};
    const int64_t before[2] = {ledger->charged_micros[0], ledger->charged_micros[1]};
    const int64_t used[2] = {loss, loss * 10};
    uint32_t slot;
    int reason = ledger_reserve(ledger, &slot, &order, used, ledger_now_ns());

    if (reason == REJECT_NONE)
        ledger_release(ledger, slot, before, nothing, ledger_now_ns());
    return reason;
}

/* send: an order that passed the gate, and rests. */
static void send(struct ledger *ledger, uint64_t id, int64_t loss)
{
    struct ledger_order order = {.client_order_id = id,
                                 .venue = VENUE_BINANCE,
                                 .symbol = "BTCUSDT",
                                 .query_id = "an order's id",
                                 .window_ns = 5 * SECOND};
    const int64_t used[2] = {ledger->charged_micros[0] + loss,
                             ledger->charged_micros[1] + loss * 10};
    uint32_t slot;

    REQUIRE(ledger_reserve(ledger, &slot, &order, used, ledger_now_ns()) == REJECT_NONE);
    REQUIRE(ledger_gate(ledger, slot, nothing, ledger_now_ns()) == REJECT_NONE);
    ledger_live(ledger, slot);
}

static void heal(struct ledger *supervisor, const struct ledger_shared *whole)
{
    memcpy(supervisor->shared, whole, sizeof *whole);
}

/* --- the control word --- */

/* A state byte that is no state counts as HALTED for every reader, is overwritten by a halt, and is
 * lowered by nobody but a person. */
static void test_a_state_that_is_none_is_halted(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    uint64_t *control = &supervisor->shared->header.control;
    uint64_t active = *control;

    for (uint32_t byte = LEDGER_HALTED + 1; byte <= 0xFF; byte++) {
        struct ledger_order order = {.client_order_id = 1};
        struct ledger_view view;
        uint32_t slot;
        int64_t epoch;

        *control = active;
        REQUIRE(ledger_reserve(engine, &slot, &order, nothing, ledger_now_ns()) == REJECT_NONE);
        *control = (active & ~0xFFULL) | byte;
        REQUIRE(ledger_gate(engine, slot, nothing, ledger_now_ns()) == REJECT_HALTED);
        REQUIRE(try_order(engine, 2, 0, 1) == REJECT_HALTED);
        ledger_snapshot(supervisor, &view, 0);
        REQUIRE(view.state == LEDGER_HALTED && ledger_state_now(supervisor) == LEDGER_HALTED);
        REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 0) == -EPERM);
        epoch = ledger_halt(engine, HALT_OPERATOR);
        REQUIRE(epoch > 0 && (*control & 0xFF) == LEDGER_HALTED);
        REQUIRE(ledger_halt(supervisor, HALT_BUG) == epoch);
        REQUIRE(ledger_set_state(supervisor, LEDGER_INIT, HALT_NONE, 1) == epoch + 1);
    }
    ledger_close(engine);
    ledger_close(supervisor);
}

/* Whatever stands in the control word, a halt returns an epoch that no line acknowledges by chance.
 */
static void test_a_halt_never_fails_for_what_stands_there(void)
{
    struct ledger *supervisor = fresh();
    uint64_t *control = &supervisor->shared->header.control;
    uint64_t active = *control;

    for (int bit = 0; bit < 64; bit++) {
        *control = active ^ (1ULL << bit);
        REQUIRE(ledger_halt(supervisor, HALT_OPERATOR) > 0);
        REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
    }
    *control = control_make(UINT32_MAX, 77, LEDGER_ACTIVE);
    REQUIRE(ledger_halt(supervisor, HALT_OPERATOR) == 1);
    ledger_close(supervisor);
}

/* --- limit and rights --- */

/* rights_word: the n-th word that the checksum covers, and the checksum; NULL past the end. */
static int64_t *rights_word(struct ledger_shared *shared, int n)
{
    struct ledger_header *header = &shared->header;
    int64_t *words[] = {&header->limit_micros[0],
                        &header->limit_micros[1],
                        &header->headroom_micros[0],
                        &header->headroom_micros[1],
                        &header->ceiling_micros[0],
                        &header->ceiling_micros[1],
                        (int64_t *)(void *)&header->rights_checksum};

    if (n < 7)
        return words[n];
    n -= 7;
    return n < 2 * PROTOCOL_PARTICIPANTS ? &shared->participants[n / 2].alloc_micros[n % 2] : NULL;
}

/* With any one bit of limit, headroom, ceiling, rights or their checksum flipped, no order that
 * needs a draw is let through, the first such one halts, and a way out within the rights held
 * before goes on until then. */
static void test_each_flipped_bit_of_the_rights_denies_and_halts(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger_shared *whole = ALLOCATE(struct ledger_shared);
    struct ledger_view view;
    int64_t granted[2];
    int64_t *word;
    char text[256];

    REQUIRE(whole != NULL);
    send(engine, 1, 100 * USD);
    memcpy(granted, engine->granted_micros, sizeof granted);
    memcpy(whole, supervisor->shared, sizeof *whole);
    for (int n = 0; (word = rights_word(supervisor->shared, n)) != NULL; n++)
        for (int bit = 0; bit < 64; bit++) {
            *word ^= (int64_t)(1ULL << bit);
            REQUIRE(ledger_damage(supervisor, text, sizeof text) > 0);
            REQUIRE(strstr(text, "checksum") != NULL);
            REQUIRE(ledger_audit(supervisor, text, sizeof text) > 0);
            REQUIRE(try_order(engine, 2, 99 * USD, 1) == REJECT_NONE);
            REQUIRE(try_order(engine, 2, granted[0], 0) == REJECT_NONE);
            REQUIRE(try_order(engine, 2, granted[0] + 1, 0) == REJECT_NO_LEDGER);
            ledger_snapshot(supervisor, &view, 0);
            REQUIRE(view.state == LEDGER_HALTED && view.reason == HALT_LEDGER);
            REQUIRE(try_order(engine, 2, 99 * USD, 1) == REJECT_HALTED);
            heal(supervisor, whole);
            REQUIRE(memcmp(granted, engine->granted_micros, sizeof granted) == 0);
        }
    REQUIRE(ledger_damage(supervisor, text, sizeof text) == 0 && text[0] == '\0');
    free(whole);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* Nobody makes damaged rights whole by changing them: neither a new limit, a reclaim nor giving
 * back.
 */
static void test_a_change_never_blesses_damage(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger *bot = joined(ROLE_BOT);
    const int64_t half[2] = {500 * USD, 10000 * USD};

    send(engine, 1, 100 * USD);
    supervisor->shared->header.limit_micros[0] ^= 1LL << 40;
    REQUIRE(ledger_set_limit(supervisor, half, headroom) == -EBADMSG);
    REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
    REQUIRE(rights_lower(bot, nothing, 1) == -EBADMSG);
    REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
    REQUIRE(ledger_reclaim(supervisor, ROLE_ENGINE) == 1);
    REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
    REQUIRE(ledger_reprice(bot, half, nothing, ledger_now_ns()) == -ENOSPC);
    REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
    ledger_close(bot);
    REQUIRE(ledger_open(&bot, path) == 0 && ledger_join(bot, ROLE_BOT, 1) == 0);
    REQUIRE(bot->granted_micros[0] == 0 && ledger_damage(supervisor, NULL, 0) > 0);
    ledger_close(engine);
    ledger_close(bot);
    ledger_close(supervisor);
}

static void bless(struct ledger *supervisor)
{
    supervisor->shared->header.rights_checksum = rights_checksum(supervisor->shared);
}

/* Amounts that cannot be deny, whatever their checksum says. */
static void test_absurd_amounts_deny(void)
{
    static const int64_t absurd[] = {-1,        INT64_MIN, -(1LL << 50), LEDGER_AMOUNT_MAX + 1,
                                     1LL << 62, INT64_MAX};
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger_shared *whole = ALLOCATE(struct ledger_shared);
    struct ledger_participant *lines = supervisor->shared->participants;

    REQUIRE(whole != NULL);
    memcpy(whole, supervisor->shared, sizeof *whole);
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++)
        for (int n = 0; n < 14; n++) {
            int64_t *word = n == 6 ? &lines[ROLE_BOT].used_micros[0]
                                   : rights_word(supervisor->shared, n < 6 ? n : n + 1);

            *word = absurd[i];
            bless(supervisor);
            REQUIRE(try_order(engine, 1, 1, 0) == REJECT_NO_LEDGER);
            REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
            REQUIRE(ledger_reprice(engine, limit, limit, ledger_now_ns()) == -ENOSPC);
            (void)ledger_reprice(engine, nothing, nothing, ledger_now_ns());
            REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
            REQUIRE(ledger_audit(supervisor, NULL, 0) > 0);
            heal(supervisor, whole);
        }
    supervisor->shared->header.headroom_micros[0] = limit[0] + 1;
    bless(supervisor);
    REQUIRE(try_order(engine, 1, 1, 0) == REJECT_NO_LEDGER);
    free(whole);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* The smaller of limit and ceiling bounds every draw, and a ceiling above both limit and rights is
 * told. */
static void test_draws_end_at_the_ceiling(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);

    supervisor->shared->header.ceiling_micros[0] = 50 * USD;
    bless(supervisor);
    REQUIRE(try_order(engine, 1, 31 * USD, 0) == REJECT_BUDGET);
    REQUIRE(try_order(engine, 1, 30 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_reprice(engine, (int64_t[2]){51 * USD, 0}, nothing, ledger_now_ns()) == -ENOSPC);
    REQUIRE(engine->granted_micros[0] == 50 * USD);
    supervisor->shared->header.ceiling_micros[0] = limit[0] + 1;
    bless(supervisor);
    REQUIRE(ledger_damage(supervisor, NULL, 0) == 1);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* What the own line says of rights and charges is not believed: neither makes room for an order. */
static void test_a_flipped_bit_in_the_own_line_makes_no_room(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    int64_t granted;

    send(engine, 1, 980 * USD);
    granted = engine->granted_micros[0];
    engine->line->used_micros[0] |= 1LL << 40;
    engine->line->used_micros[1] |= 1LL << 40;
    REQUIRE(try_order(engine, 2, granted + 40 * USD, 1) != REJECT_NONE);
    ledger_close(engine);
    ledger_close(supervisor);
    supervisor = fresh();
    engine = joined(ROLE_ENGINE);
    send(engine, 1, 980 * USD);
    engine->line->alloc_micros[0] |= 1LL << 40;
    engine->line->alloc_micros[1] |= 1LL << 40;
    REQUIRE(try_order(engine, 2, granted + 40 * USD, 0) == REJECT_NO_LEDGER);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* A line whose own state is none adds no risk; its owner mends it at the next reprice. */
static void test_a_line_state_that_is_none_adds_no_risk(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);

    for (int bit = 0; bit < 32; bit++) {
        engine->line->state = LEDGER_ACTIVE ^ (1U << bit);
        REQUIRE(try_order(engine, 1, USD, 0) == REJECT_REDUCING || bit < 3);
        engine->line->state = LEDGER_ACTIVE ^ (1U << bit);
        REQUIRE(ledger_reprice(engine, nothing, nothing, ledger_now_ns()) == 0);
        REQUIRE(engine->line->state == LEDGER_ACTIVE);
        REQUIRE(try_order(engine, 1, USD, 0) == REJECT_NONE);
    }
    ledger_close(engine);
    ledger_close(supervisor);
}

/* dies_in_a_change: a child that holds the lock, has stored a right and not its checksum. */
static void dies_in_a_change(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct ledger *bot = joined(ROLE_BOT);

        REQUIRE(ledger_lock_try(bot->shared) == 0 && rights_begin(bot->shared) == 0);
        STORE(bot->line->alloc_micros[0], 100 * USD);
        raise(SIGKILL);
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

/* A checksum that an interrupted change left old is no damage: the next holder of the lock makes it
 * anew, with what the dead one had drawn. Where the values cannot be, it is not made. */
static void test_an_interrupted_change_is_repaired(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);

    dies_in_a_change();
    REQUIRE((supervisor->shared->header.alloc_sequence & 1) != 0);
    REQUIRE(!rights_are_whole(supervisor->shared) && ledger_damage(supervisor, NULL, 0) == 0);
    REQUIRE(try_order(engine, 1, 880 * USD, 0) == REJECT_NONE);
    REQUIRE(try_order(engine, 1, 881 * USD, 0) == REJECT_BUDGET);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    REQUIRE(ledger_damage(supervisor, NULL, 0) == 0);
    (void)ledger_reprice(engine, nothing, nothing, ledger_now_ns());
    dies_in_a_change();
    supervisor->shared->header.limit_micros[0] = INT64_MIN;
    REQUIRE(try_order(engine, 1, 500 * USD, 0) == REJECT_NO_LEDGER);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* --- the lock --- */

/* No bit of the lock's memory makes an order wait, ends a process or keeps a halt from being made.
 */
static void test_each_flipped_bit_of_the_lock_is_survived(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger_shared *whole = ALLOCATE(struct ledger_shared);
    struct ledger_header *header = &supervisor->shared->header;
    const int bits = 8 * (int)sizeof header->mutex;

    REQUIRE(whole != NULL);
    memcpy(whole, supervisor->shared, sizeof *whole);
    for (int bit = 0; bit < bits; bit++) {
        const int64_t most = engine->granted_micros[0] + USD;
        int reason;

        header->mutex[bit / 64] ^= 1ULL << (bit % 64);
        reason = try_order(engine, 1, most, 0);
        REQUIRE(reason == REJECT_NONE || reason == REJECT_LEDGER_BUSY ||
                reason == REJECT_NO_LEDGER);
        if (reason == REJECT_NO_LEDGER)
            REQUIRE(ledger_state_now(supervisor) == LEDGER_HALTED);
        if (reason != REJECT_NONE)
            REQUIRE(ledger_damage(supervisor, NULL, 0) > 0);
        REQUIRE(ledger_halt(supervisor, HALT_OPERATOR) > 0);
        heal(supervisor, whole);
        engine->granted_micros[0] = engine->line->alloc_micros[0];
        engine->granted_micros[1] = engine->line->alloc_micros[1];
    }
    free(whole);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* A lock of another kind than it was made with is never taken: the C library asserts what it finds
 * in some of them. */
static void test_a_lock_of_another_kind_is_not_taken(void)
{
    struct ledger *supervisor = fresh();
    pthread_mutex_t *mutex = (pthread_mutex_t *)(void *)supervisor->shared->header.mutex;
    const int kind = mutex->__data.__kind;

    for (int other = 0; other < 1024; other++) {
        mutex->__data.__kind = other;
        REQUIRE((ledger_lock_try(supervisor->shared) == 0) == (other == kind));
        REQUIRE((ledger_damage(supervisor, NULL, 0) == 0) == (other == kind));
        if (other == kind)
            ledger_unlock(supervisor->shared);
    }
    mutex->__data.__kind = kind;
    ledger_close(supervisor);
}

/* A lock word that names nobody who could hold it: whoever waits for the lock halts instead. */
static void test_a_lock_held_by_nobody_halts(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger_view view;
    int64_t began = ledger_now_ns();

    supervisor->shared->header.mutex[0] |= 1ULL << 31; /* waiters, and no owner */
    REQUIRE(try_order(engine, 1, 100 * USD, 0) == REJECT_LEDGER_BUSY);
    REQUIRE(ledger_set_limit(supervisor, limit, headroom) == -EBADMSG);
    REQUIRE(ledger_now_ns() - began < 30 * SECOND);
    ledger_snapshot(supervisor, &view, 0);
    REQUIRE(view.state == LEDGER_HALTED && view.reason == HALT_LEDGER);
    ledger_close(engine);
    ledger_close(supervisor);
}

/* A lock that a living, stopped process holds is no damage. */
static void test_a_lock_held_by_the_living_is_whole(void)
{
    struct ledger *supervisor = fresh();
    int status;
    pid_t child = fork();

    if (child == 0) {
        (void)ledger_lock_try(supervisor->shared);
        raise(SIGSTOP);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    REQUIRE(ledger_damage(supervisor, NULL, 0) == 0);
    REQUIRE(ledger_set_limit(supervisor, limit, headroom) == -EBUSY);
    REQUIRE(ledger_state_now(supervisor) == LEDGER_ACTIVE);
    REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    ledger_close(supervisor);
}

/* --- what a start finds --- */

/* with_two_orders: a ledger whose processes are gone and whose two orders may still be open. */
static void with_two_orders(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);

    send(engine, 101, 100 * USD);
    send(engine, 102, 50 * USD);
    ledger_journal_put(engine, 2, 77, (const uint8_t *)"thirty-two bytes of a journal's..");
    engine->line->pid = 0;
    ledger_close(engine);
    ledger_close(supervisor);
}

static void damage_byte(off_t at, uint8_t flip)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    REQUIRE(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= flip;
    REQUIRE(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static int exists(const char *suffix)
{
    char name[160];

    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

/* require_rescued: a start finds the damaged file: everything in it is kept, and nothing trades. */
static void require_rescued(int orders)
{
    struct ledger_slot slots[4];
    struct ledger_view view;
    struct ledger *supervisor;
    struct ledger *engine;
    uint8_t head[32];
    char text[256];
    int origin;

    REQUIRE(ledger_create(&supervisor, &origin, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(origin == LEDGER_RESCUED && exists(".damaged-1") && !exists(".old"));
    ledger_snapshot(supervisor, &view, 0);
    REQUIRE(view.state == LEDGER_HALTED && view.reason == HALT_LEDGER);
    REQUIRE(view.limit_micros[0] == limit[0] && view.limit_micros[1] == limit[1]);
    REQUIRE(ledger_slots(supervisor, ROLE_ENGINE, slots, 4) == orders);
    for (int i = 0; i < orders; i++) {
        REQUIRE(slots[i].state == SLOT_UNKNOWN && slots[i].client_order_id == 101 + (uint64_t)i);
        REQUIRE(strcmp(slots[i].query_id, "an order's id") == 0);
        REQUIRE(ledger_slot_is_whole(&slots[i]) && ledger_slot_landing_is_whole(&slots[i]));
    }
    if (orders > 0) {
        REQUIRE(ledger_journal_head(supervisor, ROLE_ENGINE, 2, head) == 77);
        REQUIRE(memcmp(head, "thirty-two bytes of a journal's..", sizeof head) == 0);
        REQUIRE(ledger_journal_head(supervisor, ROLE_ENGINE, 1, head) == 0);
    }
    REQUIRE(view.participants[ROLE_ENGINE].used_micros[0] >= (orders > 0 ? 150 * USD : 0));
    REQUIRE(view.participants[ROLE_ENGINE].used_micros[1] >= (orders > 0 ? 1500 * USD : 0));
    if (ledger_audit(supervisor, text, sizeof text) != 0)
        require_failed(text, __LINE__);
    /* A person has looked: the next owner reconciles, and everything goes on. */
    REQUIRE(ledger_set_state(supervisor, LEDGER_ACTIVE, HALT_NONE, 1) > 0);
    ledger_heartbeat_supervisor(supervisor, ledger_now_ns(), ledger_now_ns() + 600 * SECOND);
    engine = joined(ROLE_ENGINE);
    REQUIRE(ledger_generation(engine) > 1 || orders == 0);
    REQUIRE(try_order(engine, 200, 900 * USD, 0) == REJECT_NONE);
    REQUIRE(ledger_audit(supervisor, text, sizeof text) == 0);
    ledger_close(engine);
    ledger_close(supervisor);
    remove_kept();
}

/* No single byte of magic, version, size, layout, boot or rights makes a start forget an order. */
static void test_a_damaged_header_keeps_its_orders(void)
{
    const size_t rights = offsetof(struct ledger_header, limit_micros);
    const size_t checksum = offsetof(struct ledger_header, rights_checksum);
    const size_t alloc = offsetof(struct ledger_shared, participants) +
                         offsetof(struct ledger_participant, alloc_micros) +
                         sizeof(struct ledger_participant) * ROLE_ENGINE;
    const size_t places[] = {0,  7,  8,      12,          14,       16,    23,        24,
                             40, 59, rights, rights + 12, checksum, alloc, alloc + 15};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        with_two_orders();
        damage_byte((off_t)places[i], 0x04);
        require_rescued(2);
    }
}

static void test_a_cut_or_empty_file_keeps_what_is_left(void)
{
    const off_t engine_at = (off_t)(offsetof(struct ledger_shared, participants) +
                                    sizeof(struct ledger_participant) * ROLE_ENGINE);

    with_two_orders();
    REQUIRE(truncate(path, engine_at + 4096) == 0);
    require_rescued(2);
    with_two_orders();
    REQUIRE(truncate(path, 4096) == 0);
    require_rescued(0);
    with_two_orders();
    REQUIRE(truncate(path, 0) == 0);
    require_rescued(0);
    with_two_orders();
    REQUIRE(truncate(path, (off_t)sizeof(struct ledger_shared) + 4096) == 0);
    require_rescued(2);
}

/* Noise is not taken for orders; a damaged one is: of unknown fate, and its landing time is none.
 */
static void test_noise_and_damaged_slots(void)
{
    struct ledger_slot slots[4];
    struct ledger *ledger;
    const off_t first = (off_t)(offsetof(struct ledger_shared, participants) +
                                sizeof(struct ledger_participant) * ROLE_ENGINE +
                                offsetof(struct ledger_participant, slots));
    int origin;
    int fd;

    with_two_orders();
    damage_byte(0, 1);
    damage_byte(first + (off_t)offsetof(struct ledger_slot, lands_until_ns), 1);
    damage_byte(first + (off_t)sizeof(struct ledger_slot) + 20, 1);
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(ledger_slots(ledger, ROLE_ENGINE, slots, 4) == 2);
    REQUIRE(slots[0].lands_until_ns == LANDS_UNTIL_NONE);
    REQUIRE(ledger_audit(ledger, NULL, 0) == 0);
    ledger_close(ledger);
    remove_kept();
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    for (size_t at = 0; at < sizeof(struct ledger_shared); at += sizeof(uint64_t)) {
        uint64_t noise = (at + 1) * 0x9E3779B97F4A7C15ULL;

        REQUIRE(write(fd, &noise, sizeof noise) == (ssize_t)sizeof noise);
    }
    close(fd);
    REQUIRE(ledger_open_damaged(&ledger, path) == 0);
    REQUIRE(ledger_slots(ledger, ROLE_ENGINE, slots, 4) == 0);
    ledger_close(ledger);
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, ledger_now_ns()) == 0);
    REQUIRE(origin == LEDGER_RESCUED && ledger_state_now(ledger) == LEDGER_HALTED);
    REQUIRE(ledger_slots(ledger, ROLE_BOT, slots, 4) == 0 && ledger_audit(ledger, NULL, 0) == 0);
    ledger_close(ledger);
    remove_kept();
}

/* Whoever still maps the damaged file is halted on it, and a living supervisor keeps its ledger. */
static void test_a_damaged_ledger_in_use(void)
{
    struct ledger *supervisor = fresh();
    struct ledger *engine = joined(ROLE_ENGINE);
    struct ledger *next;
    int origin;
    int status;
    pid_t child;

    send(engine, 101, 100 * USD);
    damage_byte(0, 1);
    child = fork();
    if (child == 0)
        _exit(ledger_create(&next, &origin, path, limit, headroom, 1) == -EEXIST ? 0 : 1);
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    ledger_close(supervisor);
    REQUIRE(ledger_create(&next, &origin, path, limit, headroom, 1) == 0);
    REQUIRE(origin == LEDGER_RESCUED);
    REQUIRE(try_order(engine, 2, 100 * USD, 1) == REJECT_HALTED);
    REQUIRE(ledger_slots(next, ROLE_ENGINE, &(struct ledger_slot){0}, 1) == 1);
    ledger_close(engine);
    ledger_close(next);
    remove_kept();
}

/* Its slots are read and it is halted whatever its header says, and nobody joins it. */
static void test_a_damaged_ledger_is_read_and_halted(void)
{
    struct ledger_slot slots[4];
    struct ledger *ledger;

    for (off_t at = 0; at < 64; at++) {
        with_two_orders();
        damage_byte(at, 0x10);
        REQUIRE(ledger_open(&ledger, path) == -EPROTO);
        REQUIRE(ledger_open_damaged(&ledger, path) == 0);
        REQUIRE(ledger_halt(ledger, HALT_OPERATOR) > 0);
        REQUIRE(ledger_slots(ledger, ROLE_ENGINE, slots, 4) == 2);
        REQUIRE(ledger_slot_is_whole(&slots[0]) && ledger_slot_landing_is_whole(&slots[1]));
        REQUIRE(ledger_join(ledger, ROLE_ENGINE, 1) == -EPROTO);
        ledger_close(ledger);
    }
    remove_kept();
}

/* --- another boot, another layout --- */

static void overwrite(off_t at, const void *data, size_t size)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    REQUIRE(fd >= 0 && pwrite(fd, data, size, at) == (ssize_t)size);
    close(fd);
}

static void test_a_whole_ledger_of_another_boot_is_moved_aside(void)
{
    struct ledger *ledger;
    int origin;

    with_two_orders();
    overwrite((off_t)offsetof(struct ledger_header, boot_id),
              "01234567-89ab-cdef-0123-456789abcdef", 36);
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, 1) == 0);
    REQUIRE(origin == LEDGER_NEW && ledger_state_now(ledger) == LEDGER_INIT && exists(".old"));
    REQUIRE(!exists(".damaged-1") && ledger_slots(ledger, 1, &(struct ledger_slot){0}, 1) == 0);
    ledger_close(ledger);
    remove_kept();
}

/* old_layout: a file as protocol 1 left it, of this boot, with or without an order in it. */
static void old_layout(int order, uint32_t version, off_t size)
{
    struct ledger_header header = {.magic = PROTOCOL_LEDGER_MAGIC, .version = version};
    const uint32_t live = SLOT_LIVE;
    int fd;

    remove_kept();
    header.size = (uint32_t)size;
    header.layout_hash = protocol_layout_hash() ^ 0x5555;
    REQUIRE(ledger_boot_id(header.boot_id) == 0);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
    overwrite(0, &header, offsetof(struct ledger_header, control));
    if (order)
        overwrite(256 + 1 * (192 + 256 * 128) + 192 + 7 * 128, &live, sizeof live);
}

/* An older build ran in this boot: its orders are not lost in silence. */
static void test_an_older_layout_with_orders_halts(void)
{
    const off_t old_size = 256 + 4 * (192 + 256 * 128);
    struct ledger *ledger;
    int origin;

    old_layout(0, 1, old_size);
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, 1) == 0);
    REQUIRE(origin == LEDGER_NEW && ledger_state_now(ledger) == LEDGER_INIT && exists(".old"));
    ledger_close(ledger);
    old_layout(1, 1, old_size);
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, 1) == 0);
    REQUIRE(origin == LEDGER_SUPERSEDED && ledger_state_now(ledger) == LEDGER_HALTED);
    REQUIRE(exists(".old"));
    ledger_close(ledger);
    old_layout(0, 77, 8192); /* of which nobody knows where its orders are */
    REQUIRE(ledger_create(&ledger, &origin, path, limit, headroom, 1) == 0);
    REQUIRE(origin == LEDGER_SUPERSEDED && ledger_state_now(ledger) == LEDGER_HALTED);
    ledger_close(ledger);
    remove_kept();
}

int main(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/test-ledger-damage-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/ledger", folder);
    test_a_state_that_is_none_is_halted();
    test_a_halt_never_fails_for_what_stands_there();
    test_each_flipped_bit_of_the_rights_denies_and_halts();
    test_a_change_never_blesses_damage();
    test_absurd_amounts_deny();
    test_draws_end_at_the_ceiling();
    test_a_flipped_bit_in_the_own_line_makes_no_room();
    test_a_line_state_that_is_none_adds_no_risk();
    test_an_interrupted_change_is_repaired();
    test_each_flipped_bit_of_the_lock_is_survived();
    test_a_lock_of_another_kind_is_not_taken();
    test_a_lock_held_by_nobody_halts();
    test_a_lock_held_by_the_living_is_whole();
    test_a_damaged_header_keeps_its_orders();
    test_a_cut_or_empty_file_keeps_what_is_left();
    test_noise_and_damaged_slots();
    test_a_damaged_ledger_in_use();
    test_a_damaged_ledger_is_read_and_halted();
    test_a_whole_ledger_of_another_boot_is_moved_aside();
    test_an_older_layout_with_orders_halts();
    remove_kept();
    REQUIRE(rmdir(folder) == 0);
    return 0;
}
