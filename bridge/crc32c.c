#include "crc32c.h"

#include <string.h>

#ifdef __ARM_FEATURE_CRC32
#include <arm_acle.h>
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "words are read as they lie in memory: a big-endian machine is not supported");

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

#elif defined(__ARM_FEATURE_CRC32)

static uint32_t extend_raw(uint32_t crc, const unsigned char *bytes, size_t size)
{
    while (size >= 8) {
        uint64_t word;

        memcpy(&word, bytes, 8);
        crc = __crc32cd(crc, word);
        bytes += 8;
        size -= 8;
    }
    while (size-- > 0)
        crc = __crc32cb(crc, *bytes++);
    return crc;
}

#else

/* Eight bytes a step: table[n][b] is what byte b, with n zero bytes behind it, does to the sum. An
 * order's checksum lies on its path: bit by bit it would take about a microsecond. */
static uint32_t table[8][256];

__attribute__((constructor)) static void fill_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78U : 0U);
        table[0][b] = crc;
    }
    for (int n = 1; n < 8; n++)
        for (int b = 0; b < 256; b++)
            table[n][b] = (table[n - 1][b] >> 8) ^ table[0][table[n - 1][b] & 0xFF];
}

static uint32_t extend_raw(uint32_t crc, const unsigned char *bytes, size_t size)
{
    while (size >= 8) {
        uint32_t first, second;

        /* Little-endian, as the layout of protocol.h is. */
        memcpy(&first, bytes, 4);
        memcpy(&second, bytes + 4, 4);
        first ^= crc;
        crc = table[7][first & 0xFF] ^ table[6][first >> 8 & 0xFF] ^ table[5][first >> 16 & 0xFF] ^
              table[4][first >> 24] ^ table[3][second & 0xFF] ^ table[2][second >> 8 & 0xFF] ^
              table[1][second >> 16 & 0xFF] ^ table[0][second >> 24];
        bytes += 8;
        size -= 8;
    }
    while (size-- > 0)
        crc = (crc >> 8) ^ table[0][(crc ^ *bytes++) & 0xFF];
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
