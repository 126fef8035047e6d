/* SPDX-License-Identifier: MIT */
/* Calls of libraries. They fail as they do without memory. */
#include "faults.h"

#include <Judy.h>
#include <cjose/cjose.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stddef.h>
#include <wslay/wslay.h>

/* clang-format off: a row each */
FAULTY("mhd", struct MHD_Response *, NULL, MHD_create_response_from_buffer,
       (size_t len, void *bytes, enum MHD_ResponseMemoryMode mode), (len, bytes, mode))
FAULTY("mhd", struct MHD_Response *, NULL, MHD_create_response_from_buffer_with_free_callback_cls,
       (size_t len, void *bytes, MHD_ContentReaderFreeCallback end, void *object), (len, bytes, end, object))
FAULTY("mhd", struct MHD_Response *, NULL, MHD_create_response_from_callback,
       (uint64_t len, size_t block, MHD_ContentReaderCallback read, void *object,
        MHD_ContentReaderFreeCallback end),
       (len, block, read, object, end))
FAULTY("mhd", struct MHD_Response *, NULL, MHD_create_response_from_fd64, (uint64_t len, int fd), (len, fd))
FAULTY("mhd", struct MHD_Response *, NULL, MHD_create_response_for_upgrade,
       (MHD_UpgradeHandler open, void *object), (open, object))
FAULTY("mhd", enum MHD_Result, MHD_NO, MHD_add_response_header,
       (struct MHD_Response * response, const char *name, const char *value), (response, name, value))
FAULTY("mhd", enum MHD_Result, MHD_NO, MHD_queue_response,
       (struct MHD_Connection * connection, unsigned status, struct MHD_Response *response),
       (connection, status, response))

FAULTY("judy", PPvoid_t, PPJERR, JudyLIns, (PPvoid_t array, Word_t index, JError_t *error),
       (array, index, error))
FAULTY("judy", PPvoid_t, PPJERR, JudySLIns, (PPvoid_t array, const uint8_t *index, JError_t *error),
       (array, index, error))

FAULTY("library", json_t *, NULL, json_loadb,
       (const char *bytes, size_t len, size_t flags, json_error_t *error), (bytes, len, flags, error))
FAULTY("library", int, WSLAY_ERR_NOMEM, wslay_frame_context_init,
       (wslay_frame_context_ptr * context, const struct wslay_frame_callbacks *callbacks, void *object),
       (context, callbacks, object))
FAULTY("library", redisReader *, NULL, redisReaderCreate, (void), ())
FAULTY("library", int, REDIS_ERR, redisReaderFeed, (redisReader * reader, const char *bytes, size_t len),
       (reader, bytes, len))
FAULTY("library", int, REDIS_ERR, redisReaderGetReply, (redisReader * reader, void **reply), (reader, reply))
FAULTY("library", int, -1, redisFormatCommandArgv,
       (char **command, int count, const char **words, const size_t *lens), (command, count, words, lens))

FAULTY("jose", cjose_jwk_t *, NULL, cjose_jwk_create_oct_spec,
       (const uint8_t *bytes, size_t len, cjose_err *error), (bytes, len, error))
FAULTY("jose", cjose_jwk_t *, NULL, cjose_jwk_create_RSA_spec,
       (const cjose_jwk_rsa_keyspec *facts, cjose_err *error), (facts, error))
FAULTY("jose", cjose_jwk_t *, NULL, cjose_jwk_create_EC_spec,
       (const cjose_jwk_ec_keyspec *facts, cjose_err *error), (facts, error))
FAULTY("jose", cjose_jwk_t *, NULL, cjose_jwk_import, (const char *bytes, size_t len, cjose_err *error),
       (bytes, len, error))
FAULTY("jose", char *, NULL, cjose_jwk_to_json, (const cjose_jwk_t *key, bool is_private, cjose_err *error),
       (key, is_private, error))
FAULTY("jose", cjose_jws_t *, NULL, cjose_jws_import, (const char *bytes, size_t len, cjose_err *error),
       (bytes, len, error))
FAULTY("jose", bool, false, cjose_jws_verify, (cjose_jws_t * jws, const cjose_jwk_t *key, cjose_err *error),
       (jws, key, error))

FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_init, (gnutls_session_t * session, unsigned flags),
       (session, flags))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_priority_init,
       (gnutls_priority_t * priority, const char *words, const char **fault), (priority, words, fault))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_priority_set,
       (gnutls_session_t session, gnutls_priority_t priority), (session, priority))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_credentials_set,
       (gnutls_session_t session, gnutls_credentials_type_t kind, void *credentials),
       (session, kind, credentials))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_session_ticket_enable_server,
       (gnutls_session_t session, const gnutls_datum_t *key), (session, key))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_session_ticket_key_generate, (gnutls_datum_t * key), (key))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_alpn_set_protocols,
       (gnutls_session_t session, const gnutls_datum_t *protocols, unsigned count, unsigned flags),
       (session, protocols, count, flags))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_certificate_allocate_credentials,
       (gnutls_certificate_credentials_t * credentials), (credentials))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_certificate_set_x509_key_file2,
       (gnutls_certificate_credentials_t credentials, const char *certificate, const char *key,
        gnutls_x509_crt_fmt_t form, const char *password, unsigned flags),
       (credentials, certificate, key, form, password, flags))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_certificate_set_x509_trust_file,
       (gnutls_certificate_credentials_t credentials, const char *path, gnutls_x509_crt_fmt_t form),
       (credentials, path, form))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_certificate_get_x509_crt,
       (gnutls_certificate_credentials_t credentials, unsigned index, gnutls_x509_crt_t **list,
        unsigned *count),
       (credentials, index, list, count))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_x509_crt_init, (gnutls_x509_crt_t * certificate),
       (certificate))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_x509_crt_import,
       (gnutls_x509_crt_t certificate, const gnutls_datum_t *data, gnutls_x509_crt_fmt_t form),
       (certificate, data, form))
FAULTY("tls", int, GNUTLS_E_MEMORY_ERROR, gnutls_handshake, (gnutls_session_t session), (session))
FAULTY("tls", ssize_t, GNUTLS_E_MEMORY_ERROR, gnutls_record_recv,
       (gnutls_session_t session, void *to, size_t size), (session, to, size))
FAULTY("tls", ssize_t, GNUTLS_E_MEMORY_ERROR, gnutls_record_send,
       (gnutls_session_t session, const void *bytes, size_t len), (session, bytes, len))
/* clang-format on */
