/* SPDX-License-Identifier: MIT */
#include "server/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/number.h"

#define PRIVILEGES_GROUPS_MAX 256

struct account {
    uid_t uid;
    gid_t gid;
    gid_t groups[PRIVILEGES_GROUPS_MAX];
    int group_count;
};

void privileges_give_up_new(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        log_event(LOG_WARN, "no-new-privs", LOG_TEXT("reason", strerror(errno)));
}

void privileges_hide_memory(void)
{
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
        log_event(LOG_WARN, "core-limit", LOG_TEXT("reason", strerror(errno)));
}

static int privileges_fail(int err, char fault[PRIVILEGES_FAULT_MAX], const char *what)
{
    snprintf(fault, PRIVILEGES_FAULT_MAX, "%s", what);
    return err;
}

static int privileges_find_user(struct account *identity, const char *name, char fault[PRIVILEGES_FAULT_MAX])
{
    uint64_t number;
    bool is_number = number_parse_u64(&number, name, strlen(name)) == 0;
    errno = 0;
    const struct passwd *entry = is_number ? getpwuid((uid_t)number) : getpwnam(name);
    if (is_number && number >= UINT32_MAX)
        return privileges_fail(-EINVAL, fault, "a user's number has at most 32 bits");
    if (!entry && !is_number) {
        snprintf(fault, PRIVILEGES_FAULT_MAX,
                 "there is no user '%.64s' on this machine; adduser --system makes one", name);
        return -EINVAL;
    }
    identity->uid = entry ? entry->pw_uid : (uid_t)number;
    identity->gid = entry ? entry->pw_gid : (gid_t)number;
    identity->groups[0] = identity->gid;
    identity->group_count = 1;
    if (!entry)
        return 0;
    identity->group_count = PRIVILEGES_GROUPS_MAX;
    if (getgrouplist(entry->pw_name, identity->gid, identity->groups, &identity->group_count) < 0)
        return privileges_fail(-EINVAL, fault, "the user is in more than 256 groups");
    return 0;
}

static int privileges_find_group(struct account *identity, const char *name, char fault[PRIVILEGES_FAULT_MAX])
{
    uint64_t number;
    const struct group *entry = getgrnam(name);
    if (!entry && (number_parse_u64(&number, name, strlen(name)) || number >= UINT32_MAX)) {
        snprintf(fault, PRIVILEGES_FAULT_MAX, "there is no group '%.64s' on this machine", name);
        return -EINVAL;
    }
    identity->gid = entry ? entry->gr_gid : (gid_t)number;
    return 0;
}

static int privileges_find(struct account *identity, const char *user, char fault[PRIVILEGES_FAULT_MAX])
{
    const char *colon = strchr(user, ':');
    char name[64];
    size_t len = colon ? (size_t)(colon - user) : strlen(user);
    if (len == 0 || len >= sizeof(name) || (colon && !colon[1]))
        return privileges_fail(-EINVAL, fault, "it is NAME or NAME:GROUP");
    memcpy(name, user, len);
    name[len] = '\0';
    int err = privileges_find_user(identity, name, fault);
    if (!err && colon)
        err = privileges_find_group(identity, colon + 1, fault);
    if (!err && (identity->uid == 0 || identity->gid == 0))
        return privileges_fail(-EINVAL, fault, "that is root, of which nothing would be given up");
    return err;
}

static bool privileges_are_those_of(const struct account *identity)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) || getresgid(&gids[0], &gids[1], &gids[2]))
        return false;
    for (size_t i = 0; i < 3; i++)
        if (uids[i] != identity->uid || gids[i] != identity->gid)
            return false;
    return true;
}

static int privileges_find_allowed(struct account *identity, const char *user,
                                   char fault[PRIVILEGES_FAULT_MAX])
{
    int err = privileges_find(identity, user, fault);
    if (err || geteuid() == 0 || privileges_are_those_of(identity))
        return err;
    return privileges_fail(-EPERM, fault,
                           "only root can become another user: start Sluice as root, or without this option");
}

int privileges_check(const char *user, char fault[PRIVILEGES_FAULT_MAX])
{
    struct account identity;
    return privileges_find_allowed(&identity, user, fault);
}

/* What it must not be able to take back. */
static bool privileges_can_return(void)
{
    return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setresgid((gid_t)-1, 0, (gid_t)-1) == 0;
}

int privileges_drop(const char *user, char fault[PRIVILEGES_FAULT_MAX])
{
    struct account identity;
    int err = privileges_find_allowed(&identity, user, fault);
    if (err)
        return err;
    if (geteuid() == 0 && (setgroups((size_t)identity.group_count, identity.groups) ||
                           setresgid(identity.gid, identity.gid, identity.gid) ||
                           setresuid(identity.uid, identity.uid, identity.uid))) {
        err = -errno;
        return privileges_fail(err, fault, strerror(errno));
    }
    if (!privileges_are_those_of(&identity) || privileges_can_return())
        return privileges_fail(-EPERM, fault, "the rights of root are still there afterwards");
    return 0;
}

void privileges_warn_of_unreadable_files(const struct options *options)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->kind != OPTION_STRING || strcmp(row->argument, "FILE") != 0 ||
            strcmp(row->name, "ready-file") == 0)
            continue;
        char *path = option_format(options, row);
        if (path && path[0] && access(path, R_OK))
            log_event(LOG_WARN, "unreadable-file", LOG_TEXT("option", row->name), LOG_TEXT("file", path),
                      LOG_TEXT("reason", strerror(errno)),
                      LOG_TEXT("action", "let the user read it, or a reload (SIGHUP) fails"));
        free(path);
    }
}
