#include "decimal.h"

#include "check.h"

int64_t decimal_power(int exponent)
{
    static const int64_t powers[] = {
        1,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
        1000000000000000000,
    };
    CHECK(exponent >= 0 && exponent <= DECIMAL_SCALE_MAX);
    return powers[exponent];
}

/* Appends a digit to a value kept negative, because INT64_MIN has no positive twin. */
static bool append_digit(int64_t *negative, int digit)
{
    return !__builtin_mul_overflow(*negative, 10, negative) &&
           !__builtin_sub_overflow(*negative, digit, negative);
}

static bool parse(int64_t *out, const char *text, size_t length, int scale, bool round)
{
    const char *p = text, *end = text + length;
    bool minus = p < end && *p == '-';
    p += minus;
    int64_t value = 0;
    int decimals = 0, digits = 0, excess = 0;
    bool point = false, up = false;
    for (; p < end; p++) {
        if (*p == '.' && !point && digits > 0) {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            return false;
        digits++;
        if (point && decimals == scale) {
            if (!round && *p != '0')
                return false;
            up = excess++ == 0 ? *p >= '5' : up;
            continue;
        }
        decimals += point;
        if (!append_digit(&value, *p - '0'))
            return false;
    }
    if (digits == 0 || end[-1] == '.')
        return false;
    for (; decimals < scale; decimals++) {
        if (!append_digit(&value, 0))
            return false;
    }
    if (up && __builtin_sub_overflow(value, 1, &value))
        return false;
    if (!minus && __builtin_sub_overflow((int64_t)0, value, &value))
        return false;
    *out = value;
    return true;
}

bool decimal_parse(int64_t *out, const char *text, size_t length, int scale)
{
    CHECK(scale >= 0 && scale <= DECIMAL_SCALE_MAX);
    return parse(out, text, length, scale, false);
}

bool decimal_parse_half_up(int64_t *out, const char *text, size_t length, int scale)
{
    CHECK(scale >= 0 && scale <= DECIMAL_SCALE_MAX);
    return parse(out, text, length, scale, true);
}

size_t decimal_format(char out[DECIMAL_TEXT_MAX], int64_t value, int scale, int decimals)
{
    CHECK(scale >= 0 && scale <= DECIMAL_SCALE_MAX && decimals >= 0 && decimals <= scale);
    uint64_t magnitude = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    uint64_t cut = (uint64_t)decimal_power(scale - decimals);
    CHECK(magnitude % cut == 0);
    magnitude /= cut;
    char digits[DECIMAL_TEXT_MAX];
    int count = 0;
    while (magnitude > 0 || count <= decimals) {
        digits[count++] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    }
    size_t n = 0;
    if (value < 0)
        out[n++] = '-';
    while (count > 0) {
        if (count == decimals)
            out[n++] = '.';
        out[n++] = digits[--count];
    }
    out[n] = '\0';
    return n;
}
