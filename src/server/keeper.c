/* SPDX-License-Identifier: MIT */
#include "server/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/container.h"
#include "base/log.h"
#include "base/number.h"
#include "server/privileges.h"

/* Tells the next process which of its descriptors leads to the server. */
#define KEEPER_VARIABLE "UPGRADE_FD"
#define KEEPER_NEXT_FD 3
/* In the keeper. */
#define KEEPER_OWN_FD 3

/* For its answer, which it needs no time for. */
#define KEEPER_PATIENCE_S 5

/* What it is told: one of these, and the number of the process that is meant, which its answer repeats: it
 * may have been stopped, and answer late. */
#define KEEPER_WORD_BYTES 2u
#define KEEPER_START 's'
#define KEEPER_KILL 'k'

/* What is executed. */
struct program {
    char path[PATH_MAX];
    struct buf words;
    char **arguments; /* into `words` */
};

/* The program. */

/* A file that has taken the place of the program is the next one: so the path counts, not the file that runs.
 * As it was called, when that leads to what runs, because then a link in it may be set to another version. */
static int program_find(struct program *program)
{
    struct stat called;
    struct stat running;
    const char *name = program->arguments[0];
    ssize_t len = readlink("/proc/self/exe", program->path, sizeof(program->path) - 1);
    if (len < 0)
        return -errno;
    program->path[len] = '\0';
    if (strchr(name, '/') && strlen(name) < sizeof(program->path) && stat(name, &called) == 0 &&
        stat("/proc/self/exe", &running) == 0 && called.st_ino == running.st_ino &&
        called.st_dev == running.st_dev)
        strcpy(program->path, name);
    return 0;
}

static int program_read(struct program *program)
{
    char part[4096];
    ssize_t got;
    size_t count = 0;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while ((got = read(fd, part, sizeof(part))) > 0)
        buf_append(&program->words, part, (size_t)got);
    close(fd);
    for (size_t i = 0; i < program->words.len; i++)
        count += program->words.bytes[i] == '\0';
    program->arguments = calloc(count + 1, sizeof(char *));
    if (program->words.has_failed || !program->arguments || count == 0)
        return -ENOMEM;
    const char *word = program->words.bytes;
    for (size_t i = 0; i < count; i++, word += strlen(word) + 1)
        program->arguments[i] = (char *)(uintptr_t)word;
    return program_find(program);
}

/* The next process. */

static void keeper_set(const char *name, long value)
{
    char text[24];
    snprintf(text, sizeof(text), "%ld", value);
    setenv(name, text, 1);
}

/* Says why it does not come to that; the server sees its socket closed. */
static void keeper_execute(const struct program *program, int fd)
{
    const struct sigaction preset = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &preset, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (getenv("WATCHDOG_PID"))
        keeper_set("WATCHDOG_PID", getpid());
    keeper_set(KEEPER_VARIABLE, KEEPER_NEXT_FD);
    if (dup2(fd, KEEPER_NEXT_FD) >= 0)
        execv(program->path, program->arguments);
    fprintf(stderr, "sluice: %s: %s\n", program->path, strerror(errno));
    _exit(127);
}

static void keeper_answer(int fd, unsigned char number)
{
    struct iovec part = {&number, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    ssize_t sent = sendmsg(KEEPER_OWN_FD, &message, MSG_NOSIGNAL);
    (void)sent; /* a server that is gone needs none */
}

/* Returns its number, or -1. */
static pid_t keeper_serve_start(const struct program *program, unsigned char number)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        keeper_execute(program, pair[1]);
    keeper_answer(pair[0], number);
    close(pair[0]);
    close(pair[1]);
    return pid;
}

static void keeper_reap(pid_t *next)
{
    pid_t ended;
    while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
        if (ended == *next)
            *next = -1;
}

static void keeper_run(const struct program *program)
{
    pid_t next = -1;
    unsigned char word[KEEPER_WORD_BYTES];
    while (recv(KEEPER_OWN_FD, word, sizeof(word), MSG_WAITALL) == (ssize_t)sizeof(word)) {
        keeper_reap(&next);
        if (word[0] == KEEPER_START)
            next = keeper_serve_start(program, word[1]);
        else if (word[0] == KEEPER_KILL && next > 0)
            kill(next, SIGKILL);
    }
    _exit(0);
}

/* Signals are for the server, also those that a whole group of processes gets. */
static void keeper_become(const struct program *program, const char *user, int fd)
{
    const struct sigaction ignored = {.sa_handler = SIG_IGN};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGQUIT, SIGALRM};
    char fault[PRIVILEGES_FAULT_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++)
        sigaction(numbers[i], &ignored, NULL);
    prctl(PR_SET_NAME, "sluice-keeper");
    if (dup2(fd, KEEPER_OWN_FD) < 0)
        _exit(1);
    if (close_range(KEEPER_OWN_FD + 1, ~0U, 0))
        _exit(1);
    if (user[0] && privileges_drop(user, fault))
        _exit(1);                       /* the server says so of itself */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the environment may have passwords */
    keeper_run(program);
}

/* The server. */

static int keeper_fork(struct keeper *keeper, const char *user)
{
    struct program program = {0};
    int pair[2] = {-1, -1};
    int err = program_read(&program);
    if (!err && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        err = -errno;
    pid_t pid = err ? -1 : fork();
    if (pid == 0)
        keeper_become(&program, user, pair[1]);
    if (!err && pid < 0)
        err = -errno;
    if (pair[1] >= 0)
        close(pair[1]);
    if (err && pair[0] >= 0)
        close(pair[0]);
    if (!err)
        keeper->fd = pair[0];
    const struct timeval patience = {.tv_sec = KEEPER_PATIENCE_S};
    if (!err && setsockopt(keeper->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
        err = -errno;
    buf_deinit(&program.words);
    free(program.arguments);
    return err;
}

void keeper_start(struct keeper *keeper, const char *user)
{
    keeper->fd = -1;
    int err = keeper_fork(keeper, user);
    if (err)
        log_event(LOG_WARN, "no-keeper", LOG_TEXT("reason", strerror(-err)),
                  LOG_TEXT("action", "the server runs, but cannot be upgraded by SIGUSR2"));
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper->fd >= 0)
        close(keeper->fd);
    keeper->fd = -1;
}

static int keeper_say(const struct keeper *keeper, char what)
{
    const unsigned char word[KEEPER_WORD_BYTES] = {(unsigned char)what, keeper->number};
    return send(keeper->fd, word, sizeof(word), MSG_NOSIGNAL) == (ssize_t)sizeof(word) ? 0 : -errno;
}

/* Returns the socket that comes with the next answer, or -ECHILD. */
static int keeper_hear(const struct keeper *keeper, unsigned char *number)
{
    struct iovec part = {number, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof(room.bytes)};
    int fd;
    ssize_t got = recvmsg(keeper->fd, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return -ECHILD;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

int keeper_start_next(struct keeper *keeper)
{
    unsigned char number;
    if (keeper->fd < 0)
        return -ECHILD;
    keeper->number++;
    int err = keeper_say(keeper, KEEPER_START);
    int fd = err ? err : keeper_hear(keeper, &number);
    while (fd >= 0 && number != keeper->number) {
        close(fd); /* of one that nobody waits for any more: it ends */
        fd = keeper_hear(keeper, &number);
    }
    return fd;
}

void keeper_kill_next(struct keeper *keeper)
{
    if (keeper->fd >= 0 && keeper_say(keeper, KEEPER_KILL))
        log_event(LOG_WARN, "keeper-lost",
                  LOG_TEXT("action", "look whether a second server runs, and end that"));
}

int keeper_successor(void)
{
    const char *text = getenv(KEEPER_VARIABLE);
    uint64_t fd;
    if (!text || number_parse_u64(&fd, text, strlen(text)) || fd != KEEPER_NEXT_FD)
        return -1;
    unsetenv(KEEPER_VARIABLE);
    return fcntl(KEEPER_NEXT_FD, F_SETFD, FD_CLOEXEC) ? -1 : KEEPER_NEXT_FD;
}
