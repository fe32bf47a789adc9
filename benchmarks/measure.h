/*
 * measure.h: how every program here takes its times. The rows of a table run one after the other,
 * again and again, and each keeps its fastest turn: on a machine with neighbours the minimum
 * repeats within a few per cent where a mean does not, and rows that ran side by side can be
 * compared. Times are CLOCK_MONOTONIC.
 */
#ifndef PURSER_BENCHMARKS_MEASURE_H
#define PURSER_BENCHMARKS_MEASURE_H

#include <stdint.h>

/* One row: run does `units` pieces of work in one turn. */
struct measured {
    const char *name;
    void (*run)(void *context);
    void *context;
    int64_t units;
    double best_ns;  /* a piece, the fastest turn; 0: no turn yet */
    int compared_to; /* the row that the ratio is to; -1: none */
    double aim;      /* the ratio or, without such a row, the nanoseconds aimed at; 0: none */
};

#define MEASURE_TURNS 40

/* measure_rows: runs all rows MEASURE_TURNS times, interleaved, after one turn to warm up. */
void measure_rows(struct measured *rows, int count);

/* measure_print: one line a row: name, nanoseconds a piece, the ratio, and the aim. */
void measure_print(const struct measured *rows, int count, const char *title);

/* measure_stop_if: ends the program with a sentence when its surroundings do not work. */
void measure_stop_if(int failed, const char *sentence);

#endif
