/*
 * decimal.h: decimal text to and from an int64 scaled by a power of ten, exactly. Venues send
 * prices as text; a double never touches them. `scale` is the number of decimals that the integer
 * carries: "64250.10" at scale 9 is 64250100000000.
 */
#ifndef PURSER_BASE_DECIMAL_H
#define PURSER_BASE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_SCALE_MAX 18
#define DECIMAL_TEXT_MAX  24 /* bytes that decimal_format needs at most, NUL included */

/* decimal_parse: false, leaving *out alone, unless text is [-]digits[.digits] in full (no exponent,
 * sign +, blank, NaN, lone point) and its value fits exactly: more decimals than scale are accepted
 * only when the excess ones are zero. */
bool decimal_parse(int64_t *out, const char *text, size_t length, int scale);

/* decimal_parse_half_up: the same, but rounds excess decimals half away from zero. For amounts that
 * the venue itself rounds (averages, realised P&L), never for prices or quantities. */
bool decimal_parse_half_up(int64_t *out, const char *text, size_t length, int scale);

/* decimal_format: writes value with exactly `decimals` digits after the point (no point when 0),
 * NUL-terminated, and returns the length. decimals <= scale, and the digits that are cut must be
 * zero: cutting others is a bug (CHECK), because the text would say another number. */
size_t decimal_format(char out[DECIMAL_TEXT_MAX], int64_t value, int scale, int decimals);

/* decimal_power: 10^exponent for 0..18. */
int64_t decimal_power(int exponent);

#endif
