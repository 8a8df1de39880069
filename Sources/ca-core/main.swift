// ca-core: the CA key, the store and the rules; `front` relays port 5000 to it; `init`, `export`, `token` and `audit-verify` work on its directory.

import ArgumentParser
import CoreServer
import Glibc
import Supervised

// Before any thread exists: give up privileges, die with the supervisor, close what must not leak.
FirstActs.perform()
CACore.main()
