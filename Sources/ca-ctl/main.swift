// ca-ctl: the operator's command line, and the supervisor of the others.

import Console
import Glibc
import Supervised

FirstActs.perform()
// A program started without the three standard descriptors would take pipes of ours for them.
while true {
    let descriptor = open("/dev/null", O_RDWR | O_CLOEXEC)
    if descriptor > STDERR_FILENO || descriptor < 0 {
        close(descriptor)
        break
    }
    _ = fcntl(descriptor, F_SETFD, 0)
}
exit(CACtl.run(arguments: Array(CommandLine.arguments.dropFirst())))
