/*
 * engine.h: the public C API of libengine, with opaque handles. c_core/build.py feeds this file to
 * cffi (API mode); c_core/engine.py is the Python face of it.
 *
 * An engine runs its duty cycle on a thread of its own. Every other call may come from any thread:
 * what needs the engine's state is carried to its thread and waited for (at most one duty cycle).
 * Text results are sentences that say what to do next.
 */
#ifndef PURSER_ENGINE_API_H
#define PURSER_ENGINE_API_H

#ifndef PURSER_CDEF
#include <stddef.h>
#include <stdint.h>

#include "../../bridge/protocol.h"
#endif

struct purser_engine;
struct purser_book;

#define PURSER_ERROR_TEXT 768

/* --- engine ------------------------------------------------------------------------------------
 */

/* purser_engine_new: mode 0 dry-run, 1 paper, 2 live; home and runtime may be NULL. Returns 0, or
 * an exit code of bin/trader (1 error, 4 configuration or credentials, 8 halted) with a sentence in
 * error. */
int purser_engine_new(struct purser_engine **out, const char *config_path, const char *home,
                      const char *runtime, int mode, char *error);
/* purser_engine_start: begins the duty cycle. 0, or 1 when it runs already. */
int purser_engine_start(struct purser_engine *engine);
/* purser_engine_stop: cancels all orders, waits for the venue's word (3 s at most), ends the
 * thread. Returns its exit code. Harmless when it does not run. */
int purser_engine_stop(struct purser_engine *engine);
void purser_engine_free(struct purser_engine *engine);

/* purser_engine_page: the status page as of now. purser_engine_running: 1 while the thread lives.
 */
void purser_engine_page(struct purser_engine *engine, struct participant_page *out);
int purser_engine_running(struct purser_engine *engine);

struct purser_level {
    int64_t price_e9;
    int64_t quantity_e9;
};

/* purser_engine_depth: up to capacity levels of one side (0 bid, 1 ask), best first; -1: no such
 * symbol. */
int purser_engine_depth(struct purser_engine *engine, const char *symbol, int side,
                        struct purser_level *out, int capacity);

struct purser_order {
    uint64_t client_order_id;
    uint64_t venue_order_id;
    uint16_t venue;
    uint8_t side;
    uint8_t type;
    uint8_t time_in_force;
    uint8_t state; /* enum order_state */
    uint8_t strategy;
    uint8_t cancel_requested;
    char symbol[PROTOCOL_SYMBOL];
    int64_t price_e9;
    int64_t quantity_e9;
    int64_t filled_e9;
};

/* purser_engine_orders: open orders; returns how many were written. */
int purser_engine_orders(struct purser_engine *engine, struct purser_order *out, int capacity);
/* purser_engine_submit: the reject reason (0: sent), and the order's id when it was sent. */
int purser_engine_submit(struct purser_engine *engine, const struct message_new_order *order,
                         uint64_t *client_order_id);
/* purser_engine_cancel: 0: every order. Returns how many cancels were handed over. */
int purser_engine_cancel(struct purser_engine *engine, uint64_t client_order_id);

/* --- order book, by itself ---------------------------------------------------------------------
 */

/* Prices are ticks, quantities lots. purser_book_new: NULL when memory is short. */
struct purser_book *purser_book_new(void);
void purser_book_free(struct purser_book *book);
void purser_book_clear(struct purser_book *book);
/* purser_book_set: 0 lots removes the level; -1 for a negative price or quantity or another side
 * than 0 (bid) and 1 (ask). */
int purser_book_set(struct purser_book *book, int side, int64_t ticks, int64_t lots);
int64_t purser_book_quantity(const struct purser_book *book, int side, int64_t ticks);
int64_t purser_book_levels(const struct purser_book *book, int side);
/* purser_book_best: 1 and the best level of a side, or 0 when it is empty. */
int purser_book_best(const struct purser_book *book, int side, int64_t *ticks, int64_t *lots);
/* purser_book_depth: ticks and lots of up to capacity levels, best first; returns how many. */
int64_t purser_book_depth(const struct purser_book *book, int side, int64_t *ticks, int64_t *lots,
                          int64_t capacity);
int purser_book_is_crossed(const struct purser_book *book);

/* purser_replay_check: replays a recorded capture through the book; 0 when every checkable top was
 * equal. checked and equal receive the counts. */
int purser_replay_check(const char *path, int64_t *checked, int64_t *equal);

/* purser_heap_calls: heap calls seen by a build with -DPURSER_HEAP_TRAP; -1 in other builds. */
int64_t purser_heap_calls(void);

#endif
