#include "engine_config.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/units.h"

enum field_kind {
    FIELD_TEXT,    /* string; maximum is the size of the buffer */
    FIELD_E9,      /* decimal string, stored times 1e9 */
    FIELD_MICROS,  /* decimal string in USD, stored times 1e6 */
    FIELD_PPM,     /* decimal string in percent, stored in parts per million */
    FIELD_INTEGER, /* JSON integer */
    FIELD_BOOLEAN,
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    int64_t minimum, maximum;
    bool optional;
};

#define E9(units)      ((int64_t)(units)*1000000000)
#define USD(units)     ((int64_t)(units)*1000000)
#define PERCENT(units) ((int64_t)(units)*10000)
#define FIELD(type, member, kind, minimum, maximum)                                                \
    {                                                                                              \
#member, kind, offsetof(struct type, member), minimum, maximum, false                      \
    }
#define FIELD_NAMED(key, type, member, kind, minimum, maximum)                                     \
    {                                                                                              \
        key, kind, offsetof(struct type, member), minimum, maximum, false                          \
    }
#define TEXT_OPTIONAL(key, type, member)                                                           \
    {                                                                                              \
        key, FIELD_TEXT, offsetof(struct type, member), 0, sizeof(((struct type *)0)->member),     \
            true                                                                                   \
    }

static const struct field symbol_fields[] = {
    FIELD(config_symbol, symbol, FIELD_TEXT, 0, 32),
    FIELD_NAMED("shock_percent", config_symbol, shock_ppm, FIELD_PPM, PERCENT(1), PERCENT(100)),
    FIELD_NAMED("maker_fee_percent", config_symbol, maker_fee_ppm, FIELD_PPM, 0, PERCENT(5)),
    FIELD_NAMED("taker_fee_percent", config_symbol, taker_fee_ppm, FIELD_PPM, 0, PERCENT(5)),
};

static const struct field risk_fields[] = {
    FIELD_NAMED("max_order_quantity", config_risk, max_order_quantity_e9, FIELD_E9, 1, E9(1000000)),
    FIELD_NAMED("max_order_notional_usd", config_risk, max_order_notional_micros, FIELD_MICROS, 1,
                USD(1000000000)),
    FIELD_NAMED("max_position", config_risk, max_position_e9, FIELD_E9, 1, E9(1000000)),
    FIELD(config_risk, max_open_orders, FIELD_INTEGER, 1, 200),
    FIELD_NAMED("price_collar_percent", config_risk, price_collar_ppm, FIELD_PPM, 1, PERCENT(50)),
    FIELD(config_risk, orders_per_10s, FIELD_INTEGER, 1, 300),
    FIELD(config_risk, stale_ms, FIELD_INTEGER, 100, 60000),
    FIELD_NAMED("daily_loss_usd", config_risk, daily_loss_micros, FIELD_MICROS, 1, USD(1000000000)),
};

static const struct field quoter_fields[] = {
    FIELD(config_quoter, enabled, FIELD_BOOLEAN, 0, 1),
    FIELD_NAMED("quantity", config_quoter, quantity_e9, FIELD_E9, 1, E9(1000000)),
    FIELD(config_quoter, spread_ticks, FIELD_INTEGER, 1, 100000),
    FIELD_NAMED("max_position", config_quoter, max_position_e9, FIELD_E9, 1, E9(1000000)),
    FIELD(config_quoter, requote_ticks, FIELD_INTEGER, 1, 100000),
    FIELD(config_quoter, levels, FIELD_INTEGER, 1, 10),
};

static const struct field signal_fields[] = {
    FIELD(config_signal, enabled, FIELD_BOOLEAN, 0, 1),
    FIELD(config_signal, interval_ms, FIELD_INTEGER, 1, 10000),
    FIELD(config_signal, volatility_half_life_s, FIELD_INTEGER, 1, 86400),
    FIELD_NAMED("volatility_floor_percent", config_signal, volatility_floor_ppm, FIELD_PPM, 0,
                PERCENT(1000)),
};

static const struct field hedger_fields[] = {
    FIELD(config_hedger, enabled, FIELD_BOOLEAN, 0, 1),
    FIELD_NAMED("max_position", config_hedger, max_position_e9, FIELD_E9, 1, E9(1000000)),
    FIELD_NAMED("min_order", config_hedger, min_order_e9, FIELD_E9, 1, E9(1000000)),
    FIELD(config_hedger, collar_ppm, FIELD_INTEGER, 1, 500000),
    FIELD(config_hedger, interval_ms, FIELD_INTEGER, 10, 60000),
};

/* recv_window_ms: the venue refuses more than 60000 and advises at most 5000 (Binance USD-M docs,
 * "Timing security"); an unanswered order can land for so long, so it stays short.
 * dead_man_timeout_s: renewed at a quarter of it. */
static const struct field session_fields[] = {
    FIELD(config_session, recv_window_ms, FIELD_INTEGER, 200, 5000),
    FIELD(config_session, dead_man_timeout_s, FIELD_INTEGER, 4, 300),
    FIELD(config_session, busy_poll, FIELD_BOOLEAN, 0, 1),
    {"journal_segment_kb", FIELD_INTEGER, offsetof(struct config_session, journal_segment_kb), 32,
     65536, true},
};

static const struct field endpoints_fields[] = {
    TEXT_OPTIONAL("simulator", config_endpoints, simulator),
    TEXT_OPTIONAL("rest", config_endpoints, rest),
    TEXT_OPTIONAL("streams", config_endpoints, streams),
    TEXT_OPTIONAL("ws_api", config_endpoints, ws_api),
    TEXT_OPTIONAL("ca_file", config_endpoints, ca_file),
};

static const struct field credentials_fields[] = {
    TEXT_OPTIONAL("simulator", config_credentials, simulator),
    TEXT_OPTIONAL("file", config_credentials, file),
};

static const struct field top_fields[] = {
    FIELD(trader_config, venue, FIELD_TEXT, 0, 32),
    FIELD(trader_config, environment, FIELD_TEXT, 0, 32),
};

struct section {
    const char *key;
    const struct field *fields;
    int count;
    size_t offset;
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define SECTION(member)                                                                            \
    {                                                                                              \
#member, member##_fields, COUNT(member##_fields), offsetof(struct trader_config, member)   \
    }

static const struct section sections[] = {
    SECTION(endpoints), SECTION(credentials), SECTION(risk),    SECTION(quoter),
    SECTION(signal),    SECTION(hedger),      SECTION(session),
};

/* Where in the file the reader is, for sentences. */
struct reader {
    const char *path;
    char *error;
};

__attribute__((format(printf, 2, 3))) static int reader_fail(const struct reader *reader,
                                                             const char *format, ...)
{
    va_list arguments;
    char text[CONFIG_ERROR - 160];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(reader->error, CONFIG_ERROR, "%.150s: %s", reader->path, text);
    return STATUS_CONFIG;
}

static int edit_distance(const char *a, const char *b)
{
    size_t row[65], width = strlen(b);
    if (strlen(a) > 64 || width > 64)
        return 1000;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return (int)row[width];
}

const char *text_nearest(const char *text, const char *const *candidates, int count)
{
    const char *best = NULL;
    int best_distance = 1 + (int)strlen(text) / 3;
    for (int i = 0; i < count; i++) {
        int distance = edit_distance(text, candidates[i]);
        if (distance <= best_distance && (best == NULL || distance < best_distance)) {
            best_distance = distance;
            best = candidates[i];
        }
    }
    return best;
}

bool decimal_scaled(int64_t *out, const char *text, int digits)
{
    bool negative = *text == '-', any = false;
    int64_t value = 0;
    int decimals = -1;
    for (text += negative; *text != '\0'; text++) {
        if (*text == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        if (*text < '0' || *text > '9')
            return false;
        if (decimals == digits) { /* more decimals than the unit has: only zeros are exact */
            if (*text != '0')
                return false;
            continue;
        }
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return false;
        any = true;
        decimals += decimals >= 0;
    }
    for (int i = decimals < 0 ? 0 : decimals; i < digits; i++)
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    *out = negative ? -value : value;
    return any;
}

static int field_digits(enum field_kind kind)
{
    return kind == FIELD_E9 ? 9 : kind == FIELD_MICROS ? 6 : 4;
}

static void field_bounds_text(char out[128], const struct field *field)
{
    if (field->kind == FIELD_INTEGER) {
        snprintf(out, 128, "%lld to %lld", (long long)field->minimum, (long long)field->maximum);
        return;
    }
    int64_t unit = field->kind == FIELD_E9 ? E9(1) : field->kind == FIELD_MICROS ? USD(1) : 10000;
    long long low = field->minimum / unit, high = field->maximum / unit;
    if (field->minimum == 1)
        snprintf(out, 128, "above 0 and at most %lld", high);
    else
        snprintf(out, 128, "%lld to %lld", low, high);
}

static int field_number(const struct reader *reader, const char *section, const struct field *field,
                        const json_t *value, int64_t *out)
{
    if (field->kind == FIELD_INTEGER) {
        if (!json_is_integer(value))
            return reader_fail(reader, "\"%s%s\" must be a whole number, such as %lld", section,
                               field->key, (long long)field->minimum);
        *out = json_integer_value(value);
    } else {
        const char *text = json_string_value(value);
        if (text == NULL || !decimal_scaled(out, text, field_digits(field->kind)))
            return reader_fail(reader,
                               "\"%s%s\" must be a decimal number in quotes, with at most "
                               "%d decimals, such as \"0.5\"",
                               section, field->key, field_digits(field->kind));
    }
    if (*out < field->minimum || *out > field->maximum) {
        char bounds[128];
        field_bounds_text(bounds, field);
        return reader_fail(reader, "\"%s%s\" is out of range: it must be %s", section, field->key,
                           bounds);
    }
    return STATUS_OK;
}

static int field_read(const struct reader *reader, const char *section, const struct field *field,
                      const json_t *value, void *object)
{
    void *target = (char *)object + field->offset;
    if (field->kind == FIELD_BOOLEAN) {
        if (!json_is_boolean(value))
            return reader_fail(reader, "\"%s%s\" must be true or false", section, field->key);
        *(bool *)target = json_is_true(value);
        return STATUS_OK;
    }
    if (field->kind == FIELD_TEXT) {
        size_t size = (size_t)field->maximum;
        if (!json_is_string(value) || json_string_length(value) == 0 ||
            json_string_length(value) >= size)
            return reader_fail(reader, "\"%s%s\" must be text of 1 to %zu characters", section,
                               field->key, size - 1);
        snprintf(target, size, "%s", json_string_value(value));
        return STATUS_OK;
    }
    return field_number(reader, section, field, value, target);
}

static int unknown_key(const struct reader *reader, const char *section, const char *key,
                       const char *const *known, int count)
{
    const char *nearest = text_nearest(key, known, count);
    if (nearest != NULL)
        return reader_fail(reader, "unknown key \"%s%s\"; did you mean \"%s%s\"?", section, key,
                           section, nearest);
    char list[320] = "";
    for (int i = 0; i < count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", known[i]);
    return reader_fail(reader, "unknown key \"%s%s\"; known here: %s", section, key, list);
}

/* section_read: every key of the JSON object must be in the table, and every key of the table that
 * is not optional in the object. */
static int section_read(const struct reader *reader, const char *section,
                        const struct field *fields, int count, json_t *json, void *object)
{
    const char *known[32];
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return reader_fail(reader, "\"%s\" must be an object: {\"key\": value, ...}", section);
    for (int i = 0; i < count; i++)
        known[i] = fields[i].key;
    json_object_foreach(json, key, value)
    {
        bool found = false;
        for (int i = 0; i < count && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (!found)
            return unknown_key(reader, section, key, known, count);
    }
    for (int i = 0; i < count; i++) {
        value = json_object_get(json, fields[i].key);
        if (value == NULL && fields[i].optional)
            continue;
        if (value == NULL)
            return reader_fail(reader,
                               "\"%s%s\" is missing; add it (an example is in "
                               "config/binance_sim.json)",
                               section, fields[i].key);
        int status = field_read(reader, section, &fields[i], value, object);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static int symbols_read(const struct reader *reader, json_t *json, struct trader_config *out)
{
    size_t index;
    json_t *item;
    if (!json_is_array(json) || json_array_size(json) == 0 ||
        json_array_size(json) > CONFIG_SYMBOLS_MAX)
        return reader_fail(reader,
                           "\"symbols\" must be a list of 1 to %d objects such as "
                           "{\"symbol\": \"BTCUSDT\", ...}",
                           CONFIG_SYMBOLS_MAX);
    json_array_foreach(json, index, item)
    {
        char section[32];
        snprintf(section, sizeof section, "symbols[%zu].", index);
        int status = section_read(reader, section, symbol_fields, COUNT(symbol_fields), item,
                                  &out->symbols[index]);
        if (status != STATUS_OK)
            return status;
        for (size_t i = 0; i < index; i++)
            if (strcmp(out->symbols[i].symbol, out->symbols[index].symbol) == 0)
                return reader_fail(reader, "\"symbols\" names %s twice; remove one",
                                   out->symbols[index].symbol);
    }
    out->symbols_count = (int)json_array_size(json);
    return STATUS_OK;
}

static int config_consistent(const struct reader *reader, const struct trader_config *c)
{
    static const char *const environments[] = {"paper", "testnet", "live"};
    bool known = false;
    if (strcmp(c->venue, "binance") != 0)
        return reader_fail(reader, "\"venue\" is \"%.32s\"; this engine speaks to \"binance\"",
                           c->venue);
    for (int i = 0; i < COUNT(environments); i++)
        known = known || strcmp(c->environment, environments[i]) == 0;
    if (!known)
        return reader_fail(reader, "\"environment\" must be paper, testnet or live");
    const struct config_endpoints *e = &c->endpoints;
    bool direct = e->rest[0] && e->streams[0] && e->ws_api[0];
    bool partly = e->rest[0] || e->streams[0] || e->ws_api[0];
    if (e->simulator[0] ? partly : !direct)
        return reader_fail(reader, "\"endpoints\" must be either {\"simulator\": \"FILE\"} or all "
                                   "of rest, streams and ws_api");
    if ((c->credentials.simulator[0] != 0) == (c->credentials.file[0] != 0))
        return reader_fail(reader, "\"credentials\" must be either {\"simulator\": \"FILE\"} or "
                                   "{\"file\": \"keys/NAME.json\"}");
    if (e->simulator[0] && strcmp(c->environment, "paper") != 0)
        return reader_fail(reader, "a simulator belongs to \"environment\": \"paper\"");
    if (c->quoter.quantity_e9 > c->risk.max_order_quantity_e9)
        return reader_fail(reader,
                           "\"quoter.quantity\" is above \"risk.max_order_quantity\"; lower "
                           "the first or raise the second");
    return STATUS_OK;
}

static int config_read(const struct reader *reader, json_t *root, struct trader_config *out)
{
    const char *known[COUNT(top_fields) + COUNT(sections) + 1];
    int count = 0;
    const char *key;
    json_t *value;
    if (!json_is_object(root))
        return reader_fail(reader, "the file must hold one JSON object");
    for (int i = 0; i < COUNT(top_fields); i++)
        known[count++] = top_fields[i].key;
    for (int i = 0; i < COUNT(sections); i++)
        known[count++] = sections[i].key;
    known[count++] = "symbols";
    json_object_foreach(root, key, value)
    {
        bool found = false;
        for (int i = 0; i < count && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (!found)
            return unknown_key(reader, "", key, known, count);
    }
    for (int i = 0; i < count; i++)
        if (json_object_get(root, known[i]) == NULL)
            return reader_fail(reader,
                               "\"%s\" is missing; add it (an example is in "
                               "config/binance_sim.json)",
                               known[i]);
    int status = STATUS_OK;
    for (int i = 0; i < COUNT(top_fields) && status == STATUS_OK; i++)
        status =
            field_read(reader, "", &top_fields[i], json_object_get(root, top_fields[i].key), out);
    for (int i = 0; i < COUNT(sections) && status == STATUS_OK; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "%s.", sections[i].key);
        status =
            section_read(reader, prefix, sections[i].fields, sections[i].count,
                         json_object_get(root, sections[i].key), (char *)out + sections[i].offset);
    }
    if (status == STATUS_OK)
        status = symbols_read(reader, json_object_get(root, "symbols"), out);
    return status == STATUS_OK ? config_consistent(reader, out) : status;
}

static json_t *json_load(const struct reader *reader)
{
    json_error_t error;
    json_t *root = json_load_file(reader->path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL && error.line < 0)
        reader_fail(reader, "cannot be read (%s); check the path given to --config", error.text);
    else if (root == NULL)
        reader_fail(reader, "is not valid JSON at line %d, column %d: %s", error.line, error.column,
                    error.text);
    return root;
}

int trader_config_load(struct trader_config *out, const char *path, char error[CONFIG_ERROR])
{
    struct reader reader = {.path = path, .error = error};
    memset(out, 0, sizeof *out);
    snprintf(out->path, sizeof out->path, "%s", path);
    json_t *root = json_load(&reader);
    if (root == NULL)
        return STATUS_CONFIG;
    int status = config_read(&reader, root, out);
    json_decref(root);
    return status;
}

struct budget_file {
    int64_t limit_micros, notional_micros, headroom_ppm;
};

static const struct field budget_fields[] = {
    FIELD_NAMED("limit_usd", budget_file, limit_micros, FIELD_MICROS, 1, USD(1000000000)),
    FIELD_NAMED("notional_limit_usd", budget_file, notional_micros, FIELD_MICROS, 1,
                USD(100000000000)),
    FIELD_NAMED("headroom_percent", budget_file, headroom_ppm, FIELD_PPM, 0, PERCENT(50)),
};

int engine_budget_load(struct engine_budget *out, const char *path, char error[CONFIG_ERROR])
{
    struct reader reader = {.path = path, .error = error};
    struct budget_file file = {0};
    json_t *root = json_load(&reader);
    if (root == NULL)
        return STATUS_CONFIG;
    int status = section_read(&reader, "", budget_fields, COUNT(budget_fields), root, &file);
    json_decref(root);
    if (status != STATUS_OK)
        return status;
    out->limit_micros[0] = file.limit_micros;
    out->limit_micros[1] = file.notional_micros;
    for (int d = 0; d < 2; d++)
        out->headroom_micros[d] = muldiv_up(out->limit_micros[d], file.headroom_ppm, 1000000);
    return STATUS_OK;
}

static const char *const mode_names[] = {"dry-run", "paper", "live"};

int engine_mode_from_text(const char *text)
{
    for (int i = 0; i < COUNT(mode_names); i++)
        if (strcmp(text, mode_names[i]) == 0)
            return i;
    return -1;
}

const char *engine_mode_name(int mode)
{
    return mode >= 0 && mode < COUNT(mode_names) ? mode_names[mode] : "?";
}
