// The load: many requests in flight over several connections, and what came of them.
import Foundation
import Glibc
import Synchronization
import UPKIProtocol
import ZeroMQ

/// What a run of one task gave.
struct Measurement: Sendable {
    let task: String
    let answers: Int
    let seconds: Double
    /// Microseconds of each answer, sorted.
    let latencies: [UInt32]
    let refusals: [String]

    var perSecond: Double { Double(self.answers) / self.seconds }

    /// Milliseconds below which this share of the answers came.
    func percentile(_ share: Double) -> Double {
        guard !self.latencies.isEmpty else { return .nan }
        return Double(self.latencies[min(self.latencies.count - 1, Int(Double(self.latencies.count) * share))]) / 1_000
    }
}

struct BenchError: Error, CustomStringConvertible {
    let description: String
}

func microseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1_000
}

/// Sends `frames` over `connections` DEALER sockets, each on a thread of its own with its share of `inFlight` open requests.
///
/// - Parameter collect: called with the number of the request and its answer, on the threads of the connections.
func load(
    _ task: String, frames: [[UInt8]], endpoint: String, curve: ZMQCurveRole? = nil, connections: Int, inFlight: Int,
    collect: @escaping @Sendable (Int, [UInt8]) -> Void = { _, _ in }
) throws -> Measurement {
    struct Part { var latencies: [UInt32] = [], refusals: [String] = [], failure: String? }
    let parts = Mutex<[Part]>([])
    let context = try ZMQContext()
    let done = DispatchGroup()
    let start = microseconds()
    for connection in 0..<connections {
        done.enter()
        let thread = Thread {
            var part = Part()
            do {
                try run(
                    share: stride(from: connection, to: frames.count, by: connections), frames: frames, endpoint: endpoint,
                    curve: curve, context: context,
                    inFlight: max(1, inFlight / connections)
                ) { number, latency, answer in
                    part.latencies.append(latency)
                    if answer.starts(with: Array(#"{"EVENT":"ANSWER""#.utf8)) {
                        collect(number, answer)
                    } else if part.refusals.count < 5 {
                        part.refusals.append(String(decoding: answer.prefix(200), as: UTF8.self))
                    }
                }
            } catch { part.failure = "\(error)" }
            parts.withLock { $0.append(part) }
            done.leave()
        }
        thread.start()
    }
    done.wait()
    let seconds = Double(microseconds() - start) / 1_000_000
    let all = parts.withLock { $0 }
    if let failure = all.compactMap(\.failure).first { throw BenchError(description: "\(task): \(failure)") }
    return Measurement(
        task: task, answers: all.reduce(0) { $0 + $1.latencies.count }, seconds: seconds, latencies: all.flatMap(\.latencies).sorted(),
        refusals: all.flatMap(\.refusals))
}

/// One connection: keeps its window full until its share is answered.
private func run(
    share: StrideTo<Int>, frames: [[UInt8]], endpoint: String, curve: ZMQCurveRole?, context: ZMQContext, inFlight: Int,
    answered: (Int, UInt32, [UInt8]) -> Void
) throws {
    var options = ZMQSocketOptions()
    options.receiveTimeoutMilliseconds = 10_000
    options.sendTimeoutMilliseconds = 10_000
    options.curve = curve
    let socket = try ZMQSocket(.dealer, in: context, options: options)
    try socket.connect(endpoint)
    let limits = ZMQReceiveLimits(parts: 4, bytes: 32 << 20)
    var sentAt = [Int: UInt64](minimumCapacity: inFlight * 2)
    var waiting = share.makeIterator()
    func sendNext() throws {
        guard let number = waiting.next() else { return }
        sentAt[number] = microseconds()
        // The number stands before the delimiter, as a correlated REQ's would, and comes back with the answer.
        let id = withUnsafeBytes(of: UInt64(number).littleEndian) { Array($0) }
        guard try socket.send(parts: [id, [], frames[number]]) == .sent else { throw BenchError(description: "a request cannot be sent") }
    }
    for _ in 0..<inFlight { try sendNext() }
    while !sentAt.isEmpty {
        guard let message = try socket.receive(limits) else {
            throw BenchError(description: "no answer within 10 s; \(sentAt.count) are open")
        }
        guard message.parts.count == 3, message.parts[0].count == 8 else { throw BenchError(description: "an answer that fits no request") }
        let number = Int(message.parts[0].enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * UInt64($1.offset)) })
        guard let sent = sentAt.removeValue(forKey: number) else { throw BenchError(description: "a second answer to request \(number)") }
        answered(number, UInt32(clamping: microseconds() - sent), message.parts[2])
        try sendNext()
    }
}
