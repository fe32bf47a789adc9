#include "crc32c.h"

#include <string.h>

#ifdef __SSE4_2__

static uint32_t extend_raw(uint32_t crc, const unsigned char *bytes, size_t size)
{
    uint64_t wide = crc;

    while (size >= 8) {
        uint64_t word;

        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
        bytes += 8;
        size -= 8;
    }
    crc = (uint32_t)wide;
    while (size-- > 0)
        crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}

#else

static uint32_t extend_raw(uint32_t crc, const unsigned char *bytes, size_t size)
{
    while (size-- > 0) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78U : 0U);
    }
    return crc;
}

#endif

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size)
{
    return ~extend_raw(~crc, data, size);
}

uint32_t crc32c(const void *data, size_t size)
{
    return crc32c_extend(0, data, size);
}
