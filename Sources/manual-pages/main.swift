// Makes manual pages (mdoc(7)) from what a program says of its commands: reads `--experimental-dump-help` from standard input.

import Glibc

exit(Generator.run(Array(CommandLine.arguments.dropFirst())))
