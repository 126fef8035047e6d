/* SPDX-License-Identifier: MIT */
#pragma once

/* Files with keys in them. Main thread. */

#include <stdbool.h>

#include "base/buf.h"

#define KEY_FILE_MAX 4194304u /* bytes: beyond, it is another file than was meant */
#define KEY_FILE_FAULT_MAX 256u

struct key_file {
    struct buf bytes;
    unsigned mode; /* its permissions */
};

/* Reads a regular file. Returns 0, -ENOMEM or -EINVAL, with `fault` the end of a sentence that begins with
 * the file. */
int key_file_read(struct key_file *file, const char *path, char fault[KEY_FILE_FAULT_MAX]);

/* Wipes what was read. */
void key_file_deinit(struct key_file *file);

/* Warns in the log when others may read a file that holds a secret, or may write it. */
void key_file_warn(const struct key_file *file, const char *path, bool is_secret);
