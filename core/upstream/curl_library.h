/* SPDX-License-Identifier: MIT */
/*
 * libcurl, loaded when it is first needed: with what it stands on it is thirty libraries and 5 MB
 * of memory, and most gateways never need it. The functions that curl_transport.c calls, and no
 * others.
 */
#ifndef UPSTREAM_CURL_LIBRARY_H
#define UPSTREAM_CURL_LIBRARY_H

#include <curl/curl.h>

#include "base/err.h"

struct curl_library {
    const curl_version_info_data *info; /* the library's own */
    CURLcode (*global_init)(long flags);
    void (*global_cleanup)(void);
    char *(*version)(void);
    curl_version_info_data *(*version_info)(CURLversion age);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *easy);
    CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
    CURLcode (*easy_pause)(CURL *easy, int bitmask);
    const char *(*easy_strerror)(CURLcode code);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *multi);
    CURLMcode (*multi_setopt)(CURLM *multi, CURLMoption option, ...);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_socket_action)(CURLM *multi, curl_socket_t fd, int mask, int *running);
    CURLMcode (*multi_assign)(CURLM *multi, curl_socket_t fd, void *value);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
};

/* Fills *lib. The library stays loaded as long as the process: a second call costs microseconds,
 * the first some milliseconds. Any thread. -1: it is not there, or too old to be told to
 * send once and to whom; *err says so. */
int curl_library_load(struct curl_library *lib, struct err *err)
    __attribute__((warn_unused_result));

#endif
