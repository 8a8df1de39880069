// ca-registrar: relays port 5001 to ca-core while RAs may register. It holds no rules and no secrets.
import ArgumentParser
import Glibc
import Relay
import Supervised

FirstActs.perform()
CARegistrar.main()
