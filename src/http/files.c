/* SPDX-License-Identifier: MIT */
/* Files of the static directory. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http/router.h"
#include "http/routes.h"

#define FILES_INDEX "index.html"

static const char *files_type(const char *path)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".ico", "image/x-icon"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/markdown; charset=utf-8"},
        {".woff2", "font/woff2"},
        {".wasm", "application/wasm"},
        {".xml", "application/xml"},
        {".pdf", "application/pdf"},
        {".webmanifest", "application/manifest+json"},
    };
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending && i < ARRAY_LENGTH(types); i++)
        if (strcasecmp(types[i].ending, ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* Names that begin with a dot are for others than browsers. */
static bool files_is_public(const char *path)
{
    if (path[0] == '.' || strstr(path, "/.") || strstr(path, "//"))
        return false;
    return path[0] != '/';
}

/* Where there is no openat2, in an old kernel or within the option seccomp, which could not see what it
 * opens: segment by segment, and no symbolic link is followed. The path has no "..": see files_is_public. */
static int files_walk(int folder_fd, const char *path)
{
    const int common = O_CLOEXEC | O_NOFOLLOW;
    int fd = dup(folder_fd);
    while (fd >= 0 && path) {
        char segment[NAME_MAX + 1];
        size_t len = strcspn(path, "/");
        const char *next = path[len] == '/' ? path + len + 1 : NULL;
        int within_fd = fd;
        if (len >= sizeof(segment)) {
            close(fd);
            return -ENAMETOOLONG;
        }
        memcpy(segment, path, len);
        segment[len] = '\0';
        fd =
            openat(within_fd, segment, next ? common | O_PATH | O_DIRECTORY : common | O_RDONLY | O_NONBLOCK);
        int err = errno;
        close(within_fd);
        errno = err;
        path = next;
    }
    return fd < 0 ? -errno : fd;
}

/* The kernel refuses whatever would lead out of the folder, by "..", by an absolute link or by a relative
 * one. */
static int files_open(const char *folder, const char *path)
{
    const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return -errno;
    long fd = syscall(SYS_openat2, folder_fd, path, &how, sizeof(how));
    fd = fd < 0 ? (errno == ENOSYS ? files_walk(folder_fd, path) : -errno) : fd;
    close(folder_fd);
    return (int)fd;
}

/* Opens the file, or the index of a folder. */
static int files_find(const struct exchange *exchange, struct stat *status, const char **type)
{
    char path[4096];
    const char *asked = exchange->path + 1;
    const char *folder = exchange->shard->options->static_dir;
    bool is_folder = asked[0] == '\0' || asked[strlen(asked) - 1] == '/';
    if (folder[0] == '\0' || !files_is_public(asked) ||
        (size_t)snprintf(path, sizeof(path), "%s%s", asked, is_folder ? FILES_INDEX : "") >= sizeof(path))
        return -ENOENT;
    int fd = files_open(folder, path);
    if (fd < 0)
        return fd;
    *type = files_type(path);
    if (fstat(fd, status) == 0 && S_ISREG(status->st_mode))
        return fd;
    close(fd);
    return -ENOENT;
}

static bool files_is_known(const struct exchange *exchange, const char *tag)
{
    const char *known = exchange_field(exchange, FIELD_IF_NONE_MATCH);
    return known && (strcmp(known, "*") == 0 || strstr(known, tag));
}

static void files_add_headers(struct MHD_Response *response, const char *tag, const char *type)
{
    exchange_response_header(response, MHD_HTTP_HEADER_ETAG, tag);
    exchange_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    exchange_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    exchange_response_header(response, "Content-Security-Policy",
                             "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'");
    exchange_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
    exchange_response_header(response, "Referrer-Policy", "no-referrer");
}

void files_handle(struct exchange *exchange)
{
    struct stat status;
    const char *type;
    char tag[64];
    int fd = files_find(exchange, &status, &type);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM) {
        exchange_fail(exchange, ERROR_NO_DESCRIPTORS, "%s", error_text(ERROR_NO_DESCRIPTORS));
        return;
    }
    if (fd < 0) {
        router_answer_not_found(exchange);
        return;
    }
    snprintf(tag, sizeof(tag), "\"%llx-%llx-%llx\"", (unsigned long long)status.st_mtim.tv_sec,
             (unsigned long long)status.st_mtim.tv_nsec, (unsigned long long)status.st_size);
    bool is_known = files_is_known(exchange, tag);
    /* Also of a file that is known and not sent: caches take over the length that a 304 says (RFC 9110,
     * section 8.6), and Squid would hand out nothing from then on. */
    struct MHD_Response *response = MHD_create_response_from_fd64((uint64_t)status.st_size, fd);
    if (response)
        files_add_headers(response, tag, type);
    else
        close(fd);
    exchange_answer(exchange, is_known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response);
}
