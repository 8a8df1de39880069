// Signs of life of every loop of a process, for its watchdog.
import Synchronization

/// One loop's sign of life; its thread alone writes it.
public final class LoopBeat: Sendable {
    public let name: String
    /// Passes so far, shifted left by one; the lowest bit says that the loop waits for work.
    private let state = Atomic<UInt64>(0)

    init(name: String) {
        self.name = name
    }

    /// The loop has something to do: called after each wait and at the top of each pass.
    public func passing() {
        let value = state.load(ordering: .relaxed)
        state.store(((value >> 1) &+ 1) << 1, ordering: .relaxed)
    }

    /// The loop has nothing to do and is about to wait; also right before a thread ends.
    public func idle() {
        state.store(state.load(ordering: .relaxed) | 1, ordering: .relaxed)
    }

    var snapshot: (passes: UInt64, idle: Bool) {
        let value = state.load(ordering: .relaxed)
        return (value >> 1, value & 1 == 1)
    }
}

/// All loops of a process: says whether each has passed, or was idle, since the last time it was asked.
///
/// The watchdog is fed only when ``silentLoops()`` is empty. One thread asks.
public final class Heartbeats: Sendable {
    private struct Entry {
        let beat: LoopBeat
        var passesSeen: UInt64
    }

    private let entries = Mutex<[Entry]>([])

    public init() {}

    /// Registers a loop; its thread marks the beat it gets.
    public func loop(named name: String) -> LoopBeat {
        let beat = LoopBeat(name: name)
        entries.withLock { $0.append(Entry(beat: beat, passesSeen: 0)) }
        return beat
    }

    /// The names of the loops that neither passed nor were idle since the last call.
    public func silentLoops() -> [String] {
        entries.withLock { entries in
            var silent: [String] = []
            for index in entries.indices {
                let (passes, idle) = entries[index].beat.snapshot
                if !idle && passes == entries[index].passesSeen { silent.append(entries[index].beat.name) }
                entries[index].passesSeen = passes
            }
            return silent
        }
    }
}
