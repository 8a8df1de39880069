// ca-ocsp-bridge: turns what ca-core says of certificates into signed OCSP responses over HTTP on a unix socket.
import ArgumentParser
import Glibc
import OCSPResponder
import Supervised

FirstActs.perform()
CAOCSPBridge.main()
