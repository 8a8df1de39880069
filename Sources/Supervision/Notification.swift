// One datagram of sd_notify(3), read without trusting a byte of it.

/// The assignments of a notification that the supervisor knows; the others are ignored, as sd_notify(3) asks.
package struct Notification: Equatable, Sendable {
    package enum Watchdog: Equatable, Sendable {
        case alive
        /// WATCHDOG=trigger: the service found itself to be ill.
        case trigger
    }

    package var ready = false
    package var stopping = false
    package var reloading = false
    package var watchdog: Watchdog?
    package var status: String?
    package var mainPid: Int32?
    package var errno: Int32?
    package var exitStatus: Int32?

    /// A longer datagram is not read at all.
    package static let longest = 4096
    /// A longer status text is cut, in bytes.
    package static let longestStatus = 256

    package init(parsing bytes: some Sequence<UInt8>) {
        for line in Array(bytes).split(separator: UInt8(ascii: "\n")) {
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = line[(equals + 1)...]
            switch String(decoding: line[..<equals], as: UTF8.self) {
            case "READY": if value.elementsEqual("1".utf8) { ready = true }
            case "STOPPING": if value.elementsEqual("1".utf8) { stopping = true }
            case "RELOADING": if value.elementsEqual("1".utf8) { reloading = true }
            case "WATCHDOG":
                if value.elementsEqual("1".utf8) { watchdog = .alive }
                if value.elementsEqual("trigger".utf8) { watchdog = .trigger }
            case "STATUS": status = Self.text(value)
            case "MAINPID": mainPid = Self.number(value)
            case "ERRNO": errno = Self.number(value)
            case "EXIT_STATUS": exitStatus = Self.number(value)
            default: continue
            }
        }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int32? {
        guard (1...10).contains(bytes.count), bytes.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int32(String(decoding: bytes, as: UTF8.self))
    }

    /// What may be shown on a terminal: bounded, valid UTF-8, no control characters.
    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        var text = ""
        for scalar in String(decoding: bytes.prefix(longestStatus), as: UTF8.self).unicodeScalars {
            // C0, DEL and C1: all of them can begin an escape sequence.
            let harmless = scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
            text.unicodeScalars.append(harmless ? scalar : "?")
        }
        return text
    }
}

/// How many notifications of one service are read: bursts are taken, a flood is left in its own socket, where it holds up
/// none but its sender.
package struct NotificationBudget: Sendable {
    package typealias Instant = SuspendingClock.Instant

    /// The size of a burst, and what comes back in a second.
    package static let perSecond = 256

    private var left = perSecond
    private var counted: Instant

    package init(now: Instant) { counted = now }

    /// When the next one may be read; nil: at once.
    package mutating func pausedUntil(now: Instant) -> Instant? {
        refill(now: now)
        return left > 0 ? nil : counted.advanced(by: .milliseconds(100))
    }

    package mutating func take() { left -= 1 }

    private mutating func refill(now: Instant) {
        let passed = counted.duration(to: now)
        guard passed >= .milliseconds(100) else { return }
        let tenths = passed >= .seconds(1) ? 10 : Int(passed / .milliseconds(100))
        left = min(Self.perSecond, left + tenths * Self.perSecond / 10)
        counted = now
    }
}
