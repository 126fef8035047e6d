/* SPDX-License-Identifier: MIT */
#include "auth/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/fault.h"
#include "base/log.h"

static int key_file_fail_errno(char *fault)
{
    return auth_fail(fault, KEY_FILE_FAULT_MAX, "cannot be read: %s", strerror(errno));
}

static int key_file_read_from(struct key_file *file, int fd, char *fault)
{
    struct stat status;
    ssize_t got = 1;
    if (fstat(fd, &status))
        return key_file_fail_errno(fault);
    if (!S_ISREG(status.st_mode))
        return auth_fail(fault, KEY_FILE_FAULT_MAX, "is not a regular file");
    if (status.st_size > (off_t)KEY_FILE_MAX)
        return auth_fail(fault, KEY_FILE_FAULT_MAX, "has more than 4 MiB");
    file->mode = status.st_mode & 0777;
    /* One byte beyond the size, so that a file that grows meanwhile is not cut in silence. */
    size_t most = (size_t)status.st_size + 1;
    if (buf_reserve(&file->bytes, most)) {
        (void)auth_fail(fault, KEY_FILE_FAULT_MAX, "there is no memory for it");
        return -ENOMEM;
    }
    while (got > 0 && file->bytes.len < most) {
        got = read(fd, file->bytes.bytes + file->bytes.len, most - file->bytes.len);
        file->bytes.len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        return key_file_fail_errno(fault);
    return file->bytes.len < most ? 0 : auth_fail(fault, KEY_FILE_FAULT_MAX, "is being written");
}

int key_file_read(struct key_file *file, const char *path, char fault[KEY_FILE_FAULT_MAX])
{
    *file = (struct key_file){0};
    /* Without waiting for the writer of a pipe, which is refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return key_file_fail_errno(fault);
    int err = key_file_read_from(file, fd, fault);
    close(fd);
    if (err)
        key_file_deinit(file);
    return err;
}

void key_file_deinit(struct key_file *file)
{
    if (file->bytes.bytes)
        sodium_memzero(file->bytes.bytes, file->bytes.capacity);
    buf_deinit(&file->bytes);
}

void key_file_warn(const struct key_file *file, const char *path, bool is_secret)
{
    if (is_secret && file->mode & S_IROTH)
        log_event(
            LOG_WARN, "key-file-readable", LOG_TEXT("file", path),
            LOG_TEXT("action", "anybody on this machine can read the keys: chmod o-r, and change them"));
    if (file->mode & S_IWOTH)
        log_event(
            LOG_WARN, "key-file-writable", LOG_TEXT("file", path),
            LOG_TEXT("action", "anybody on this machine can put keys in: chmod o-w, and look through it"));
}
