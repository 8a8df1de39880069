// Asks an OCSP responder over a unix socket and judges what it answers.
