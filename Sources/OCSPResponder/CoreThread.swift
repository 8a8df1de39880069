// The core's thread as the rest of a program sees it: start, stop, what it has to say.
import Synchronization
package import Threads

/// Runs a responder's conversation with ca-core on a thread of its own.
package final class CoreThread: Sendable {
    /// What happens; bounded, so that a reader that does not read costs lines and not memory. Closed at the end.
    package let events: Mailbox<ResponderEvent>
    private let control: Mailbox<String>
    private let thread = Mutex<OwnedThread?>(nil)
    private let responder: Responder
    private let options: CoreLoopOptions
    private let beat: LoopBeat

    /// - Parameter heartbeats: where the thread shows that it moves.
    /// - Throws: `.system` where no descriptor is left.
    package init(_ options: CoreLoopOptions, responder: Responder, heartbeats: Heartbeats = Heartbeats()) throws(ResponderError) {
        do throws(ThreadsError) {
            events = try Mailbox(capacity: 4_096)
            control = try Mailbox()
        } catch {
            throw ResponderError(.system, error.message)
        }
        self.options = options
        self.responder = responder
        beat = heartbeats.loop(named: "ocsp-link")
    }

    /// Starts it.
    /// - Parameter hops: one for each event loop, by index.
    /// - Throws: `.system` where no thread is left.
    package func start(hops: [LoopHop]) throws(ResponderError) {
        do throws(ThreadsError) {
            let thread = try OwnedThread(name: "ocsp-link") { [options, responder, events, control, beat] in
                let end: ResponderEnd
                do throws(ResponderError) {
                    let loop = try CoreLoop(options, responder: responder, hops: hops, events: events, control: control, beat: beat)
                    end = .stopped(try loop.run())
                } catch {
                    end = .failed(error)
                    events.post(.log(.error, error.message))
                }
                beat.idle()
                responder.shared.facts.withLock { $0.end = end }
                events.close()
            }
            self.thread.withLock { $0 = thread }
        } catch {
            throw ResponderError(.system, error.message)
        }
    }

    /// Asks it to end; any thread may call it.
    package func stop(reason: String) { control.post(reason) }

    /// Waits until it has ended and its sockets are closed.
    package func join() { thread.withLock { $0 }?.join() }

    /// Whether it could not go on.
    package var hasFailed: Bool {
        if case .failed? = responder.shared.facts.withLock({ $0.end }) { true } else { false }
    }
}
