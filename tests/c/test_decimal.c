/* Decimal text becomes a scaled integer exactly, or is refused; and the integer prints back the
 * same. */
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/base/decimal.h"

#include <string.h>

static void parses(const char *text, int scale, int64_t expected)
{
    int64_t value = -77;
    CHECK(decimal_parse(&value, text, strlen(text), scale));
    CHECK(value == expected);
}

static void refuses(const char *text, int scale)
{
    int64_t value = -77;
    CHECK(!decimal_parse(&value, text, strlen(text), scale));
    CHECK(value == -77);
}

static void prints(int64_t value, int scale, int decimals, const char *expected)
{
    char text[DECIMAL_TEXT_MAX];
    CHECK(decimal_format(text, value, scale, decimals) == strlen(expected));
    CHECK(strcmp(text, expected) == 0);
}

int main(void)
{
    parses("64250.10", 9, 64250100000000);
    parses("0", 9, 0);
    parses("0.000", 2, 0);
    parses("-1.5", 1, -15);
    parses("9223372036854775807", 0, INT64_MAX);
    parses("-9223372036854775808", 0, INT64_MIN);
    parses("0.100000000000000000000", 1, 1);
    static const char *const bad[] = {"",
                                      "-",
                                      ".",
                                      "1.",
                                      ".5",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1e3",
                                      "NaN",
                                      "inf",
                                      "1.2.3",
                                      "0x10",
                                      "--1",
                                      "1,0",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(bad[i], 0);
    refuses("0.15", 1);
    refuses("9300000000", 9);
    int64_t value;
    CHECK(decimal_parse_half_up(&value, "1.25", 4, 1) && value == 13);
    CHECK(decimal_parse_half_up(&value, "-1.25", 5, 1) && value == -13);
    CHECK(decimal_parse_half_up(&value, "1.2499", 6, 1) && value == 12);
    prints(64250100000000, 9, 1, "64250.1");
    prints(64250100000000, 9, 2, "64250.10");
    prints(0, 9, 3, "0.000");
    prints(-15, 1, 1, "-1.5");
    prints(5, 3, 3, "0.005");
    prints(INT64_MIN, 0, 0, "-9223372036854775808");
    prints(42, 0, 0, "42");
    return 0;
}
