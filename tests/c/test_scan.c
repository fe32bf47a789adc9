/* The JSON scanner reads what is well formed, in any spelling, and never reads past a broken end.
 */
#include "../../bridge/allocate.h"
#include "../../c_core/src/base/check.h"
#include "../../c_core/src/base/scan.h"

#include <stdlib.h>

static const char SAMPLE[] =
    " { \"a\" : [ 1 , \"2.50\" , { } , [ ] , null , true ] , \"t\" : \"x\\\"y\" , \"n\" : -12 } ";

static void reads_sample(void)
{
    struct scan scan;
    struct span key, text;
    int64_t number;
    bool flag;
    scan_init(&scan, SAMPLE, sizeof SAMPLE - 1);
    CHECK(scan_object(&scan) && scan_next_key(&scan, &key) && span_is(key, "a"));
    CHECK(scan_array(&scan));
    CHECK(scan_next_item(&scan) && scan_int(&scan, &number) && number == 1);
    CHECK(scan_next_item(&scan) && scan_decimal(&scan, &number, 2) && number == 250);
    CHECK(scan_next_item(&scan) && scan_skip(&scan));
    CHECK(scan_next_item(&scan) && scan_array(&scan) && !scan_next_item(&scan) && !scan.failed);
    CHECK(scan_next_item(&scan) && scan_null(&scan));
    CHECK(scan_next_item(&scan) && scan_bool(&scan, &flag) && flag);
    CHECK(!scan_next_item(&scan) && !scan.failed);
    CHECK(scan_next_key(&scan, &key) && span_is(key, "t") && scan_text(&scan, &text));
    CHECK(span_is(text, "x\\\"y"));
    CHECK(scan_next_key(&scan, &key) && scan_int(&scan, &number) && number == -12);
    CHECK(!scan_next_key(&scan, &key) && scan_at_end(&scan));
}

/* Every prefix of a document is refused; copies on the heap let a sanitizer see reads past the end.
 */
static void refuses_prefixes(void)
{
    for (size_t n = 0; n < sizeof SAMPLE - 3; n++) {
        char *copy = ALLOCATE_ARRAY(char, n + 1);
        CHECK(copy != NULL);
        memcpy(copy, SAMPLE, n);
        struct scan scan;
        scan_init(&scan, copy, n);
        CHECK(!(scan_skip(&scan) && scan_at_end(&scan)));
        free(copy);
    }
}

static void refuses(const char *text)
{
    struct scan scan;
    scan_init(&scan, text, strlen(text));
    CHECK(!(scan_skip(&scan) && scan_at_end(&scan)));
}

/* What scan_digits promises, said digit by digit. */
static bool plain_digits(const char *text, size_t length, int64_t *out, size_t *used)
{
    size_t n = 0;
    int64_t value = 0;
    while (n < length && n < 18 && text[n] >= '0' && text[n] <= '9')
        value = value * 10 + (text[n++] - '0');
    *out = value;
    *used = n;
    return n > 0 && !(n < length && text[n] >= '0' && text[n] <= '9');
}

/* Every byte value in every place of numbers of every length; on the heap, to the byte, so that a
 * sanitizer sees reads past the end. */
static void reads_digits(void)
{
    static const char digits[] = "90817263544536271809";
    for (size_t length = 0; length < sizeof digits; length++) {
        char *text = ALLOCATE_ARRAY(char, length + 1);
        CHECK(text != NULL);
        for (size_t place = 0; place <= length; place++) {
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, digits, length);
                if (place < length)
                    text[place] = (char)byte;
                char *exact = ALLOCATE_ARRAY(char, length > 0 ? length : 1);
                CHECK(exact != NULL);
                memcpy(exact, text, length);
                struct scan scan;
                int64_t value, expected;
                size_t used;
                scan_init(&scan, exact, length);
                bool good = plain_digits(exact, length, &expected, &used);
                CHECK(scan_digits(&scan, &value) == good);
                CHECK(!good || (value == expected && scan.cursor == exact + used));
                CHECK(good || scan.cursor == exact);
                free(exact);
            }
        }
        free(text);
    }
}

static void reads_positions(void)
{
    struct scan scan;
    int64_t value;
    int decimals;
    scan_init(&scan, "61800.20,123}", 13);
    CHECK(scan_mantissa(&scan, &value, &decimals) && value == 6180020 && decimals == 2);
    CHECK(!scan_literal(&scan, ";") && scan_literal(&scan, ","));
    CHECK(scan_digits(&scan, &value) && value == 123 && !scan_digits(&scan, &value));
    scan_init(&scan, "1234567890123456789", 19);
    CHECK(!scan_digits(&scan, &value) && !scan_mantissa(&scan, &value, &decimals));
    scan_init(&scan, "1.", 2);
    CHECK(!scan_mantissa(&scan, &value, &decimals));
    scan_init(&scan, ".5", 2);
    CHECK(!scan_mantissa(&scan, &value, &decimals));
}

int main(void)
{
    reads_sample();
    refuses_prefixes();
    static const char *const broken[] = {
        "{,}", "[1,]", "[1 2]",      "{\"a\":1,}", "{\"a\"}", "{\"a\":}", "[}",
        "tru", "nul",  "{\"a\":1}}", "\"\x01\"",   "[,1]",    "{a:1}",    ""};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        refuses(broken[i]);
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 99);
    deep[199] = ']';
    struct scan scan;
    scan_init(&scan, deep, 200);
    CHECK(!scan_skip(&scan));
    char field[4];
    span_copy(field, sizeof field, (struct span){"abcdef", 6});
    CHECK(strcmp(field, "abc") == 0);
    reads_digits();
    reads_positions();
    return 0;
}
