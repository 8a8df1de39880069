// What Swift needs of OpenSSL 3's libcrypto: the headers, and functions for macros and variadic functions that Swift cannot import.
#ifndef UPKI_COPENSSL_SHIM_H
#define UPKI_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static inline EVP_PKEY *upki_generate_ec(const char *curve) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve); }
static inline EVP_PKEY *upki_generate_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline EVP_PKEY *upki_generate_rsa(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }

/// Public and private part together.
static const int upki_keypair = EVP_PKEY_KEYPAIR;

/// The bytes that a memory BIO holds; they belong to the BIO.
static inline long upki_bio_content(BIO *bio, char **content) { return BIO_get_mem_data(bio, content); }

/// Whether an error says that there was no (further) PEM block to read.
static inline int upki_error_is_no_pem(unsigned long error) {
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static inline int upki_bn_bytes(const BIGNUM *number) { return BN_num_bytes(number); }

static inline STACK_OF(X509) *upki_x509_stack_new(void) { return sk_X509_new_null(); }
/// Takes over the certificate when it returns a value above 0.
static inline int upki_x509_stack_push(STACK_OF(X509) *stack, X509 *certificate) { return sk_X509_push(stack, certificate); }
static inline int upki_x509_stack_count(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline void upki_x509_stack_free(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }

#endif
