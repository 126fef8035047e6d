/* SPDX-License-Identifier: MIT */
#pragma once

/* What the code under test writes to a descriptor (stdout or stderr), kept in a file. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct capture {
    int fd;
    int saved_fd;
    FILE *file;
    char text[65536];
};

static inline void capture_begin(struct capture *capture, int fd)
{
    fflush(NULL);
    capture->fd = fd;
    capture->file = tmpfile();
    capture->saved_fd = dup(fd);
    if (!capture->file || capture->saved_fd < 0 || dup2(fileno(capture->file), fd) < 0)
        abort();
}

/* Gives the descriptor back; the text is in `text`. */
static inline void capture_end(struct capture *capture)
{
    fflush(NULL);
    if (dup2(capture->saved_fd, capture->fd) < 0)
        abort();
    close(capture->saved_fd);
    rewind(capture->file);
    capture->text[fread(capture->text, 1, sizeof(capture->text) - 1, capture->file)] = '\0';
    fclose(capture->file);
}
