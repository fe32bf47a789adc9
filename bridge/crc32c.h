/*
 * crc32c.h: CRC-32C (Castagnoli, reflected, initial value and final xor all ones), the checksum of
 * ledger slots and journal records.
 */
#ifndef PURSER_BRIDGE_CRC32C_H
#define PURSER_BRIDGE_CRC32C_H

#ifndef PURSER_CDEF
#include <stddef.h>
#include <stdint.h>
#endif

/* crc32c: of size bytes. crc32c_extend goes on from an earlier result. crc32c("123456789") is
 * 0xE3069283. */
uint32_t crc32c(const void *data, size_t size);
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size);

#endif
