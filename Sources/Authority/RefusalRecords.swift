// Which refusals get a record of their own: enough to see who tries what, never so many that strangers fill the disk.

import PKI
import Synchronization

/// Of one identity, task and reason, ten refusals a minute are recorded.
final class RefusalRecords: Sendable {
    private struct Minute {
        var number: Int64 = 0
        var counts: [String: Int] = [:]
    }
    private let minute = Mutex(Minute())

    private static let perMinute = 10
    /// Different identities, tasks and reasons in one minute.
    private static let kinds = 1_000

    /// Whether this refusal is to be recorded.
    func admit(_ context: RequestContext, _ refusal: AuthorityError, now: UnixTime) -> Bool {
        let number = now.seconds / 60
        return self.minute.withLock { minute in
            if minute.number != number { minute = Minute(number: number) }
            let key = "\(context.caller.proofText) \(context.task) \(refusal.code.rawValue)"
            let count = minute.counts[key, default: 0]
            guard count < Self.perMinute, minute.counts.count < Self.kinds || count > 0 else { return false }
            minute.counts[key] = count + 1
            return true
        }
    }
}
