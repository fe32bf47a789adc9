#include "scan.h"

#include "decimal.h"

void span_copy(char *out, size_t capacity, struct span span)
{
    size_t n = span.length < capacity - 1 ? span.length : capacity - 1;
    if (n > 0)
        memcpy(out, span.start, n);
    memset(out + n, 0, capacity - n);
}

char scan_peek(struct scan *scan)
{
    while (scan->cursor < scan->end && (*scan->cursor == ' ' || *scan->cursor == '\n' ||
                                        *scan->cursor == '\t' || *scan->cursor == '\r'))
        scan->cursor++;
    return scan->cursor < scan->end ? *scan->cursor : '\0';
}

static bool take(struct scan *scan, char byte)
{
    if (scan->failed || scan_peek(scan) != byte || scan->cursor == scan->end)
        return scan_fail(scan);
    scan->cursor++;
    return true;
}

bool scan_object(struct scan *scan)
{
    return take(scan, '{');
}

bool scan_array(struct scan *scan)
{
    return take(scan, '[');
}

/* Steps over the comma between members or items. False at the closing bracket (consumed), or on
 * failure. An opening bracket just before tells that a comma must not come. */
static bool next(struct scan *scan, char open, char close)
{
    if (scan->failed)
        return false;
    const char *before = scan->cursor - 1;
    char byte = scan_peek(scan);
    if (byte == close) {
        scan->cursor++;
        return false;
    }
    if (*before == open)
        return byte != '\0' || scan_fail(scan);
    return take(scan, ',');
}

bool scan_next_key(struct scan *scan, struct span *key)
{
    return next(scan, '{', '}') && scan_text(scan, key) && take(scan, ':');
}

bool scan_next_item(struct scan *scan)
{
    return next(scan, '[', ']');
}

bool scan_text(struct scan *scan, struct span *out)
{
    if (!take(scan, '"'))
        return false;
    const char *p = scan->cursor;
    while (p < scan->end && *p != '"') {
        if ((unsigned char)*p < 0x20)
            return scan_fail(scan);
        p += *p == '\\' ? 2 : 1;
    }
    if (p >= scan->end)
        return scan_fail(scan);
    *out = (struct span){scan->cursor, (size_t)(p - scan->cursor)};
    scan->cursor = p + 1;
    return true;
}

bool scan_number(struct scan *scan, struct span *out)
{
    if (scan->failed)
        return false;
    if (scan_peek(scan) == '"')
        return scan_text(scan, out);
    const char *p = scan->cursor;
    while (p < scan->end && ((*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == '.' ||
                             *p == 'e' || *p == 'E'))
        p++;
    if (p == scan->cursor)
        return scan_fail(scan);
    *out = (struct span){scan->cursor, (size_t)(p - scan->cursor)};
    scan->cursor = p;
    return true;
}

bool scan_decimal(struct scan *scan, int64_t *out, int scale)
{
    struct span text;
    if (!scan_number(scan, &text))
        return false;
    return decimal_parse(out, text.start, text.length, scale) || scan_fail(scan);
}

bool scan_int(struct scan *scan, int64_t *out)
{
    return scan_decimal(scan, out, 0);
}

bool scan_bool(struct scan *scan, bool *out)
{
    if (scan->failed)
        return false;
    bool quoted = scan_peek(scan) == '"';
    scan->cursor += quoted;
    if (scan_literal(scan, "true"))
        *out = true;
    else if (scan_literal(scan, "false"))
        *out = false;
    else
        return scan_fail(scan);
    return !quoted || take(scan, '"');
}

bool scan_null(struct scan *scan)
{
    return !scan->failed && scan_peek(scan) == 'n' && scan_literal(scan, "null");
}

static bool skip_value(struct scan *scan, int depth)
{
    if (depth > SCAN_DEPTH)
        return scan_fail(scan);
    struct span ignored;
    bool flag;
    switch (scan_peek(scan)) {
    case '{':
        scan->cursor++;
        while (scan_next_key(scan, &ignored)) {
            if (!skip_value(scan, depth + 1))
                return false;
        }
        return !scan->failed;
    case '[':
        scan->cursor++;
        while (scan_next_item(scan)) {
            if (!skip_value(scan, depth + 1))
                return false;
        }
        return !scan->failed;
    case '"':
        return scan_text(scan, &ignored);
    case 't':
    case 'f':
        return scan_bool(scan, &flag);
    case 'n':
        return scan_null(scan) || scan_fail(scan);
    default:
        return scan_number(scan, &ignored);
    }
}

bool scan_skip(struct scan *scan)
{
    return !scan->failed && skip_value(scan, 0);
}

bool scan_at_end(struct scan *scan)
{
    return !scan->failed && scan_peek(scan) == '\0' && scan->cursor == scan->end;
}
