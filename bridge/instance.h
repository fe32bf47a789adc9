/*
 * instance.h: which Purser this is. Client order ids carry the instance id, so that every order of
 * an account can be told apart: ours, another Purser's, a person's.
 *
 * The id is 32 random bits (never zero), written once into PURSER_HOME/instance and tied there to
 * this very folder: its inode and the instant of its making (its device where the file system does
 * not tell that instant), and the machine. So
 *   - a home that is moved on its file system keeps its id,
 *   - a copied or restored one (cp, tar, rsync, another disk, another machine) gets a new id at its
 *     next start: the original may be trading still,
 *   - a block-for-block clone of the whole disk on a machine with the same machine-id cannot be
 * told from its original. Delete the file in one of the two.
 *
 * Several processes of one home may ask at the same time: they get the same answer. The file is on
 * disk before the id is given away, because an order may carry it the next moment.
 */
#ifndef PURSER_BRIDGE_INSTANCE_H
#define PURSER_BRIDGE_INSTANCE_H

#ifndef PURSER_CDEF
#include <stdint.h>
#endif

#define INSTANCE_FILE "instance"

enum instance_fate {
    INSTANCE_KEPT = 0,
    INSTANCE_MADE = 1,    /* the home had none */
    INSTANCE_COPIED = 2,  /* the file belongs to another home, machine or disk: a new id */
    INSTANCE_DAMAGED = 3, /* the file could not be understood: a new id */
};

/* instance_read: the id of this home, made when it must be. home is an existing folder. 0, or:
 *   -ELOOP, -EISDIR  the file is a link or no file
 *   -EPERM           it belongs to another user, or others may write it
 *   -EBUSY           another process has held the folder's lock for seconds
 *   else             what the file system said, as -EROFS or -EACCES: the home cannot be written */
int instance_read(uint32_t *id, uint32_t *fate, const char *home);

#endif
