/* Makes certificate signing requests with OpenSSL, each with a fresh P-256 key: the CA must not be asked with its own code. */
#ifndef UPKI_BENCH_REQUEST_MAKER_H
#define UPKI_BENCH_REQUEST_MAKER_H

#include <stddef.h>

/* Writes the PEM of a CSR for this CN; returns its length, or -1. */
long request_maker_pem(const char *common_name, char *output, size_t size);

#endif
