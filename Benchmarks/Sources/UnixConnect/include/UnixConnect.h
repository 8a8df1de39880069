/* Preloaded into a load generator that knows TCP alone; it exports nothing but connect. */
