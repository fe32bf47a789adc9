/*
 * scan.h: reading JSON in one pass over the received bytes, without allocation or copies. It is a
 * cursor: the caller asks for what it expects, in the order of the text. Any mismatch sets `failed`
 * and every later call then returns false, so a decoder checks once, at its end.
 *
 * Two ways to use it. Positional: scan_literal matches the text between two values byte for byte;
 * that is the fast path for messages whose field order the venue keeps. Generic: object and array
 * iteration with scan_skip for what is not known; that is the fallback and understands any order,
 * white space and unknown fields. A decoder tries the first and, on failure, starts again with the
 * second.
 *
 * Strings come back as spans of the raw bytes between the quotes, escapes not undone: names and
 * numbers have none. Nesting is limited to SCAN_DEPTH when skipping.
 */
#ifndef PURSER_BASE_SCAN_H
#define PURSER_BASE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SCAN_DEPTH 32

struct span {
    const char *start;
    size_t length;
};

struct scan {
    const char *cursor;
    const char *end;
    bool failed;
};

static inline void scan_init(struct scan *scan, const char *bytes, size_t length)
{
    scan->cursor = bytes;
    scan->end = bytes + length;
    scan->failed = false;
}

static inline bool scan_fail(struct scan *scan)
{
    scan->failed = true;
    return false;
}

/* span_is: the span equals this text. */
static inline bool span_is(struct span span, const char *text)
{
    size_t n = strlen(text);
    return span.length == n && memcmp(span.start, text, n) == 0;
}

/* span_copy: copies to a NUL-terminated field, cutting what does not fit; the rest is zeroed. */
void span_copy(char *out, size_t capacity, struct span span);

/* ---- positional ------------------------------------------------------------------------------ */

/* scan_literal_n: the next n bytes are these. Does not set failed: the caller falls back. */
static inline bool scan_literal_n(struct scan *scan, const char *text, size_t n)
{
    if ((size_t)(scan->end - scan->cursor) < n || memcmp(scan->cursor, text, n) != 0)
        return false;
    scan->cursor += n;
    return true;
}
#define scan_literal(scan, text) scan_literal_n((scan), (text), sizeof(text) - 1)

/* scan_eight_digits: the eight bytes at p as a number; false when one is no digit. Digits add up in
 * pairs within the word: two, then four, then eight together. */
static inline bool scan_eight_digits(const char *p, int64_t *out)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    v ^= 0x3030303030303030;
    if (((v | (v + 0x0606060606060606)) & 0xf0f0f0f0f0f0f0f0) != 0)
        return false;
    v = (v * 10 + (v >> 8)) & 0x00ff00ff00ff00ff;
    v = (v * 100 + (v >> 16)) & 0x0000ffff0000ffff;
    *out = (int64_t)((v * 10000 + (v >> 32)) & 0xffffffff);
    return true;
}

/* scan_digits: an unsigned integer of 1..18 digits at the cursor. Times and ids have thirteen. */
static inline bool scan_digits(struct scan *scan, int64_t *out)
{
    const char *p = scan->cursor;
    const char *limit = scan->end - p > 18 ? p + 18 : scan->end;
    int64_t v = 0;
    if (limit - p >= 8 && scan_eight_digits(p, &v))
        p += 8;
    while (p < limit && (unsigned char)(*p - '0') <= 9)
        v = v * 10 + (*p++ - '0');
    if (p == scan->cursor || (p < scan->end && (unsigned char)(*p - '0') <= 9))
        return false;
    scan->cursor = p;
    *out = v;
    return true;
}

/* scan_mantissa: an unsigned decimal of at most 18 digits at the cursor: its digits as an integer
 * and the number of digits after the point. "61800.20" gives 6180020 and 2. */
static inline bool scan_mantissa(struct scan *scan, int64_t *mantissa, int *decimals)
{
    const char *start = scan->cursor, *end = scan->end, *p = start;
    uint64_t v = 0; /* wraps on too many digits, which are then refused */
    unsigned char digit;
    while (p < end && (digit = (unsigned char)(*p - '0')) <= 9) {
        v = v * 10 + digit;
        p++;
    }
    ptrdiff_t digits = p - start, fraction = 0;
    if (digits == 0)
        return false;
    if (p < end && *p == '.') {
        const char *point = p++;
        while (p < end && (digit = (unsigned char)(*p - '0')) <= 9) {
            v = v * 10 + digit;
            p++;
        }
        fraction = p - point - 1;
        if (fraction == 0)
            return false;
        digits += fraction;
    }
    if (digits > 18)
        return false;
    *mantissa = (int64_t)v;
    *decimals = (int)fraction;
    scan->cursor = p;
    return true;
}

/* ---- generic --------------------------------------------------------------------------------- */

/* scan_object, scan_array: consume the opening bracket. */
bool scan_object(struct scan *scan);
bool scan_array(struct scan *scan);
/* scan_next_key: moves to the next member and returns its key, the cursor then being at the value;
 * false at the closing brace (consumed) or on failure. The caller must consume the value. */
bool scan_next_key(struct scan *scan, struct span *key);
/* scan_next_item: the same for arrays; the cursor is at the item. */
bool scan_next_item(struct scan *scan);
/* Values. scan_text accepts a string; scan_number a bare or quoted number, as raw text; scan_int an
 * integer, bare or quoted (venues are not consistent), with sign; scan_bool true or false, bare or
 * quoted; scan_null consumes null if it is there (false otherwise, without failing). */
bool scan_text(struct scan *scan, struct span *out);
bool scan_number(struct scan *scan, struct span *out);
bool scan_int(struct scan *scan, int64_t *out);
bool scan_bool(struct scan *scan, bool *out);
bool scan_null(struct scan *scan);
/* scan_decimal: a decimal number, bare or quoted, exactly scaled (decimal.h). */
bool scan_decimal(struct scan *scan, int64_t *out, int scale);
/* scan_skip: consumes any value. */
bool scan_skip(struct scan *scan);
/* scan_peek: the next byte that is not white space, 0 at the end. */
char scan_peek(struct scan *scan);
/* scan_at_end: only white space is left and nothing failed. */
bool scan_at_end(struct scan *scan);

#endif
