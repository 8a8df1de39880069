/* What we use of libsystemd: sd_notify(3) and sd_watchdog_enabled(3), sd_listen_fds_with_names(3), the journal (sd-journal(3)), and the bus of the
   service manager (sd-bus(3)). */
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
