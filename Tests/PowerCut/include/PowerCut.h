// Nothing to call: the library is preloaded (LD_PRELOAD), and the environment tells it what to watch.
