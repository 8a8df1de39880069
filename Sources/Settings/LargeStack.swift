// Running a piece of work on a stack that is large enough for it, whatever thread asks.

private import Glibc

/// Runs `body` on a thread with a stack of 32 MiB and waits for it. libyaml allows a nesting of 1000, and Yams takes up to 4 KiB of stack
/// a level to build, hash and free it (measured: 2 MiB are too little for 1000 levels, 4 MiB enough, without a sanitizer).
///
/// - Returns: false where no thread could be made; then `body` did not run.
func onLargeStack(_ body: () -> Void) -> Bool {
    withoutActuallyEscaping(body) { escapable in
        let work = Unmanaged.passRetained(StackWork(escapable))
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, 32 << 20)
        var thread = pthread_t()
        let failure = pthread_create(
            &thread,
            &attributes,
            { pointer in
                // Released before the thread ends, and so before `body` may no longer be called.
                if let pointer { Unmanaged<StackWork>.fromOpaque(pointer).takeRetainedValue().body() }
                return nil
            },
            work.toOpaque()
        )
        guard failure == 0 else {
            work.release()
            return false
        }
        pthread_join(thread, nil)
        return true
    }
}

private final class StackWork {
    let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }
}
