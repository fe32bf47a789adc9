#include "../include/engine.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bridge/allocate.h"
#include "base/clock.h"
#include "base/heap_trap.h"
#include "book/capture_check.h"
#include "connectors/crypto/binance_wire.h"
#include "engine/engine.h"
#include "trader.h"

struct purser_engine {
    struct trader *trader;
    pthread_t thread;
    _Atomic int running;
    bool thread_made;
    int result;
};

/* What a posted piece of work needs and answers. */
struct request {
    struct purser_engine *engine;
    const char *symbol;
    int side, capacity, answer;
    struct purser_level *levels;
    struct purser_order *orders;
    const struct message_new_order *order;
    uint64_t client_order_id;
    struct participant_page *page;
};

int purser_engine_new(struct purser_engine **out, const char *config_path, const char *home,
                      const char *runtime, int mode, char *error)
{
    struct trader_options options = {
        .mode = mode,
        .config_path = config_path,
        .home = home,
        .runtime = runtime,
        .simulator_wait_ms = 5000,
        .embedded = true,
    };
    struct purser_engine *engine = ALLOCATE(struct purser_engine);
    *out = NULL;
    if (engine == NULL) {
        snprintf(error, PURSER_ERROR_TEXT, "no memory");
        return TRADER_ERROR;
    }
    int result = trader_create(&engine->trader, &options, error);
    if (result != TRADER_OK) {
        free(engine);
        return result;
    }
    *out = engine;
    return TRADER_OK;
}

static void *engine_thread(void *context)
{
    struct purser_engine *engine = context;
    engine->result = trader_run(engine->trader);
    atomic_store(&engine->running, 0);
    return NULL;
}

int purser_engine_start(struct purser_engine *engine)
{
    sigset_t all, before;
    if (engine->thread_made)
        return TRADER_ERROR;
    atomic_store(&engine->running, 1);
    sigfillset(&all); /* signals belong to the host program's own thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    engine->thread_made = pthread_create(&engine->thread, NULL, engine_thread, engine) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!engine->thread_made)
        atomic_store(&engine->running, 0);
    return engine->thread_made ? TRADER_OK : TRADER_ERROR;
}

int purser_engine_stop(struct purser_engine *engine)
{
    if (!engine->thread_made)
        return TRADER_OK;
    trader_stop(engine->trader);
    pthread_join(engine->thread, NULL);
    engine->thread_made = false;
    return engine->result;
}

void purser_engine_free(struct purser_engine *engine)
{
    if (engine == NULL)
        return;
    purser_engine_stop(engine);
    trader_free(engine->trader);
    free(engine);
}

int purser_engine_running(struct purser_engine *engine)
{
    return atomic_load(&engine->running);
}

/* ask: on the engine's thread while it runs, else here: then nobody else touches the engine. */
static void ask(struct request *request, void (*work)(void *context))
{
    if (!trader_post(request->engine->trader, work, request))
        work(request);
}

static void page_work(void *context)
{
    struct request *request = context;
    struct engine *engine = trader_engine(request->engine->trader);
    engine_publish(engine, clock_now_ns());
    *request->page = *engine_page(engine);
}

void purser_engine_page(struct purser_engine *engine, struct participant_page *out)
{
    struct request request = {.engine = engine, .page = out};
    ask(&request, page_work);
}

static const struct engine_market *market_by_symbol(const struct engine *engine, const char *symbol)
{
    for (int i = 0; i < engine_market_count(engine); i++) {
        const struct engine_market *market = engine_market_at(engine, i);
        if (strncmp(market->instrument->symbol, symbol, PROTOCOL_SYMBOL) == 0)
            return market;
    }
    return NULL;
}

static void depth_work(void *context)
{
    struct request *request = context;
    struct engine *engine = trader_engine(request->engine->trader);
    const struct engine_market *market = market_by_symbol(engine, request->symbol);
    struct book_level level[256];
    request->answer = -1;
    if (market == NULL)
        return;
    struct order_book *book = market->venue->book(market->venue, market->instrument->index);
    size_t capacity = request->capacity < 256 ? (size_t)request->capacity : 256;
    size_t count =
        order_book_depth(book, request->side == 0 ? BOOK_BID : BOOK_ASK, level, capacity);
    for (size_t i = 0; i < count; i++)
        request->levels[i] =
            (struct purser_level){instrument_price_e9(market->instrument, level[i].price),
                                  instrument_quantity_e9(market->instrument, level[i].quantity)};
    request->answer = (int)count;
}

int purser_engine_depth(struct purser_engine *engine, const char *symbol, int side,
                        struct purser_level *out, int capacity)
{
    struct request request = {
        .engine = engine, .symbol = symbol, .side = side, .levels = out, .capacity = capacity};
    if (capacity <= 0 || (side != 0 && side != 1))
        return -1;
    ask(&request, depth_work);
    return request.answer;
}

static void orders_work(void *context)
{
    struct request *request = context;
    static struct order orders[512]; /* on the engine's thread, or alone */
    int capacity = request->capacity < 512 ? request->capacity : 512;
    int count = engine_open_orders(trader_engine(request->engine->trader), orders, capacity);
    for (int i = 0; i < count; i++) {
        const struct order *order = &orders[i];
        struct purser_order *out = &request->orders[i];
        *out = (struct purser_order){
            .client_order_id = order->client_order_id,
            .venue_order_id = order->venue_order_id,
            .venue = order->instrument->venue,
            .side = order->side,
            .type = order->type,
            .time_in_force = order->time_in_force,
            .state = order->state,
            .strategy = order->strategy,
            .cancel_requested = order->cancel_requested,
            .price_e9 = instrument_price_e9(order->instrument, order->price),
            .quantity_e9 = instrument_quantity_e9(order->instrument, order->quantity),
            .filled_e9 = instrument_quantity_e9(order->instrument, order->filled),
        };
        memcpy(out->symbol, order->instrument->symbol, sizeof out->symbol);
    }
    request->answer = count;
}

int purser_engine_orders(struct purser_engine *engine, struct purser_order *out, int capacity)
{
    struct request request = {.engine = engine, .orders = out, .capacity = capacity};
    if (capacity <= 0)
        return 0;
    ask(&request, orders_work);
    return request.answer;
}

static void submit_work(void *context)
{
    struct request *request = context;
    request->answer = engine_submit(trader_engine(request->engine->trader), request->order,
                                    &request->client_order_id);
}

int purser_engine_submit(struct purser_engine *engine, const struct message_new_order *order,
                         uint64_t *client_order_id)
{
    struct request request = {.engine = engine, .order = order};
    ask(&request, submit_work);
    *client_order_id = request.client_order_id;
    return request.answer;
}

static void cancel_work(void *context)
{
    struct request *request = context;
    request->answer =
        engine_cancel(trader_engine(request->engine->trader), request->client_order_id);
}

int purser_engine_cancel(struct purser_engine *engine, uint64_t client_order_id)
{
    struct request request = {.engine = engine, .client_order_id = client_order_id};
    ask(&request, cancel_work);
    return request.answer;
}

/* --- order book --------------------------------------------------------------------------------
 */

struct purser_book {
    struct arena arena;
    struct order_book book;
};

struct purser_book *purser_book_new(void)
{
    struct purser_book *book = ALLOCATE(struct purser_book);
    if (book != NULL && arena_init(&book->arena, (size_t)8 << 20) != STATUS_OK) {
        free(book);
        return NULL;
    }
    if (book != NULL)
        order_book_init(&book->book, &book->arena);
    return book;
}

void purser_book_free(struct purser_book *book)
{
    if (book == NULL)
        return;
    arena_fini(&book->arena);
    free(book);
}

void purser_book_clear(struct purser_book *book)
{
    order_book_clear(&book->book);
}

static enum book_side side_of(int side)
{
    return side == 0 ? BOOK_BID : BOOK_ASK;
}

int purser_book_set(struct purser_book *book, int side, int64_t ticks, int64_t lots)
{
    if ((side != 0 && side != 1) || ticks < 0 || lots < 0)
        return -1;
    order_book_set(&book->book, side_of(side), (struct price){ticks}, (struct quantity){lots});
    return 0;
}

int64_t purser_book_quantity(const struct purser_book *book, int side, int64_t ticks)
{
    return order_book_quantity(&book->book, side_of(side), (struct price){ticks}).lots;
}

int64_t purser_book_levels(const struct purser_book *book, int side)
{
    return (int64_t)order_book_levels(&book->book, side_of(side));
}

int purser_book_best(const struct purser_book *book, int side, int64_t *ticks, int64_t *lots)
{
    return purser_book_depth(book, side, ticks, lots, 1) == 1;
}

int64_t purser_book_depth(const struct purser_book *book, int side, int64_t *ticks, int64_t *lots,
                          int64_t capacity)
{
    struct book_level levels[256];
    size_t wanted = capacity < 256 ? (size_t)(capacity < 0 ? 0 : capacity) : 256;
    size_t count = order_book_depth(&book->book, side_of(side), levels, wanted);
    for (size_t i = 0; i < count; i++) {
        ticks[i] = levels[i].price.ticks;
        lots[i] = levels[i].quantity.lots;
    }
    return (int64_t)count;
}

int purser_book_is_crossed(const struct purser_book *book)
{
    return order_book_is_crossed(&book->book);
}

int purser_replay_check(const char *path, int64_t *checked, int64_t *equal)
{
    struct capture_result result;
    *checked = 0;
    *equal = 0;
    if (capture_check_run(&result, path, &binance_capture_decoder) != STATUS_OK)
        return -1;
    *checked = result.checked;
    *equal = result.equal;
    return result.checked > 0 && result.checked == result.equal ? 0 : 1;
}

int64_t purser_heap_calls(void)
{
    return heap_trap_built() ? heap_trap_calls() : -1;
}
