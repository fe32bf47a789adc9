/*
 * binance_fields.h: shared by the binance_wire files only: picking named members out of a JSON
 * object and turning their raw text into numbers of ours. A member that is missing or malformed
 * sets `bad`, so that a decoder checks once.
 */
#ifndef PURSER_CONNECTORS_BINANCE_FIELDS_H
#define PURSER_CONNECTORS_BINANCE_FIELDS_H

#include "binance_wire.h"

struct field {
    const char *name;
    struct span *value; /* a string's content, else the value's raw text; start NULL: absent */
};

/* fields_value: the value at the cursor as a span. */
bool fields_value(struct scan *scan, struct span *out);
/* fields_of: reads an object given as a span, to its end; false when it is not exactly one. Of a
 * member that occurs twice the last counts. */
bool fields_of(struct span object, const struct field *fields, size_t count);

/* fields_item: the next item of a list: 1 and its text, 0 at the end, negative when malformed. */
int fields_item(struct scan *list, struct span *out);

int64_t field_int(bool *bad, struct span value);
int64_t field_int_or(bool *bad, struct span value, int64_t when_absent);
/* "0" and absent are 0; excess decimals are rounded half away from zero (amounts only). */
int64_t field_amount(bool *bad, struct span value, int scale);
bool field_bool(bool *bad, struct span value);
uint8_t field_side(bool *bad, struct span value);
/* Exact multiples of the instrument's grid; unset (0) when instrument is NULL. Signed. */
struct price field_price(bool *bad, const struct instrument *instrument, struct span value);
struct quantity field_quantity(bool *bad, const struct instrument *instrument, struct span value);

/* grid_count: mantissa * 10^-decimals as a count of grid steps (each grid_e9 * 1e-9); false when it
 * is not a whole number of them. */
bool grid_count(int64_t *out, int64_t mantissa, int decimals, int64_t grid_e9);

const struct instrument *fields_instrument(const struct binance_symbols *symbols,
                                           const char *symbol, size_t length);

#endif
