/// A first-in, first-out queue in one growing ring of memory.
public struct RingQueue<Element> {
    private var slots: [Element?] = []
    private var head = 0
    public private(set) var count = 0

    public init() {}

    public var isEmpty: Bool { count == 0 }

    public var first: Element? { count == 0 ? nil : slots[head] }

    public mutating func append(_ element: Element) {
        if count == slots.count { grow() }
        slots[(head + count) & (slots.count - 1)] = element
        count += 1
    }

    @discardableResult
    public mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = slots[head].take()
        head = (head + 1) & (slots.count - 1)
        count -= 1
        return element
    }

    /// Doubles the ring; its size stays a power of two, so that a mask wraps the index.
    private mutating func grow() {
        var larger: [Element?] = []
        larger.reserveCapacity(max(16, slots.count * 2))
        for offset in 0..<count { larger.append(slots[(head + offset) & (slots.count - 1)].take()) }
        larger.append(contentsOf: repeatElement(nil, count: max(16, slots.count * 2) - count))
        slots = larger
        head = 0
    }
}

extension RingQueue: Sendable where Element: Sendable {}
