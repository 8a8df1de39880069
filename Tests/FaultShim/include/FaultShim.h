/* Loaded into a process with LD_PRELOAD; there is nothing to call. */
