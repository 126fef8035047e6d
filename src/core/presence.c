/* SPDX-License-Identifier: MIT */
#include "core/presence.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "render/render.h"

struct presence {
    struct presence_request request;
    struct hub *hub;
    struct persona *persona; /* that the broker is told of next; NULL when it knows */
    bool is_asked;           /* the broker has the request */
    bool is_joined;
    bool has_changed;
    bool is_over;
    char channel[];
};

static void presence_answered(struct broker_request *super);

static void presence_free(struct presence *presence)
{
    persona_unref(presence->request.persona);
    persona_unref(presence->persona);
    free(presence);
}

static void presence_ask(struct presence *presence, enum presence_step step)
{
    presence->is_asked = true;
    presence->request.step = step;
    if (hub_submit(presence->hub, &presence->request.super, BROKER_PRESENCE, presence_answered))
        presence_answered(&presence->request.super);
}

/* One thing after the other, in their order. */
static void presence_go_on(struct presence *presence)
{
    if (presence->is_asked)
        return;
    if (presence->is_over && presence->is_joined) {
        presence_ask(presence, PRESENCE_LEAVE);
    } else if (presence->is_over) {
        presence_free(presence);
    } else if (presence->has_changed && presence->is_joined) {
        presence->has_changed = false;
        persona_unref(presence->request.persona);
        presence->request.persona = presence->persona;
        presence->persona = NULL;
        presence_ask(presence, PRESENCE_UPDATE);
    }
}

static void presence_answered(struct broker_request *super)
{
    struct presence *presence = container_of(super, struct presence, request.super);
    presence->is_asked = false;
    if (presence->request.step == PRESENCE_JOIN)
        presence->is_joined = super->error == ERROR_NONE;
    else if (presence->request.step == PRESENCE_LEAVE)
        presence->is_joined = false;
    presence_go_on(presence);
}

struct presence *presence_begin(struct hub *hub, struct text channel, struct persona *persona,
                                enum transport_kind transport)
{
    struct presence *presence = calloc(1, sizeof(*presence) + channel.len);
    if (!presence)
        return NULL;
    memcpy(presence->channel, channel.bytes, channel.len);
    presence->hub = hub;
    presence->request.channel = (struct text){presence->channel, channel.len};
    presence->request.persona = persona_ref(persona);
    presence->request.transport = (uint8_t)transport;
    presence_ask(presence, PRESENCE_JOIN);
    return presence;
}

void presence_change(struct presence *presence, struct persona *persona)
{
    persona_ref(persona);
    persona_unref(presence->persona);
    presence->persona = persona;
    presence->has_changed = true;
    presence_go_on(presence);
}

void presence_end(struct presence *presence)
{
    if (!presence)
        return;
    presence->is_over = true;
    presence_go_on(presence);
}

void presence_append_member(struct buf *to, const struct presence_member *member)
{
    buf_append_text(to, "{\"name\":");
    render_json_string(to, member->name.bytes, member->name.len);
    if (member->info.len > 0) {
        buf_append_text(to, ",\"info\":");
        buf_append(to, member->info.bytes, member->info.len);
    }
    buf_append_text(to, ",\"since\":");
    buf_append_u64(to, member->since_ms > 0 ? (uint64_t)member->since_ms : 0);
    buf_append_text(to, ",\"node\":");
    render_json_string(to, member->node.bytes, member->node.len);
    buf_append_text(to, ",\"transport\":");
    render_json_string(to, member->transport.bytes, member->transport.len);
    buf_append_char(to, '}');
}

void presence_append_name(struct buf *to, struct text name)
{
    buf_append_text(to, "{\"name\":");
    render_json_string(to, name.bytes, name.len);
    buf_append_char(to, '}');
}

void presence_append_list(struct buf *to, const struct roster_request *request)
{
    buf_append_text(to, "\"members\":[");
    buf_append(to, request->members.bytes, request->members.len);
    buf_append_text(to, "],\"count\":");
    buf_append_u64(to, request->count);
    buf_append_text(to, ",\"anonymous\":");
    buf_append_u64(to, request->anonymous);
    if (!request->has_more)
        return;
    buf_append_text(to, ",\"next\":");
    render_json_string(to, request->last, strlen(request->last));
}

struct text presence_transport(enum transport_kind transport)
{
    static const char *const words[] = {
#define PRESENCE_WORD(to, name, word, help) word,
        TRANSPORT_TABLE(PRESENCE_WORD, TRANSPORT_NONE, )
#undef PRESENCE_WORD
    };
    return text_of(words[transport]);
}
