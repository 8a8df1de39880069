/* What we use of libsystemd: sd_notify(3) and sd_watchdog_enabled(3). */
#include <systemd/sd-daemon.h>
