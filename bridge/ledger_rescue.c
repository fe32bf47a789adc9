#include "channel.h"
#include "ledger_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two ids of boots differ in most of their 36 characters; damage changes a few. */
#define BOOT_APART 9
#define KEPT_MAX   99

/* The layout of protocol 1, only to tell whether a file of it holds orders. */
#define OLD_HEADER 256
#define OLD_LINE   192
#define OLD_SLOT   128
#define OLD_SIZE   (OLD_HEADER + PROTOCOL_PARTICIPANTS * (OLD_LINE + PROTOCOL_SLOTS * OLD_SLOT))

int ledger_open_damaged(struct ledger **out, const char *path)
{
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    int error = 0;

    *out = NULL;
    if (fd < 0)
        return errno == ELOOP || errno == EACCES ? -EPERM : -errno;
    if (fstat(fd, &info) != 0)
        error = -errno;
    else if (!S_ISREG(info.st_mode) || info.st_uid != geteuid())
        error = -EPERM;
    else if (info.st_size < (off_t)sizeof(struct ledger_header))
        error = -EPROTO;
    else
        error = ledger_map(out, fd, info.st_size, info.st_ino);
    close(fd);
    if (error == 0)
        (*out)->damaged = ledger_damage(*out, NULL, 0) > 0;
    return error;
}

/* --- what a file is that could not be adopted --- */

static int characters_apart(const char *one, const char *other)
{
    int apart = 0;

    for (int i = 0; i < 36; i++)
        apart += one[i] != other[i];
    return apart;
}

static int is_boot_id(const char text[40])
{
    for (int i = 0; i < 36; i++) {
        int dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL || text[i] == '\0')
            return 0;
    }
    return text[36] == '\0';
}

/* old_orders: slots in use of a file of protocol 1; -1 when it cannot be told. */
static int old_orders(int fd, off_t size)
{
    int orders = 0;

    if (size != OLD_SIZE)
        return -1;
    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++) {
        char slots[PROTOCOL_SLOTS * OLD_SLOT];
        off_t at = OLD_HEADER + i * (OLD_LINE + PROTOCOL_SLOTS * OLD_SLOT) + OLD_LINE;

        if (pread(fd, slots, sizeof slots, at) != (ssize_t)sizeof slots)
            return -1;
        for (int s = 0; s < PROTOCOL_SLOTS; s++) {
            uint32_t state;

            memcpy(&state, slots + (size_t)s * OLD_SLOT, sizeof state);
            orders += state != SLOT_FREE;
        }
    }
    return orders;
}

static enum ledger_remains remains_of_other_layout(int fd, off_t size, int this_boot)
{
    if (!this_boot || old_orders(fd, size) == 0)
        return REMAINS_OLD_QUIET;
    return REMAINS_OLD_ORDERS;
}

static enum ledger_remains remains_of(int fd, const struct stat *info)
{
    struct ledger_header header;
    struct ledger *ledger;
    char boot[40];
    int this_boot;
    int whole;

    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        header.magic != PROTOCOL_LEDGER_MAGIC || header.size != info->st_size ||
        !is_boot_id(header.boot_id) || ledger_boot_id(boot) != 0)
        return REMAINS_DAMAGED;
    this_boot = characters_apart(boot, header.boot_id) < BOOT_APART;
    /* Damage changes one of the two; a build of another layout changes both. */
    if (header.version != PROTOCOL_VERSION && header.layout_hash != protocol_layout_hash())
        return remains_of_other_layout(fd, info->st_size, this_boot);
    if (this_boot || header.version != PROTOCOL_VERSION ||
        header.layout_hash != protocol_layout_hash() ||
        ledger_map(&ledger, fd, info->st_size, info->st_ino) != 0)
        return REMAINS_DAMAGED;
    whole = rights_are_whole(ledger->shared);
    ledger_close(ledger);
    return whole ? REMAINS_OLD_BOOT : REMAINS_DAMAGED;
}

enum ledger_remains ledger_remains_of(const char *path)
{
    enum ledger_remains remains = REMAINS_DAMAGED;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;

    if (fd < 0)
        return REMAINS_DAMAGED;
    if (fstat(fd, &info) == 0)
        remains = remains_of(fd, &info);
    close(fd);
    return remains;
}

/* --- what is carried over --- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* carry_slot: whatever may be an order, as one of unknown fate: in a damaged ledger RESERVED is no
 * proof that the bytes never left. A landing time that cannot be believed is none. */
static void carry_slot(struct ledger_slot *to, const struct ledger_slot *from, uint32_t generation)
{
    if (from->state == SLOT_FREE || !slot_is_order(from))
        return;
    *to = *from;
    to->state = SLOT_UNKNOWN;
    if (!ledger_slot_landing_is_whole(from))
        to->lands_until_ns = LANDS_UNTIL_NONE;
    if (to->participant_generation > generation)
        to->participant_generation = generation;
    to->crc = slot_checksum(to);
    to->sent_crc = slot_sent_checksum(to);
}

/* newest_generation: of the line and of its whole slots, either of which may be the damaged one. */
static uint32_t newest_generation(const struct ledger_participant *line)
{
    uint32_t newest = line->generation;

    for (int s = 0; s < PROTOCOL_SLOTS; s++)
        if (line->slots[s].state != SLOT_FREE && ledger_slot_is_whole(&line->slots[s]) &&
            line->slots[s].participant_generation > newest)
            newest = line->slots[s].participant_generation;
    return newest;
}

/* carry_charges: the most that line and slots tell; what is no amount, or would keep the sum of all
 * lines from being one, tells nothing. */
static void carry_charges(struct ledger_participant *to, const struct ledger_participant *from)
{
    const int64_t most = LEDGER_AMOUNT_MAX / (2 * PROTOCOL_PARTICIPANTS);

    for (int d = 0; d < 2; d++) {
        int64_t positions = amount_of(from->positions_micros[d]);
        int64_t used = amount_of(from->used_micros[d]);
        int64_t orders = 0;

        for (int s = 0; s < PROTOCOL_SLOTS; s++)
            if (to->slots[s].state != SLOT_FREE && orders < most &&
                amount_of(to->slots[s].delta_micros[d]) < most)
                orders += amount_of(to->slots[s].delta_micros[d]);
        to->positions_micros[d] = positions < most ? positions : 0;
        to->used_micros[d] =
            larger(larger(to->positions_micros[d], used < most ? used : 0), orders);
        to->alloc_micros[d] = to->used_micros[d];
    }
}

static void carry_line(struct ledger_participant *to, const struct ledger_participant *from)
{
    uint32_t generation = newest_generation(from);

    for (int s = 0; s < PROTOCOL_SLOTS; s++)
        carry_slot(&to->slots[s], &from->slots[s], generation);
    carry_charges(to, from);
    /* Above every generation seen: no client order id is given twice. */
    to->generation = generation + 1;
    to->day = from->day;
    to->pid = from->pid;
    to->start_time = from->start_time;
    to->journal_mode = from->journal_mode;
    to->journal_sequence = from->journal_sequence;
    memcpy(to->journal_head, from->journal_head, sizeof to->journal_head);
    to->access_fingerprint = from->access_fingerprint;
}

void rescue_carry(struct ledger_shared *to, const struct ledger_shared *from)
{
    for (int i = 0; i < PROTOCOL_PARTICIPANTS; i++)
        carry_line(&to->participants[i], &from->participants[i]);
    for (int d = 0; d < 2; d++)
        to->header.ceiling_micros[d] = larger(to->header.limit_micros[d], rights_sum(to, d));
    to->header.rights_checksum = rights_checksum(to);
    STORE(to->header.control,
          control_make(control_next_epoch(from->header.control), HALT_LEDGER, LEDGER_HALTED));
}

int rescue_keep(const char *path)
{
    char kept[PATH_MAX];

    for (int number = 1; number <= KEPT_MAX; number++) {
        if (snprintf(kept, sizeof kept, "%s.damaged-%d", path, number) >= (int)sizeof kept)
            return -ENAMETOOLONG;
        if (link(path, kept) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
    return unlink(kept) == 0 && link(path, kept) == 0 ? 0 : -errno;
}
