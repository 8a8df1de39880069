#include "CRequestMaker.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

long request_maker_pem(const char *common_name, char *output, size_t size) {
    long length = -1;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *request = X509_REQ_new();
    BIO *memory = BIO_new(BIO_s_mem());
    if (key != NULL && request != NULL && memory != NULL && X509_REQ_set_pubkey(request, key) == 1 &&
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1 &&
        X509_REQ_sign(request, key, EVP_sha256()) > 0 && PEM_write_bio_X509_REQ(memory, request) == 1) {
        char *text = NULL;
        long count = BIO_get_mem_data(memory, &text);
        if (count >= 0 && (size_t)count <= size) length = BIO_read(memory, output, (int)count);
    }
    BIO_free(memory);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    return length;
}
