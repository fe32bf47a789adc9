#include "simdjson_decode.h"

#include <simdjson.h>
#include <string_view>

namespace
{

using namespace simdjson;

ondemand::parser parser;

/* The digits of a decimal without its point; negative when it is not one. */
int64_t mantissa(std::string_view text)
{
    int64_t value = 0;
    for (char c : text) {
        if (c == '.')
            continue;
        if (static_cast<unsigned char>(c - '0') > 9)
            return -1;
        value = value * 10 + (c - '0');
    }
    return value;
}

int64_t side(ondemand::array array, simdjson_level *levels, size_t capacity, int64_t count)
{
    for (ondemand::array level : array) {
        if (static_cast<size_t>(count) == capacity)
            return -1;
        auto item = level.begin();
        int64_t price = mantissa((*item).get_string());
        ++item;
        int64_t quantity = mantissa((*item).get_string());
        if ((price | quantity) < 0 || price % 10 != 0)
            return -1;
        levels[count++] = {price / 10, quantity};
    }
    return count;
}

} // namespace

int64_t simdjson_depth(const char *bytes, size_t length, simdjson_level *levels, size_t capacity)
try {
    ondemand::document document = parser.iterate(bytes, length, length + SIMDJSON_PADDING);
    ondemand::object data = document["data"];
    if (std::string_view(data["e"]) != "depthUpdate" || std::string_view(data["s"]) != "BTCUSDT")
        return -1;
    int64_t first = data["U"], last = data["u"], previous = data["pu"];
    if (first > last || previous > last)
        return -1;
    int64_t count = side(data["b"], levels, capacity, 0);
    return count < 0 ? count : side(data["a"], levels, capacity, count);
} catch (const simdjson_error &) {
    return -1;
}

int64_t simdjson_ticker(const char *bytes, size_t length)
try {
    ondemand::document document = parser.iterate(bytes, length, length + SIMDJSON_PADDING);
    ondemand::object data = document["data"];
    if (std::string_view(data["e"]) != "bookTicker")
        return -1;
    int64_t id = data["u"];
    if (id < 0 || std::string_view(data["s"]) != "BTCUSDT")
        return -1;
    int64_t bid = mantissa(data["b"]), bid_quantity = mantissa(data["B"]);
    int64_t ask = mantissa(data["a"]), ask_quantity = mantissa(data["A"]);
    int64_t time = data["T"], event = data["E"];
    if (bid % 10 != 0 || ask % 10 != 0 || time > event)
        return -1;
    return bid / 10 + bid_quantity + ask / 10 + ask_quantity;
} catch (const simdjson_error &) {
    return -1;
}
