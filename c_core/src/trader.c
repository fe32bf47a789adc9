#include "trader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../bridge/allocate.h"
#include "../../bridge/crc32c.h"
#include "../../bridge/instance.h"
#include "access_record.h"
#include "base/clock.h"
#include "base/heap_trap.h"
#include "base/log.h"
#include "connectors/crypto/binance_connector.h"
#include "connectors/polymarket/polymarket_gateway.h"
#include "engine/engine.h"
#include "engine_access.h"
#include "net/tls.h"
#include "telemetry.h"

#define WAIT_MAX_NS   10000000LL  /* of one turn of the event loop */
#define STEADY_NS     100000000LL /* standalone: how often the lease is renewed */
#define LEASE_NS      2000000000LL
#define DRAIN_MAX_NS  3000000000LL
#define GATEWAY_BYTES ((size_t)96 << 20) /* address space; touched as far as it is used */

struct trader {
    struct trader_config config;
    struct engine_paths paths;
    struct engine_access access;
    int mode;
    struct arena arena;
    struct loop loop;
    struct ledger *ledger;
    struct page *page;
    struct engine *engine;
    struct venue *venue;
    struct ipc_client bridge;
    struct ipc_client_events bridge_events;
    struct telemetry *telemetry;
    uint32_t instance, instance_fate;
    bool loop_made, bridge_made, joined;
    bool standalone; /* no supervisor: this process holds the ledger and its own lease */
    int64_t steady_ns, counters_ns;
    struct wall_watch wall_watch; /* standalone */
    bool was_ready;
    /* other threads */
    int wake_fd;
    _Atomic int stopping, running;
    pthread_mutex_t post_mutex;
    pthread_cond_t post_done;
    void (*post_work)(void *context);
    void *post_context;
    _Atomic int post_waiting;
};

__attribute__((format(printf, 3, 4))) static int fail(int result, char *error, const char *format,
                                                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, TRADER_ERROR_TEXT, format, arguments);
    va_end(arguments);
    return result;
}

/* --- the configuration and the world around --------------------------------------------------- */

static int mode_check(const struct trader *t, char *error)
{
    bool live = strcmp(t->config.environment, "live") == 0;
    if ((t->mode == ENGINE_LIVE) != live && t->mode != ENGINE_DRY_RUN)
        return fail(TRADER_CONFIG, error,
                    "--mode %s does not fit %s, whose environment is \"%s\": paper goes with paper "
                    "and testnet, live with live",
                    engine_mode_name(t->mode), t->config.path, t->config.environment);
    return TRADER_OK;
}

/* A latch that cannot be looked at counts as there: only a person may decide otherwise. */
static int latch_check(const struct trader *t, char *error)
{
    struct stat info;
    if (lstat(t->paths.latch, &info) == 0)
        return fail(TRADER_HALTED, error,
                    "trading is halted: %s is there; `control resume` lifts it "
                    "after a look at the positions",
                    t->paths.latch);
    if (errno != ENOENT)
        return fail(TRADER_HALTED, error,
                    "the halt latch %s cannot be looked at (%s), so trading "
                    "counts as halted; make its folder readable",
                    t->paths.latch, strerror(errno));
    return TRADER_OK;
}

/* Which Purser this is: without an answer no order could be told from another's. */
static int instance_take(struct trader *t, char *error)
{
    int status = instance_read(&t->instance, &t->instance_fate, t->paths.home);
    if (status == 0)
        return TRADER_OK;
    return fail(TRADER_CONFIG, error,
                "%s/" INSTANCE_FILE " cannot be read or made (%s): it tells this Purser's orders "
                "from others' on the account; it must be a file of this user in a folder that can "
                "be written",
                t->paths.home, strerror(-status));
}

static int world_read(struct trader *t, const struct trader_options *options, char *error)
{
    char text[CONFIG_ERROR] = "";
    t->mode = options->mode;
    if (trader_config_load(&t->config, options->config_path, text) != STATUS_OK)
        return fail(TRADER_CONFIG, error, "%s", text);
    int result = mode_check(t, error);
    if (result != TRADER_OK)
        return result;
    if (engine_paths_resolve(&t->paths, options->home, options->runtime, t->mode, text) !=
        STATUS_OK)
        return fail(TRADER_CONFIG, error, "%s", text);
    result = latch_check(t, error);
    if (result == TRADER_OK)
        result = instance_take(t, error);
    if (result != TRADER_OK)
        return result;
    if (engine_access_resolve(&t->access, &t->config, &t->paths, options->simulator_wait_ms,
                              text) != STATUS_OK)
        return fail(TRADER_CONFIG, error, "%s", text);
    log_redact(t->access.api_key);
    log_redact(t->access.api_secret);
    return TRADER_OK;
}

/* A test on paper may shift the clocks of all processes (bridge/wall_clock.h). */
static int clock_take(const struct trader *t, char *error)
{
    const char *path = getenv("PURSER_TEST_CLOCK");
    if (path == NULL || path[0] == '\0')
        return TRADER_OK;
    if (t->mode == ENGINE_LIVE)
        return fail(TRADER_CONFIG, error,
                    "PURSER_TEST_CLOCK shifts all clocks and is for tests on paper; unset it to "
                    "trade live");
    int status = clock_shift_follow(path);
    if (status != 0)
        return fail(TRADER_CONFIG, error,
                    "PURSER_TEST_CLOCK=%s cannot be used (%s); it needs 32 bytes, or unset it",
                    path, strerror(-status));
    return TRADER_OK;
}

/* --- the ledger ------------------------------------------------------------------------------- */

/* The supervisor says so to the processes that it starts; such an engine never makes a ledger, not
 * even when its supervisor has just died. Started by hand, the engine still joins the ledger of a
 * supervisor that lives (ledger_make). */
static bool supervised(void)
{
    return getenv("PURSER_SUPERVISED") != NULL;
}

/* Without a supervisor, and on paper only, the engine makes the ledger with the limits of the
 * budget.json that lies beside its own configuration. */
static int ledger_make(struct trader *t, char *error)
{
    struct engine_budget budget;
    char path[CONFIG_PATH + 32], text[CONFIG_ERROR];
    int adopted = 0;
    const char *slash = strrchr(t->config.path, '/');
    snprintf(path, sizeof path, "%.*s/budget.json",
             slash != NULL ? (int)(slash - t->config.path) : 1,
             slash != NULL ? t->config.path : ".");
    if (engine_budget_load(&budget, path, text) != STATUS_OK)
        return fail(TRADER_CONFIG, error, "%s", text);
    int status = ledger_create(&t->ledger, &adopted, t->paths.ledger, budget.limit_micros,
                               budget.headroom_micros, ledger_now_ns());
    if (status == -EEXIST)
        return TRADER_OK; /* a supervisor was faster */
    if (status != 0)
        return fail(TRADER_ERROR, error, "the ledger %s cannot be made: %s", t->paths.ledger,
                    strerror(-status));
    if (adopted && ledger_state_now(t->ledger) == LEDGER_HALTED)
        return fail(TRADER_HALTED, error, "the ledger %s is halted; `control resume` lifts it",
                    t->paths.ledger);
    t->standalone = true;
    return TRADER_OK;
}

/* After the join, so that an engine that another one keeps out does not overwrite the other's. */
static int access_record(struct trader *t, char *error)
{
    char text[CONFIG_ERROR];
    uint64_t fingerprint = 0;
    if (access_record_write(&fingerprint, &t->paths, &t->access, &t->config, t->mode,
                            ledger_generation(t->ledger), text) != STATUS_OK)
        return fail(TRADER_ERROR, error, "%s", text);
    ledger_set_access(t->ledger, fingerprint);
    return TRADER_OK;
}

static int ledger_take(struct trader *t, char *error)
{
    if (!supervised()) {
        if (t->mode == ENGINE_LIVE)
            return fail(TRADER_CONFIG, error,
                        "live trading needs the supervisor, which holds the "
                        "shared risk budget; this release starts paper only");
        int result = ledger_make(t, error);
        if (result != TRADER_OK)
            return result;
    }
    int status = t->ledger != NULL ? 0 : ledger_open(&t->ledger, t->paths.ledger);
    if (status != 0)
        return fail(TRADER_ERROR, error, "the ledger %s cannot be used (%s); run `control doctor`",
                    t->paths.ledger, strerror(-status));
    if (t->standalone) {
        ledger_heartbeat_supervisor(t->ledger, ledger_now_ns(), ledger_now_ns() + LEASE_NS);
        ledger_lead_alone(t->ledger, &t->wall_watch, clock_wall_ns(), clock_now_ns(),
                          clock_mono_ns());
    }
    status = ledger_join(t->ledger, ROLE_ENGINE, ledger_now_ns());
    if (status == -EBUSY) {
        struct ledger_view view;
        ledger_snapshot(t->ledger, &view, ledger_now_ns());
        return fail(TRADER_ERROR, error,
                    "another engine (process %lld) is running on %s; end it with "
                    "`control stop`, or give this one another --runtime",
                    (long long)view.participants[ROLE_ENGINE].pid, t->paths.runtime);
    }
    if (status != 0)
        return fail(TRADER_ERROR, error, "the ledger %s refused the engine: %s", t->paths.ledger,
                    strerror(-status));
    t->joined = true;
    return access_record(t, error);
}

static void halt_on_bug(void *context)
{
    struct trader *t = context;
    if (t->ledger != NULL)
        ledger_halt(t->ledger, HALT_BUG);
}

/* --- building --------------------------------------------------------------------------------- */

/* Which machine: a part of the client order ids of release 0.1.0, by which its orders are known. */
static uint16_t host_number(void)
{
    char text[64] = "purser";
    FILE *file = fopen("/etc/machine-id", "r");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) == NULL)
            snprintf(text, sizeof text, "purser");
        fclose(file);
    }
    return (uint16_t)(crc32c(text, strcspn(text, "\n")) & 0xffff);
}

static char environment_letter(const struct trader_config *config)
{
    return config->environment[0]; /* paper, testnet, live */
}

static int venue_make(struct trader *t, char *error)
{
    struct binance_settings settings = {
        .rest = t->access.rest,
        .streams = t->access.streams,
        .ws_api = t->access.ws_api,
        .ca_file = t->access.ca_file,
        .api_key = t->access.api_key,
        .api_secret = t->access.api_secret,
        .environment = environment_letter(&t->config),
        .instance = t->instance,
        .host = host_number(),
        .recv_window_ms = t->config.session.recv_window_ms,
        .dead_man_timeout_ms = t->config.session.dead_man_timeout_s * 1000,
        .stale_ms = t->config.risk.stale_ms,
        .symbols_count = t->config.symbols_count,
    };
    for (int i = 0; i < t->config.symbols_count; i++) {
        const struct config_symbol *from = &t->config.symbols[i];
        struct binance_symbol_settings *to = &settings.symbols[i];
        snprintf(to->symbol, sizeof to->symbol, "%s", from->symbol);
        to->shock_ppm = from->shock_ppm;
        to->maker_fee_ppm = from->maker_fee_ppm;
        to->taker_fee_ppm = from->taker_fee_ppm;
    }
    int status = binance_connector_new(&t->venue, &t->arena, &settings);
    explicit_bzero(t->access.api_secret, sizeof t->access.api_secret);
    if (status != STATUS_OK)
        return fail(TRADER_CONFIG, error, "%s", status_text());
    return TRADER_OK;
}

static struct engine_config engine_settings(const struct trader *t)
{
    const struct trader_config *c = &t->config;
    return (struct engine_config){
        .mode = (uint32_t)t->mode,
        .journal_folder = t->paths.journal,
        .journal_segment_bytes = (size_t)c->session.journal_segment_kb * 1024,
        .risk =
            {
                .max_order_quantity_e9 = c->risk.max_order_quantity_e9,
                .max_order_notional_micros = c->risk.max_order_notional_micros,
                .max_position_e9 = c->risk.max_position_e9,
                .price_collar_ppm = c->risk.price_collar_ppm,
                .stale_ns = c->risk.stale_ms * CLOCK_NS_PER_MS,
                .daily_loss_micros = c->risk.daily_loss_micros,
                .ack_timeout_ns = (c->session.recv_window_ms + 1500) * CLOCK_NS_PER_MS,
                .max_open_orders = (int)c->risk.max_open_orders,
                .orders_per_10s = (int)c->risk.orders_per_10s,
            },
        .quoter =
            {
                .enabled = c->quoter.enabled,
                .quantity_e9 = c->quoter.quantity_e9,
                .max_position_e9 = c->quoter.max_position_e9,
                .spread_ticks = (int)c->quoter.spread_ticks,
                .requote_ticks = (int)c->quoter.requote_ticks,
                .levels = (int)c->quoter.levels,
            },
        .signal =
            {
                .enabled = c->signal.enabled,
                .interval_ns = c->signal.interval_ms * CLOCK_NS_PER_MS,
                .half_life_ns = c->signal.volatility_half_life_s * CLOCK_NS_PER_S,
                .volatility_floor_e9 = c->signal.volatility_floor_ppm * 1000,
            },
        .hedger =
            {
                .enabled = c->hedger.enabled,
                .max_position_e9 = c->hedger.max_position_e9,
                .min_order_e9 = c->hedger.min_order_e9,
                .collar_ppm = c->hedger.collar_ppm,
                .interval_ns = c->hedger.interval_ms * CLOCK_NS_PER_MS,
            },
    };
}

static void bridge_send(void *context, uint16_t kind, const void *body, uint32_t size)
{
    struct trader *t = context;
    ipc_client_send(&t->bridge, kind, body, size, clock_now_ns());
}

static void on_hedge(void *context, const struct message_hedge *hedge, int64_t now_ns)
{
    struct trader *t = context;
    (void)now_ns;
    engine_hedge(t->engine, hedge);
}

static void on_bridge(void *context, bool connected, const char *reason, int64_t now_ns)
{
    struct trader *t = context;
    (void)now_ns;
    if (connected) {
        log_event(LOG_INFO, "bridge_connected", "%s", t->bridge.path);
        return;
    }
    log_event(LOG_WARNING, "bridge_lost", "%s", reason);
    engine_hedge_withdraw(t->engine);
}

static void on_halt(void *context, const struct message_halt *halt, int64_t now_ns)
{
    struct trader *t = context;
    (void)now_ns;
    ledger_halt(t->ledger, halt->reason);
}

static int bridge_make(struct trader *t, char *error)
{
    struct engine_bridge bridge = {.context = t, .send = bridge_send};
    if (ipc_client_init(&t->bridge, &t->loop, t->paths.bridge_socket, (uint32_t)t->mode) !=
        STATUS_OK)
        return fail(TRADER_ERROR, error, "%s", status_text());
    t->bridge_made = true;
    t->bridge_events = (struct ipc_client_events){
        .context = t,
        .on_hedge = on_hedge,
        .on_halt = on_halt,
        .on_connection = on_bridge,
    };
    ipc_client_listen(&t->bridge, &t->bridge_events);
    engine_attach_bridge(t->engine, &bridge);
    struct venue *gateway = polymarket_gateway_new(&t->arena, &t->bridge);
    if (!engine_add_venue(t->engine, gateway, true))
        return fail(TRADER_ERROR, error, "the engine's venue table is full");
    gateway->operations->start(gateway, &t->loop, clock_now_ns());
    return TRADER_OK;
}

static int engine_make(struct trader *t, char *error)
{
    struct engine_config settings = engine_settings(t);
    struct participant_page *previous = ALLOCATE(struct participant_page);
    int status = previous != NULL ? page_create(&t->page, t->paths.page, previous) : -ENOMEM;
    if (status == 0 && (t->engine = engine_new(&settings)) != NULL) {
        engine_attach_ledger(t->engine, t->ledger);
        engine_attach_page(t->engine, t->page, previous);
    }
    free(previous);
    if (status != 0)
        return fail(TRADER_ERROR, error, "the status page %s cannot be made: %s", t->paths.page,
                    strerror(-status));
    if (t->engine == NULL)
        return fail(TRADER_ERROR, error, "%s", status_text());
    if (!engine_add_venue(t->engine, t->venue, false))
        return fail(TRADER_ERROR, error, "the engine's venue table is full");
    return TRADER_OK;
}

static void on_wake(void *context, uint32_t events, int64_t now_ns)
{
    struct trader *t = context;
    uint64_t count;
    (void)events;
    (void)now_ns;
    ssize_t size = read(t->wake_fd, &count, sizeof count);
    (void)size;
}

static int parts_make(struct trader *t, char *error)
{
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0 || loop_init(&t->loop) != STATUS_OK)
        return fail(TRADER_ERROR, error, "the event loop cannot be made: %s", strerror(errno));
    t->loop_made = true;
    loop_watch(&t->loop, t->wake_fd, EPOLLIN, on_wake, t);
    size_t size = binance_connector_bytes(t->config.symbols_count) + GATEWAY_BYTES;
    if (arena_init(&t->arena, size) != STATUS_OK)
        return fail(TRADER_ERROR, error, "%s", status_text());
    int result = venue_make(t, error);
    if (result == TRADER_OK)
        result = engine_make(t, error);
    if (result == TRADER_OK &&
        t->venue->operations->start(t->venue, &t->loop, clock_now_ns()) != STATUS_OK)
        result = fail(TRADER_CONFIG, error, "%s", status_text());
    if (result == TRADER_OK)
        result = bridge_make(t, error);
    if (result != TRADER_OK)
        return result;
    arena_seal(&t->arena);
    if (telemetry_start(&t->telemetry, t->engine, t->paths.pub) != STATUS_OK)
        return fail(TRADER_ERROR, error, "%s", status_text());
    return TRADER_OK;
}

int trader_create(struct trader **out, const struct trader_options *options,
                  char error[TRADER_ERROR_TEXT])
{
    struct trader *t = ALLOCATE(struct trader);
    *out = NULL;
    if (t == NULL)
        return fail(TRADER_ERROR, error, "no memory");
    t->wake_fd = -1;
    pthread_mutex_init(&t->post_mutex, NULL);
    pthread_cond_init(&t->post_done, NULL);
    int result = TRADER_OK;
    if (tls_global_init() != STATUS_OK && !options->embedded) /* before anything uses OpenSSL */
        result = fail(TRADER_ERROR, error, "%s", status_text());
    if (result == TRADER_OK)
        result = world_read(t, options, error);
    if (result == TRADER_OK)
        result = clock_take(t, error);
    if (result == TRADER_OK)
        result = ledger_take(t, error);
    if (result == TRADER_OK) {
        check_on_failure(halt_on_bug, t);
        result = parts_make(t, error);
    }
    if (result != TRADER_OK) {
        trader_free(t);
        return result;
    }
    *out = t;
    return TRADER_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Standalone: what the supervisor would do: renew the lease, and let trading begin once the engine
 * has reconciled. */
static void standalone_turn(struct trader *t, int64_t now_ns)
{
    struct ledger_view view;
    if (!t->standalone || now_ns < t->steady_ns)
        return;
    t->steady_ns = now_ns + STEADY_NS;
    ledger_lead_alone(t->ledger, &t->wall_watch, clock_wall_ns(), now_ns, clock_mono_ns());
    ledger_heartbeat_supervisor(t->ledger, now_ns, now_ns + LEASE_NS);
    if (ledger_state_now(t->ledger) != LEDGER_INIT)
        return;
    ledger_snapshot(t->ledger, &view, now_ns);
    if (view.participants[ROLE_ENGINE].reconciled_ns != 0) {
        ledger_set_state(t->ledger, LEDGER_ACTIVE, HALT_NONE, 0);
        log_event(LOG_INFO, "trading_started", "standalone, on the engine's own ledger");
    }
}

static void post_turn(struct trader *t)
{
    if (!atomic_load_explicit(&t->post_waiting, memory_order_acquire))
        return;
    pthread_mutex_lock(&t->post_mutex);
    if (t->post_work != NULL)
        t->post_work(t->post_context);
    t->post_work = NULL;
    atomic_store(&t->post_waiting, 0);
    pthread_cond_broadcast(&t->post_done);
    pthread_mutex_unlock(&t->post_mutex);
}

/* What is counted outside of the engine, for the status page. */
static void counters_turn(struct trader *t, int64_t now_ns)
{
    if (now_ns < t->counters_ns)
        return;
    t->counters_ns = now_ns + STEADY_NS;
    const struct binance_counters *c = binance_connector_counters(t->venue);
    engine_set_counter(t->engine, COUNTER_HEAP_CALLS, heap_trap_calls());
    engine_set_counter(t->engine, COUNTER_HEAP_SECTIONS, heap_trap_sections());
    engine_set_counter(t->engine, COUNTER_FRAMES, c->frames);
    engine_set_counter(t->engine, COUNTER_MALFORMED_FRAMES, c->malformed_frames);
    engine_set_counter(t->engine, COUNTER_TOP_CHECKS, c->top_checks);
    engine_set_counter(t->engine, COUNTER_TOP_MISMATCHES, c->top_mismatches);
    engine_set_counter(t->engine, COUNTER_STREAM_STALLS, c->stalls);
    engine_set_counter(t->engine, COUNTER_REQUEST_TIMEOUTS, c->timeouts);
    engine_set_counter(t->engine, COUNTER_DEAD_MAN_ACKS, c->dead_man_acks);
    engine_set_counter(t->engine, COUNTER_BRIDGE_DROPPED, t->bridge.dropped);
}

/* Waits until something has arrived or is due. The loop itself is run by the connector, in its
 * turn, so that all that arrives is worked on with the time of that turn. */
static void turn_wait(struct trader *t)
{
    int64_t now_ns = clock_now_ns();
    int64_t wait_ns = engine_deadline_ns(t->engine) - now_ns;
    if (wait_ns > t->loop.next_timer_ns - now_ns)
        wait_ns = t->loop.next_timer_ns - now_ns;
    if (wait_ns > WAIT_MAX_NS)
        wait_ns = WAIT_MAX_NS;
    if (wait_ns <= 0 || t->config.session.busy_poll)
        return;
    struct pollfd wanted = {.fd = t->loop.epoll_fd, .events = POLLIN};
    struct timespec timeout = {.tv_nsec = wait_ns};
    ppoll(&wanted, 1, &timeout, NULL);
}

/* duty_cycle: one turn; returns the work done: when there was some, the next one comes at once. */
static int duty_cycle(struct trader *t)
{
    int64_t now_ns = clock_now_ns();
    int work = ipc_client_do_work(&t->bridge, now_ns);
    bool steady = t->venue->session_state == SESSION_READY;
    if (steady) {
        t->was_ready = true;
        heap_trap_arm();
    }
    work += engine_do_work(t->engine, now_ns);
    if (steady)
        heap_trap_disarm();
    standalone_turn(t, now_ns);
    counters_turn(t, now_ns);
    post_turn(t);
    return work;
}

static void drain(struct trader *t)
{
    int64_t deadline_ns = clock_now_ns() + DRAIN_MAX_NS;
    engine_drain(t->engine);
    while (!engine_drained(t->engine) && clock_now_ns() < deadline_ns)
        if (duty_cycle(t) == 0)
            turn_wait(t);
    if (!engine_drained(t->engine))
        log_event(LOG_ERROR, "orders_left_open",
                  "the venue confirmed not every cancel within 3 s; "
                  "its dead-man switch cancels the rest");
}

/* Who finds a new id here is told why orders of before are no longer taken for ours. */
static void instance_say(const struct trader *t)
{
    static const char *const why[] = {
        [INSTANCE_KEPT] = "this home's own",
        [INSTANCE_MADE] = "new: the home had none",
        [INSTANCE_COPIED] = "new: the home is a copy, or was restored or moved to another disk",
        [INSTANCE_DAMAGED] = "new: the old one could not be read",
    };
    CHECK(t->instance_fate < sizeof why / sizeof why[0]);
    bool loud = t->instance_fate >= INSTANCE_COPIED;
    log_event(loud ? LOG_WARNING : LOG_INFO, "instance_known", "%08x, %s", (unsigned)t->instance,
              why[t->instance_fate]);
    if (loud)
        engine_say(t->engine, EVENT_WARNING, VENUE_NONE, 0, 0, "instance_changed",
                   "instance %08x is %s; orders of the old id are another Purser's",
                   (unsigned)t->instance, why[t->instance_fate]);
}

int trader_run(struct trader *t)
{
    int result = TRADER_OK;
    atomic_store(&t->running, 1);
    instance_say(t);
    log_event(LOG_INFO, "engine_started", "%s, %s, %s", engine_mode_name(t->mode), t->config.path,
              t->standalone ? "standalone" : "supervised");
    while (!atomic_load_explicit(&t->stopping, memory_order_relaxed)) {
        if (duty_cycle(t) == 0)
            turn_wait(t);
        if (!t->was_ready && binance_connector_refused(t->venue)) {
            log_event(LOG_ERROR, "venue_refused_key", "%s", t->venue->text);
            result = TRADER_CONFIG;
            break;
        }
    }
    if (result == TRADER_OK)
        drain(t);
    engine_publish(t->engine, clock_now_ns());
    pthread_mutex_lock(&t->post_mutex); /* so that no post comes after the last look at it */
    atomic_store(&t->running, 0);
    pthread_mutex_unlock(&t->post_mutex);
    post_turn(t);
    log_event(LOG_INFO, "engine_stopped", "exit code %d", result);
    return result;
}

void trader_stop(struct trader *t)
{
    uint64_t one = 1;
    atomic_store(&t->stopping, 1);
    ssize_t size = write(t->wake_fd, &one, sizeof one);
    (void)size;
}

bool trader_post(struct trader *t, void (*work)(void *context), void *context)
{
    uint64_t one = 1;
    bool done = false;
    pthread_mutex_lock(&t->post_mutex);
    while (t->post_work != NULL)
        pthread_cond_wait(&t->post_done, &t->post_mutex);
    if (atomic_load(&t->running)) {
        t->post_work = work;
        t->post_context = context;
        atomic_store(&t->post_waiting, 1);
        ssize_t size = write(t->wake_fd, &one, sizeof one);
        (void)size;
        while (t->post_work == work)
            pthread_cond_wait(&t->post_done, &t->post_mutex);
        done = true;
    }
    pthread_mutex_unlock(&t->post_mutex);
    return done;
}

struct engine *trader_engine(struct trader *t)
{
    return t->engine;
}

void trader_free(struct trader *t)
{
    if (t == NULL)
        return;
    telemetry_stop(t->telemetry);
    if (t->venue != NULL) /* before the engine: it still has something to tell */
        binance_connector_free(t->venue);
    if (t->engine != NULL)
        engine_free(t->engine);
    if (t->bridge_made)
        ipc_client_fini(&t->bridge);
    if (t->ledger != NULL) {
        check_on_failure(NULL, NULL);
        if (t->joined)
            ledger_leave(t->ledger);
        ledger_close(t->ledger);
    }
    if (t->page != NULL)
        page_close(t->page);
    if (t->loop_made)
        loop_fini(&t->loop);
    if (t->wake_fd >= 0)
        close(t->wake_fd);
    arena_fini(&t->arena);
    pthread_mutex_destroy(&t->post_mutex);
    pthread_cond_destroy(&t->post_done);
    free(t);
}
