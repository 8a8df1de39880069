// All services together: who may start, who must stop next, and when the whole has to be down. No system calls.

package struct Fleet: Sendable {
    package typealias Instant = SuspendingClock.Instant

    /// An action for the service at `index`.
    package struct Order: Equatable, Sendable {
        package let index: Int
        package let action: ServiceAction

        package init(_ index: Int, _ action: ServiceAction) {
            self.index = index
            self.action = action
        }
    }

    /// In start order.
    package private(set) var machines: [ServiceMachine]
    /// When the last process must be gone; nil: not stopping.
    package private(set) var shutdownDeadline: Instant?

    /// - Throws: `.badSpecification`.
    package init(_ specs: [ServiceSpec]) throws(SupervisionError) {
        machines = try StartOrder.sorted(specs).map(ServiceMachine.init)
    }

    package func index(of name: String) -> Int? { machines.firstIndex { $0.spec.name == name } }

    /// Every service that starts at once has become ready, or has ended with 0 because there is nothing for it to do, or has failed and may
    /// be missing.
    package var isReady: Bool {
        machines.allSatisfy { !$0.spec.startsAtOnce || $0.isReady || $0.endedWithZero || ($0.spec.mayBeMissing && $0.hasFailed) }
    }

    package var isShutDown: Bool { shutdownDeadline != nil && !machines.contains(where: \.isAlive) }

    package var nextDeadline: Instant? { machines.compactMap(\.nextDeadline).min() }

    /// The services that one must wait for and that will not come up by themselves.
    package func missing(for index: Int) -> [String] {
        machines[index].spec.after.filter { name in
            guard let other = self.index(of: name) else { return true }
            return machines[other].state == .stopped || machines[other].state == .failed
        }
    }

    /// Lets time pass; starts what may start, or goes on with the shutdown. To be called after every event.
    package mutating func advance(now: Instant) -> [Order] {
        var orders: [Order] = []
        for index in machines.indices {
            orders += machines[index].tick(now: now).map { Order(index, $0) }
        }
        if let shutdownDeadline {
            orders += goOnStopping(now: now, deadline: shutdownDeadline)
        } else {
            for index in machines.indices where machines[index].state == .waiting && dependenciesReady(index) {
                orders += machines[index].begin(now: now).map { Order(index, $0) }
            }
        }
        return orders
    }

    private func dependenciesReady(_ index: Int) -> Bool {
        machines[index].spec.after.allSatisfy { name in self.index(of: name).map { machines[$0].isReady } ?? false }
    }

    /// Begins to stop everything; called again it can only bring the end nearer.
    package mutating func shutDown(by deadline: Instant) {
        shutdownDeadline = shutdownDeadline.map { min($0, deadline) } ?? deadline
    }

    /// One service at a time, the last started first, each with an equal share of the time that is left: one that hangs
    /// cannot take the time in which the core finishes its work.
    private mutating func goOnStopping(now: Instant, deadline: Instant) -> [Order] {
        for index in machines.indices where !machines[index].isAlive { _ = machines[index].stop(now: now) }
        let alive = machines.indices.filter { machines[$0].isAlive }
        guard let last = alive.last else { return [] }
        let share = now.duration(to: deadline) / alive.count
        let latest = share > .zero ? now.advanced(by: share) : now
        return machines[last].stop(now: now, latest: latest).map { Order(last, $0) }
    }

    package mutating func start(_ index: Int) { machines[index].start() }

    package mutating func stop(_ index: Int, now: Instant) -> [Order] {
        machines[index].stop(now: now).map { Order(index, $0) }
    }

    package mutating func restart(_ index: Int, now: Instant) -> [Order] {
        machines[index].restart(now: now).map { Order(index, $0) }
    }

    package mutating func spawnFailed(_ index: Int, _ reason: String, now: Instant) {
        machines[index].spawnFailed(reason, now: now)
    }

    package mutating func notified(_ index: Int, _ notification: Notification, now: Instant) -> [Order] {
        machines[index].notified(notification, now: now).map { Order(index, $0) }
    }

    package mutating func ended(_ index: Int, _ end: ProcessEnd, now: Instant) {
        machines[index].ended(end, now: now)
    }
}
