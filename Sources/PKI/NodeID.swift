// The number by which the store knows a node for as long as the store lives.

/// Identifies a node in the store; never used again after the node is gone.
public struct NodeID: Hashable, Sendable, Comparable {
    public let rawValue: Int64

    public init(_ rawValue: Int64) { self.rawValue = rawValue }

    public static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
}
