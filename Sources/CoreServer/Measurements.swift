// What the core counts while it works: requests by task and outcome, how long they took, commits and what they held.

import Authority
import Metrics
import Tasks
internal import Threads
import UPKIProtocol

/// Counts on the way of a request; every thread may record, and none waits for another.
final class Measurements: Sendable {
    /// The tasks of each socket, and one row for whatever is no task: strangers can make no label.
    private final class Row: Sendable {
        let channel: Caller.Channel
        let task: String
        let outcomes: [Counter]
        let seconds = Histogram.seconds()

        init(_ channel: Caller.Channel, _ task: String) {
            self.channel = channel
            self.task = task
            self.outcomes = Outcome.names.map { _ in Counter() }
        }
    }

    private let rows: [Row]
    private let indexes: [Caller.Channel: [String: Int]]
    private let unknown: [Caller.Channel: Int]

    let dropped = Counter()
    let commits = Counter()
    let failedCommits = Counter()
    let rowsWritten = Counter()
    let changes = Histogram.batches()
    let commitSeconds = Histogram.seconds()

    init() {
        var rows: [Row] = []
        var indexes: [Caller.Channel: [String: Int]] = [:]
        var unknown: [Caller.Channel: Int] = [:]
        for channel in Caller.Channel.allCases {
            unknown[channel] = rows.count
            rows.append(Row(channel, "unknown"))
            for task in TaskTable.all where task.channels.contains(channel) {
                indexes[channel, default: [:]][task.name] = rows.count
                rows.append(Row(channel, task.name))
            }
        }
        self.rows = rows
        self.indexes = indexes
        self.unknown = unknown
    }

    /// Where a request is counted; nil stands for a request that names no task of its socket.
    func meter(_ task: String?, on channel: Caller.Channel, arrival: UInt64) -> RequestMeter {
        let index = task.flatMap { self.indexes[channel]?[$0] } ?? self.unknown[channel] ?? 0
        return RequestMeter(row: index, arrival: arrival)
    }

    /// A request has its answer.
    func answered(_ meter: RequestMeter, _ outcome: Outcome) {
        let row = self.rows[meter.row]
        row.outcomes[outcome.index].add()
        // A peer that gave no time of arrival is counted, not timed.
        guard meter.arrival > 0 else { return }
        row.seconds.record(MonotonicTime(nanoseconds: meter.arrival).nanoseconds(until: .now))
    }

    /// A transaction, or a batch that was tried change by change, has ended.
    func committed(_ report: CommitReport<JSON>, changes: Int, since start: MonotonicTime) {
        self.commitSeconds.record(start.nanoseconds(until: .now))
        self.changes.record(UInt64(changes))
        self.rowsWritten.add(UInt64(report.rows))
        if report.commits > 0 { self.commits.add(UInt64(report.commits)) } else { self.failedCommits.add() }
    }

    /// Adds what was counted; rows of tasks that nobody asked for are left out.
    func write(to text: inout Exposition) {
        var requests: [(Exposition.Labels, UInt64)] = []
        var seconds: [(Exposition.Labels, Histogram.Snapshot)] = []
        for row in self.rows {
            let labels: Exposition.Labels = [("channel", row.channel.rawValue), ("task", row.task)]
            for (name, counter) in zip(Outcome.names, row.outcomes) where counter.value > 0 {
                requests.append((labels + [("outcome", name)], counter.value))
            }
            let snapshot = row.seconds.snapshot
            if snapshot.count > 0 { seconds.append((labels, snapshot)) }
        }
        text.counter("upki_ca_requests_total", "Requests that were answered, by socket, task and outcome.", requests)
        text.histogram("upki_ca_request_seconds", "Seconds from the arrival at the relay to the answer, by socket and task.", seconds)
        text.counter(
            "upki_ca_requests_dropped_total", "Requests that were too old to be begun; their clients were told Busy.", self.dropped.value)
        text.counter("upki_ca_commits_total", "Transactions of the store that were committed.", self.commits.value)
        text.counter("upki_ca_commits_failed_total", "Batches of changes of which none could be committed.", self.failedCommits.value)
        text.counter("upki_ca_rows_written_total", "Rows written by commits.", self.rowsWritten.value)
        text.histogram("upki_ca_commit_changes", "Changes that were committed together.", [([], self.changes.snapshot)])
        text.histogram("upki_ca_commit_seconds", "Seconds that a commit took, with its sync to disk.", [([], self.commitSeconds.snapshot)])
    }
}

/// Where and since when a request is counted.
struct RequestMeter: Sendable {
    let row: Int
    /// CLOCK_MONOTONIC in nanoseconds; 0 where it is not known.
    let arrival: UInt64
}

/// How a request ended: well, or with the code of a refusal.
struct Outcome: Sendable {
    let index: Int

    static let ok = Outcome(index: 0)
    static let names = ["ok"] + Refusal.Code.allCases.map(\.rawValue)

    private init(index: Int) { self.index = index }

    init(_ code: Refusal.Code) { self.index = (Refusal.Code.allCases.firstIndex(of: code) ?? 0) + 1 }
}
