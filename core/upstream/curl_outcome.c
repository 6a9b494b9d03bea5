/* SPDX-License-Identifier: MIT */
/* What libcurl's end of a transfer means: its outcome, and how much of the request went out. */
#include "upstream/curl_internal.h"

enum transfer_sent curl_sent(const struct transfer *base) {
    const struct curl_transfer *x = (const struct curl_transfer *)base;
    long bytes = 0;
    curl_off_t uploaded = 0;
    x->owner->lib.easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &bytes);
    x->owner->lib.easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (!x->ready || (bytes == 0 && x->out.body_read == 0 && !x->resent)) {
        return SENT_NOTHING;
    }
    /* libcurl forgets its counts when it turns to a second try; what it was given is then the
     * cautious answer. */
    size_t out = x->resent ? x->out.body_read : (size_t)uploaded;
    return out >= x->out.body_size || (x->resent && x->out.joined) ? SENT_ALL : SENT_PARTIAL;
}

/* A server that wants a certificate of ours says so after a handshake of TLS 1.3, to the first read
 * or write. libcurl has no code for it. */
static bool refused_late(const struct curl_transfer *x, CURLcode code) {
    return (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) && x->answer.bytes == 0 &&
           strstr(x->error, "SSL") && strstr(x->error, " alert ");
}

static enum outcome before_head(const struct curl_transfer *x, CURLcode code) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return OUTCOME_DNS_ERROR;
    case CURLE_OPERATION_TIMEDOUT:
        return OUTCOME_TIMEOUT_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CLIENTCERT:
        return OUTCOME_TLS_ERROR;
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer like HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
        return x->ready ? OUTCOME_INVALID_RESPONSE : OUTCOME_CONNECT_ERROR;
    default:
        break;
    }
    if (!x->ready) {
        return OUTCOME_CONNECT_ERROR;
    }
    if (x->answer.bytes > 0) {
        return OUTCOME_INVALID_RESPONSE; /* half a head */
    }
    if (refused_late(x, code)) {
        return OUTCOME_TLS_ERROR;
    }
    return x->opened ? OUTCOME_EMPTY_RESPONSE : OUTCOME_STALE_CONNECTION;
}

enum outcome curl_outcome(const struct curl_transfer *x, CURLcode code) {
    if (x->answer.fault) {
        return OUTCOME_INVALID_RESPONSE;
    }
    if (x->answer.phase != ANSWER_BODY) {
        return before_head(x, code);
    }
    switch (code) {
    case CURLE_OK:
        return OUTCOME_OK;
    case CURLE_BAD_CONTENT_ENCODING:
        return OUTCOME_INVALID_RESPONSE;
    default:
        return OUTCOME_STREAM_BROKEN;
    }
}
